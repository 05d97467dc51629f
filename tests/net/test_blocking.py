"""Parts that block, in threads: they keep their promises, and the reactor goes on."""

from __future__ import annotations

import smtplib
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from twisted_mail_kit import MailKit
from twisted_mail_kit.errors import AccountNotFound, ConfigurationError, Refused, Unavailable
from twisted_mail_kit.interfaces import (
    Delivered,
    IAccount,
    IAccountList,
    IAccounts,
    IBlobWriter,
    IChangeHints,
    ICheck,
    IDelivery,
    IDeliveryTarget,
    IMailStore,
    ISharedBlobs,
    Local,
    Status,
)
from twisted_mail_kit.net.blocking import BlockingSettings, adapted, release
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts import mail_store_contract

ONE = threading.Lock()


def now(coroutine):
    """What a coroutine gives that waits for nothing; in a thread, and a moment later."""
    assert threading.current_thread() is not threading.main_thread()
    with ONE:
        time.sleep(0.0002)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
    raise AssertionError("it waits")


@implementer(IMailStore, ISharedBlobs, IAccountList, IChangeHints)
class BlockingStore:
    """Dictionaries behind plain methods, which take their time."""

    blocking = True
    threads = 4

    def __init__(self, directory=None):
        self.inner = MemoryStore()
        self.pause = 0.0

    def open_account(self, name, create=False):
        return BlockingAccount(self, now(self.inner.open_account(name, create)))

    def new_blob(self, size_hint=None):
        assert threading.current_thread() is not threading.main_thread()
        return BlockingWriter(self.inner.new_blob(size_hint))

    def account_names(self, after="", limit=1000):
        return now(self.inner.account_names(after, limit))

    def remove_account(self, name):
        return now(self.inner.remove_account(name))

    def watch_changes(self, heard):
        return self.inner.watch_changes(heard)

    def close(self):
        return now(self.inner.close())


@implementer(IAccount)
class BlockingAccount:
    def __init__(self, store, inner):
        self.store, self.inner, self.name = store, inner, inner.name

    def state(self):
        return now(self.inner.state())

    def mailboxes(self):
        return now(self.inner.mailboxes())

    def messages(self, mailbox_id, uids=None, after=0, limit=1000):
        return now(self.inner.messages(mailbox_id, uids, after, limit))

    def changes(self, since, mailbox_id=None, limit=1000):
        return now(self.inner.changes(since, mailbox_id, limit))

    def apply(self, ops, if_state=None, token=None):
        time.sleep(self.store.pause)
        return now(self.inner.apply(ops, if_state, token))

    def new_blob(self, size_hint=None):
        return BlockingWriter(self.inner.new_blob(size_hint))

    def read_blob(self, blob_id, offset, size):
        return now(self.inner.read_blob(blob_id, offset, size))


@implementer(IBlobWriter)
class BlockingWriter:
    def __init__(self, inner):
        self.inner = inner

    def write(self, octets):
        now(self.inner.write(octets))

    def commit(self):
        return now(self.inner.commit())

    def abort(self):
        now(self.inner.abort())


TestBlockingStore = mail_store_contract(
    lambda directory: adapted(BlockingStore(directory), reactor), levels=("core", "abilities")
)


# --- a whole server of blocking parts ---------------------------------------------------------------------------------


def in_a_thread():
    assert threading.current_thread() is not threading.main_thread()
    time.sleep(0.005)


@implementer(ICredentialsChecker)
class BlockingChecker:
    blocking = True
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials):
        in_a_thread()
        if credentials.checkPassword(b"secret"):
            return credentials.username
        raise UnauthorizedLogin


@implementer(IAccounts)
class BlockingAccounts:
    blocking = True

    def lookup(self, address):
        in_a_thread()
        return Local("joe@example.org") if address.local == "joe" else None

    def may_send_as(self, account, sender):
        in_a_thread()
        return account == "joe@example.org" and sender.local == "joe"


@implementer(ICheck)
class BlockingCheck:
    blocking = True
    name = "letters"

    def connected(self, peer):
        in_a_thread()

    def greeted(self, peer):
        in_a_thread()

    def sender(self, envelope):
        in_a_thread()

    def recipient(self, envelope, recipient, destination):
        in_a_thread()

    def message(self, envelope, recipients, message):
        in_a_thread()
        octets = b"".join(iter_read(message))
        assert len(octets) == message.size
        if b"spam" in octets:
            raise Refused(Status("5.7.1", "No spam here", 554))
        return b"X-Read: %d\r\n" % len(octets)


