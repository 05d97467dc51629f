"""A mail store in Maildir++ trees, which other programs may use at the same time."""

from __future__ import annotations

import shutil
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from twisted.logger import Logger
from zope.interface import implementer

from mailkit_maildir import Options
from mailkit_maildir.account import MaildirAccount
from mailkit_maildir.desk import Desk
from mailkit_maildir.files import Files, sync_directory, troubles
from mailkit_maildir.hints import Hints
from mailkit_maildir.index import Index
from mailkit_maildir.layout import Layout
from twisted_mail_kit.interfaces import IAccountList, IChangeHints, IMailStore

OPEN = 200
"""Accounts whose files stay open when nobody is at them."""
FLOOR = "=uidvalidity"
"""A file in the root: the greatest UIDVALIDITY of accounts that were removed."""


@implementer(IMailStore, IAccountList, IChangeHints)
class MaildirStore:
    """Its methods block: the server calls them in threads."""

    blocking = True
    threads = 8
    log = Logger()

    def __init__(self, root: Path, reactor: Any, options: Options | None = None, domain: str = "") -> None:
        options = options or Options()
        self.root = root
        self.seconds: Callable[[], float] = reactor.seconds
        self.layout = Layout(root, options.layout, domain)
        self.timeout = options.lock_timeout
        self.files = Files(root)
        self.desks: OrderedDict[str, Desk] = OrderedDict()
        self.accounts: WeakValueDictionary[str, MaildirAccount] = WeakValueDictionary()
        """Those that anybody has open: their files are watched."""
        self.hints = Hints(reactor, options.watch, self._look)
        self._lock = threading.Lock()

    def open_account(self, name: str, create: bool = False) -> MaildirAccount:  # type: ignore[override]
        """See IMailStore."""
        desk = self.desk(name)
        if create and not (desk.root / "cur").is_dir():
            self._create(desk)
        with self.turn(name) as (desk, index):
            desk.up_to_date(index)
            desk.sweep(index)
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = MaildirAccount(self, name)
        self.hints.watch(name, desk.root, account)
        return account

    def _create(self, desk: Desk) -> None:
        with desk.turn(create=True) as index:
            if (desk.root / "cur").is_dir():
                return  # somebody else was quicker
            if index.state():
                # Cut off in the middle, or the tree was removed by hand and its index was not.
                desk.catch_up_made(index)
                return
            above = self._floor()
            desk.commit(index, lambda ledger: ledger.open(create=True, above=above), [], strict=True)

    def close(self) -> None:  # type: ignore[override]
        """See IMailStore."""
        self.hints.stop()
        for desk in list(self.desks.values()):
            desk.finish()

    # --- turns -------------------------------------------------------------------------------------------------------

    def desk(self, name: str) -> Desk:
        """The account's place in this process."""
        with self._lock:
            desk = self.desks.get(name)
            if desk is None:
                root = self.layout.directory(name)
                desk = self.desks[name] = Desk(name, root, lambda: self.seconds(), self.timeout)
            self.desks.move_to_end(name)
            spare = list(self.desks.values())[:-OPEN] if len(self.desks) > OPEN else []
        for other in spare:
            if not other.in_use() or other.try_close():
                with self._lock:
                    if not other.in_use() and not other.broken and self.desks.get(other.name) is other:
                        del self.desks[other.name]
        return desk

    @contextmanager
    def turn(self, name: str) -> Iterator[tuple[Desk, Index]]:
        """The account's turn; whoever watches is told when it has changed. Raises AccountNotFound."""
        desk = self.desk(name)
        with desk.turn() as index:
            before = desk.told
            try:
                yield desk, index
            finally:
                if desk.in_use():
                    desk.told = index.state()
                    if desk.told != before:
                        self.hints.tell(name, desk.told)

    def _look(self, name: str) -> None:
        """Files of that account were touched, perhaps by another program."""
        account = self.accounts.get(name)
        if account is not None:
            try:
                account.state()
            except Exception as error:
                self.log.warn("{account} cannot be looked at: {error}", account=name, error=error)

    # --- IAccountList ------------------------------------------------------------------------------------------------

    def account_names(self, after: str = "", limit: int = 1000) -> Sequence[str]:  # type: ignore[override]
        """See IAccountList."""
        names = sorted(self.layout.accounts())
        return names[bisect_right(names, after) :][:limit]

    def remove_account(self, name: str) -> None:  # type: ignore[override]
        """See IAccountList."""
        with self.turn(name) as (desk, index):
            last = index.one("SELECT ifnull(max(uidvalidity), 0) FROM box")[0]
            if last > self._floor():
                self.files.replace(self.root / FLOOR, str(last).encode(), self.root)
            gone = desk.root.with_name(f".mailkit-gone-{desk.root.name}-{last}")
            shutil.rmtree(gone, ignore_errors=True)
            desk.root.rename(gone)
            sync_directory(gone.parent)
            desk.close()
        with troubles():
            shutil.rmtree(gone, ignore_errors=True)

    def _floor(self) -> int:
        try:
            return int((self.root / FLOOR).read_bytes())
        except (OSError, ValueError):
            return 0

    # --- IChangeHints ------------------------------------------------------------------------------------------------

    def watch_changes(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """See IChangeHints. Tells from any thread."""
        return self.hints.watch_changes(heard)
