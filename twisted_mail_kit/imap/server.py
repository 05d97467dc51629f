"""What all IMAP sessions of one listener share: open accounts, their mailboxes, what is recent, old summaries."""

from __future__ import annotations

import pathlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime

from twisted_mail_kit.errors import LimitReached, MailboxNotFound
from twisted_mail_kit.imap.index.indexes import Indexes
from twisted_mail_kit.imap.model import OpenMailbox, Watch
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.imap.turns import Turns
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.views import Views
from twisted_mail_kit.imap.wire.commands import Path
from twisted_mail_kit.interfaces import IAccount, IAuthenticator
from twisted_mail_kit.mail.facts import Mailbox, Message
from twisted_mail_kit.mail.part import DEFAULT_LIMITS, ScanLimits
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import Summary, pack
from twisted_mail_kit.net.shared import Shared

_REMEMBERED_MAILBOXES = 100_000
_REMEMBERED_SUMMARIES = 512
_SLICE = 256 * 1024


class Server:
    """The world as it was handed to the factory, and the accounts that somebody is logged in to."""

    def __init__(
        self,
        hostname: str,
        authenticator: IAuthenticator,
        certificates: IOpenSSLContextFactory | None,
        settings: IMAPSettings,
        clock: IReactorTime,
        watch: Watch,
        limits: ScanLimits = DEFAULT_LIMITS,
        shared: Shared | None = None,
        index_folder: pathlib.Path | None = None,
    ) -> None:
        self.hostname = hostname
        self.authenticator = authenticator
        self.certificates = certificates
        self.settings = settings
        self.wire_limits = settings.wire_limits()
        self.clock = clock
        self.watch = watch
        self.limits = limits
        self.views = Views(settings.views)
        self.indexes = Indexes(clock, settings.search_memory, settings.search_disk, index_folder, limits, self.summary)
        self._shared = shared or Shared(clock)
        self.accounts: dict[str, OpenAccount] = {}
        self._recent_from: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._summaries: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def enter(self, account: IAccount) -> OpenAccount:
        """A session has logged in. Raises LimitReached: too many are."""
        if self._shared.now(("imap", account.name)) >= self.settings.sessions_per_account:
            raise LimitReached("sessions of this account")
        opened = self.accounts.get(account.name)
        if opened is None:
            opened = self.accounts[account.name] = OpenAccount(self, account)
        opened.sessions += 1
        self._shared.add(("imap", account.name))
        return opened

    def leave(self, opened: OpenAccount) -> None:
        """A session has ended."""
        opened.sessions -= 1
        self._shared.add(("imap", opened.name), -1)
        if not opened.sessions:
            self.accounts.pop(opened.name, None)

    def recent_from(self, account: str, mailbox_id: str) -> int | None:
        r"""The first UID that nobody was told of in this process; None: nobody ever looked."""
        return self._recent_from.get((account, mailbox_id))

    def remember_recent(self, account: str, mailbox_id: str, uid: int) -> None:
        """The mailbox is closed; messages up to before `uid` were told to somebody."""
        self._recent_from[account, mailbox_id] = uid
        self._recent_from.move_to_end((account, mailbox_id))
        if len(self._recent_from) > _REMEMBERED_MAILBOXES:
            self._recent_from.popitem(last=False)

    async def summary(self, account: IAccount, row: Message) -> Summary:
        """The row's summary; made again from the octets where it is missing or old. Raises BlobNotFound."""
        summary = Summary(row.summary)
        if summary.is_current:
            return summary
        key = (account.name, row.blob_id)
        octets = self._summaries.get(key)
        if octets is None:
            scanner = Scanner(self.limits)
            offset = 0
            while piece := await account.read_blob(row.blob_id, offset, _SLICE):
                scanner.feed(piece)
                offset += len(piece)
            octets = pack(scanner.close())
            self._summaries[key] = octets
            if len(self._summaries) > _REMEMBERED_SUMMARIES:
                self._summaries.popitem(last=False)
        else:
            self._summaries.move_to_end(key)
        return Summary(octets)


class OpenAccount:
    """An account with at least one session: its mailboxes by name, those that are open, how many sessions."""

    def __init__(self, server: Server, account: IAccount) -> None:
        self.server = server
        self.account = account
        self.name: str = account.name
        self.sessions = 0
        self.open: dict[str, OpenMailbox] = {}
        self._mailboxes: dict[Path, Mailbox] = {}
        self._state = -1

    async def mailboxes(self) -> Mapping[Path, Mailbox]:
        """All mailboxes by name, as they are now; read again only when the account has changed."""
        state = await self.account.state()
        if state != self._state:
            self._mailboxes = {mailbox.name: mailbox for mailbox in await self.account.mailboxes()}
            self._state = state
        return self._mailboxes

    async def mailbox(self, name: Path) -> Mailbox:
        """Raises MailboxNotFound."""
        mailbox = (await self.mailboxes()).get(name)
        if mailbox is None:
            raise MailboxNotFound("/".join(name))
        return mailbox

    async def select(self, mailbox: Mailbox, read_only: bool) -> View:
        """A view of a mailbox as `mailbox` has just given it, up to date. Raises MailboxNotFound, and Refusal where
        there is no room for it."""
        while True:
            model = self.open.get(mailbox.id) or self._open(mailbox)
            try:
                await model.refresh(self._state)
            finally:
                if model.is_gone or model.modseq < 0:
                    self._drop(model)
            if model.is_gone:
                raise MailboxNotFound(mailbox.id)
            # While we waited the last other session may have left and taken the model out.
            if self.open.get(mailbox.id) is model:
                return View(model, read_only)

    def _open(self, mailbox: Mailbox) -> OpenMailbox:
        server = self.server
        model = server.views.take(self.name, mailbox)
        if model is None:
            server.views.admit(mailbox)
            model = OpenMailbox(self.account, mailbox, server.watch, Turns(server.clock), server.views.grown)
            model.recent_from = server.recent_from(self.name, mailbox.id) or 1
        model.account = self.account
        server.views.join(model)
        self.open[mailbox.id] = model
        return model

    def unselect(self, view: View) -> None:
        """The session has left the mailbox."""
        view.close()
        self._drop(view.model)

    async def recent_count(self, mailbox: Mailbox) -> int:
        """How many messages nobody was told of in this process: what STATUS says."""
        model = self.open.get(mailbox.id)
        first = model.recent_from if model is not None else self.server.recent_from(self.name, mailbox.id)
        if first is None:
            return mailbox.total
        if first >= mailbox.uidnext:
            return 0
        count = 0
        while True:
            page: Sequence[Message] = await self.account.messages(mailbox.id, after=first - 1)
            count += len(page)
            if len(page) < 1000:
                return count
            first = page[-1].uid + 1

    def keywords(self) -> set[str]:
        """Those in use, as far as is known: in the mailboxes that are open."""
        return {keyword for model in self.open.values() for keyword in model.keywords}

    def _drop(self, model: OpenMailbox) -> None:
        if not model.views and self.open.get(model.mailbox.id) is model:
            del self.open[model.mailbox.id]
            if model.modseq >= 0:
                self.server.remember_recent(self.name, model.mailbox.id, model.recent_from)
            self.server.views.leave(self.name, model)