def iter_read(message):
    offset = 0
    while piece := message.read(offset, 7):
        offset += len(piece)
        yield piece


@implementer(IDeliveryTarget)
class BlockingTarget:
    blocking = True

    def __init__(self):
        self.taken = []

    def begin(self, envelope):
        in_a_thread()
        return BlockingDelivery(self)


@implementer(IDelivery)
class BlockingDelivery:
    def __init__(self, target):
        self.target, self.recipients, self.octets = target, [], b""

    def add_recipient(self, recipient):
        in_a_thread()
        self.recipients.append(str(recipient.address))

    def write(self, octets):
        in_a_thread()
        self.octets += octets

    def commit(self):
        in_a_thread()
        self.target.taken.append((self.recipients, self.octets))
        return [Delivered()] * len(self.recipients)

    def abort(self):
        pass


async def test_a_server_whose_parts_all_block_takes_mail_and_sends_it():
    store, target = BlockingStore(), BlockingTarget()
    kit = MailKit(
        hostname="mx.example.org",
        domains=["example.org"],
        store=store,
        auth=BlockingChecker(),
        accounts=BlockingAccounts(),
        checks=[BlockingCheck()],
        outbound=target,
        reactor=reactor,
    )
    kit.listen("smtp", "tcp:0:interface=127.0.0.1")
    kit.listen("submission", "tcp:0:interface=127.0.0.1")
    kit.startService()
    smtp, submission = [one.port for one in await kit.ready]

    def talk():
        with smtplib.SMTP("127.0.0.1", smtp, timeout=30) as client:
            client.sendmail("ann@example.net", ["joe@example.org"], "Subject: hello\r\n\r\nHello.\r\n")
            with pytest.raises(smtplib.SMTPDataError, match="No spam"):
                client.sendmail("ann@example.net", ["joe@example.org"], "Subject: spam\r\n\r\n")
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("ann@example.net", ["nobody@example.org"], "Subject: x\r\n\r\n")
        with smtplib.SMTP("127.0.0.1", submission, timeout=30) as client:
            client.login("joe@example.org", "secret")
            client.sendmail("joe@example.org", ["ann@example.net"], "From: joe@example.org\r\n\r\nBack.\r\n")

    try:
        await deferToThread(talk)
        (row,) = await store.inner.accounts["joe@example.org"].messages(
            next(box.id for box in await store.inner.accounts["joe@example.org"].mailboxes() if box.role == "inbox")
        )
        octets = await store.inner.accounts["joe@example.org"].read_blob(row.blob_id, 0, row.size)
        assert b"X-Read: 26\r\n" in octets and octets.endswith(b"Hello.\r\n")
        ((recipients, sent),) = target.taken
        assert recipients == ["ann@example.net"] and sent.endswith(b"Back.\r\n")
    finally:
        await kit.stopService()


async def test_a_slow_part_does_not_stop_the_reactor():
    slow = BlockingStore()
    slow.pause = 0.3
    store = adapted(slow, reactor)
    account = await store.open_account("joe", create=True)
    turns = []
    ticking = LoopingCall(lambda: turns.append(time.monotonic()))
    ticking.start(0.01)
    try:
        began = time.monotonic()
        await gatherResults([account.apply([]) for _ in range(4)])
        took = time.monotonic() - began
    finally:
        ticking.stop()
    assert 0.3 <= took < 1.0, "four threads, four calls at once"
    assert len(turns) > 10
    assert max(after - before for before, after in pairwise(turns)) < 0.25
    await store.close()


# --- bounds, order, ends ----------------------------------------------------------------------------------------------


@implementer(IAccounts)
class Gated:
    blocking = True

    def __init__(self):
        self.gate, self.at_once, self.most = threading.Event(), 0, 0
        self.lock = threading.Lock()
        self.closed = False

    def lookup(self, address):
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.gate.wait(20)
        with self.lock:
            self.at_once -= 1
        if address == "wrong":
            raise AccountNotFound(address)
        return address

    def may_send_as(self, account, sender):
        raise RuntimeError("broken")


