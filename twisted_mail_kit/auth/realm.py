"""The realm: whoever logged in gets his account of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from twisted_mail_kit.accounts.furnish import FOLDERS, furnish
from twisted_mail_kit.accounts.names import account_name
from twisted_mail_kit.interfaces import IAccount, IMaildropStore, IMailStore

_REMEMBERED = 10_000


@implementer(IRealm)
class MailRealm:
    """The avatar is an IAccount. An account that the store does not have yet is made, and furnished with folders when
    its owner logs in for the first time; `folders` may be empty."""

    log = Logger()

    def __init__(self, store: IMailStore, folders: Mapping[str, str] = FOLDERS, default_domain: str = "") -> None:
        self.store = store
        self.folders = folders
        self.default_domain = default_domain
        self._furnished: set[str] = set()

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: type[Interface]) -> Deferred[Any]:
        """cred asks. The avatar id is the account's name, as the checker spells it."""
        if IAccount not in interfaces:
            raise NotImplementedError("there are only accounts here")
        text = avatarId.decode("utf-8") if isinstance(avatarId, bytes) else avatarId
        return Deferred.fromCoroutine(self._enter(account_name(text, self.default_domain)))

    async def _enter(self, name: str) -> tuple[type[Interface], IAccount, Any]:
        account = await self.store.open_account(name, create=True)
        if name not in self._furnished and not IMaildropStore.providedBy(self.store):
            try:
                await furnish(account, self.folders)
            except Exception:
                # No reason to keep somebody from his mail.
                self.log.failure("the folders of {account} could not be made", account=name)
            else:
                if len(self._furnished) >= _REMEMBERED:
                    self._furnished.clear()
                self._furnished.add(name)
        return IAccount, account, lambda: None
