"""The Maildir++ store keeps the promises of a store, at every level that the contract has."""

import fcntl
import os

from mailkit_maildir import Options
from mailkit_maildir.store import MaildirStore

from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.testing.contracts import MailStoreContract
from twisted_mail_kit.testing.contracts.promise import running_reactor


class TestMaildirStore(MailStoreContract):
    """In a thread pool, as the server has it."""

    persistent = True
    many = 1_000  # MAILKIT_MANY=100000 does it all, in some minutes: a file each
    crashes, power_cuts, faults = 5, 6, 8  # MAILKIT_CRASHES, MAILKIT_POWER_CUTS and MAILKIT_FAULTS play more
    lives = 10  # and MAILKIT_MODEL

    def make_store(self, tmp_path):
        store = MaildirStore(tmp_path / "mail", running_reactor(), Options(lock_timeout=2))
        self.ahead = getattr(self, "ahead", 0)
        store.seconds = lambda: running_reactor().seconds() + self.ahead
        return adapted(store, running_reactor())

    def pass_time(self, store, seconds):
        self.ahead += seconds

    def hold_lock(self, tmp_path):
        number = os.open(tmp_path / "mail" / "alice" / "mailkit" / "lock", os.O_RDWR)
        fcntl.flock(number, fcntl.LOCK_EX)
        return os.fdopen(number)