async def pause(seconds=0.05):
    await deferLater(reactor, seconds, lambda: None)


async def test_so_many_calls_run_so_many_wait_and_one_more_is_put_off():
    part = Gated()
    accounts = adapted(part, reactor, BlockingSettings(threads=2, waiting=3))
    calls = [accounts.lookup(str(number)) for number in range(5)]
    with pytest.raises(Unavailable, match="run or wait"):
        await accounts.lookup("one too many")
    await pause()
    assert part.most == 2
    part.gate.set()
    assert await gatherResults(calls) == ["0", "1", "2", "3", "4"]
    assert part.most == 2
    assert await accounts.lookup("again") == "again"
    release(accounts)


async def test_errors_come_out_as_they_are():
    part = Gated()
    part.gate.set()
    accounts = adapted(part, reactor)
    with pytest.raises(AccountNotFound):
        await accounts.lookup("wrong")
    with pytest.raises(RuntimeError, match="broken"):
        await accounts.may_send_as("joe", None)
    release(accounts)


async def test_who_cancels_does_not_wait_and_the_call_goes_on():
    part = Gated()
    accounts = adapted(part, reactor, BlockingSettings(threads=1))
    call = accounts.lookup("x")
    call.cancel()
    with pytest.raises(CancelledError):
        await call
    part.gate.set()
    assert await accounts.lookup("y") == "y"
    release(accounts)


async def test_closing_waits_for_what_runs_and_refuses_what_comes():
    slow = BlockingStore()
    slow.pause = 0.1
    store = adapted(slow, reactor)
    account = await store.open_account("joe", create=True)
    writer = account.new_blob()
    await writer.write(b"x")
    running = account.apply([])
    closing = Deferred.fromCoroutine(store.close())
    with pytest.raises(Unavailable, match="closed"):
        await account.state()
    assert (await running).modseq == 1
    await closing
    await writer.abort()
    await store.close()
    assert not [thread for thread in threading.enumerate() if "BlockingStore" in thread.name]


async def test_threads_end_when_nobody_needs_them():
    part = Gated()
    part.gate.set()
    accounts = adapted(part, reactor)
    await accounts.lookup("x")
    release(accounts)
    await pause(0.01)
    assert not [thread for thread in threading.enumerate() if "Gated" in thread.name]
    assert await accounts.lookup("y") == "y", "a session of before the reload still asks"
    release(accounts)


async def test_the_writes_of_one_blob_come_in_their_order():
    store = adapted(BlockingStore(), reactor)
    account = await store.open_account("joe", create=True)
    writer = account.new_blob()
    for number in range(50):
        writer.write(b"%02d" % number)
    blob_id = await writer.commit()
    assert await account.read_blob(blob_id, 0, 1000) == b"".join(b"%02d" % number for number in range(50))
    await store.close()


def test_who_does_not_say_it_is_left_alone():
    store = MemoryStore()
    assert adapted(store, reactor) is store
    once = adapted(BlockingStore(), reactor)
    assert adapted(once, reactor) is once


async def test_without_threads_every_call_is_made_at_once():
    part = Gated()
    part.gate.set()
    accounts = adapted(part, Clock())
    assert accounts.lookup("x").result == "x"


async def test_a_plugin_that_blocks_is_adapted_by_the_configuration(tmp_path: Path, monkeypatch):
    from twisted_mail_kit import assembly
    from twisted_mail_kit.config import Chosen, load
    from twisted_mail_kit.plugin import Plugin

    (tmp_path / "mailkit.toml").write_text(
        'hostname = "mx.example.org"\nstate = "state"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n'
    )
    config = load(tmp_path / "mailkit.toml")
    plugin = Plugin(kind="accounts", name="gated", factory=f"{__name__}.make_gated")
    monkeypatch.setattr(Plugin, "load", lambda self: make_gated)
    part = assembly.make_part(config, Chosen(plugin, None, "accounts"), assembly.context_of(config, reactor), IAccounts)
    part._part.gate.set()
    assert IAccounts.providedBy(part)
    assert await part.lookup("x") == "x"
    with pytest.raises(ConfigurationError, match="does not provide"):
        assembly.make_part(config, Chosen(plugin, None, "x"), assembly.context_of(config, reactor), IMailStore)
    release(part)


def make_gated(options, context):
    return Gated()
