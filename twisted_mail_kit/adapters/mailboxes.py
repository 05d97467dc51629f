"""Mailboxes of `twisted.mail` as maildrops: for POP3, and for nothing else."""

from __future__ import annotations

from typing import Any

from twisted.cred.error import LoginFailed
from twisted.mail.interfaces import IMailboxPOP3
from zope.interface import implementer

from twisted_mail_kit.adapters.maildrop import MountedMaildrop
from twisted_mail_kit.adapters.patience import Patience
from twisted_mail_kit.adapters.realms import ByDomain, realm_of
from twisted_mail_kit.errors import AccountNotFound, AuthenticationFailed
from twisted_mail_kit.interfaces import IMaildrop, IMaildropAccount, IMaildropStore

_REMEMBERED = 100_000


@implementer(IMaildropStore)
class MountedMailboxes:
    """The mailboxes of a realm that gives IMailboxPOP3 avatars::

        service = MailService(…)  # twisted.mail's
        store = MountedMailboxes(service.portals, reactor)

    `source` is a portal, a realm, or a mapping of domains to them; see `ByDomain`. The avatar is asked for when the
    maildrop is opened, and its logout is called when the session ends, however it ends.

    LIST tells what `listMessages` says, which is not what is sent where lines end in a bare LF, as in a maildir. With
    `count_sizes` each message is read once (in the life of this object) to be counted.
    """

    def __init__(self, source: Any, reactor: Any, *, patience: float = 60.0, count_sizes: bool = False) -> None:
        self._realms = ByDomain(source)
        self._patience = Patience(reactor, patience)
        self._counted: dict[tuple[str, str], int] | None = {} if count_sizes else None

    async def open_account(  # type: ignore[override]  # a maildrop's account is not a mailbox's
        self, name: str, create: bool = False
    ) -> IMaildropAccount:
        """Nobody is asked yet, and nothing is made. Raises AccountNotFound for a domain that is not there."""
        self._realms.find(name)
        return MountedAccount(self, name)

    async def close(self) -> None:
        """Nothing is held."""

    async def open_maildrop(self, name: str) -> IMaildrop:
        """See IMaildropAccount."""
        realm, avatar_id, _ = self._realms.find(name)
        ask = self._patience.ask
        try:
            _, mailbox, logout = await ask(realm_of(realm).requestAvatar, avatar_id, None, IMailboxPOP3)
        except KeyError as problem:  # a realm that is a dictionary
            raise AccountNotFound(name) from problem
        except LoginFailed as problem:
            raise AuthenticationFailed(name) from problem
        maildrop = MountedMaildrop(name, mailbox, logout, self._patience)
        try:
            await maildrop.take_snapshot()
            if self._counted is not None:
                if len(self._counted) > _REMEMBERED:
                    self._counted.clear()
                await maildrop.count_sizes(self._counted)
        except BaseException:
            maildrop.close()
            raise
        return maildrop


@implementer(IMaildropAccount)
class MountedAccount:
    """One owner's name."""

    def __init__(self, store: MountedMailboxes, name: str) -> None:
        self.store = store
        self.name = name

    async def open_maildrop(self) -> IMaildrop:
        """See IMaildropAccount."""
        return await self.store.open_maildrop(self.name)
