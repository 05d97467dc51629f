"""The credentials checkers of existing portals, as one that the doorkeeper asks."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import alsoProvides, implementer, providedBy

from twisted_mail_kit.adapters.patience import Patience
from twisted_mail_kit.adapters.realms import ByDomain
from twisted_mail_kit.auth.inturn import PASSWORDS, PasswordCredentials
from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.sasl import CramCredentials, IClearPasswords


@implementer(ICredentialsChecker)
class MountedLogins:
    """Of one portal, or of a mapping of domains to portals: there ``joe@example.org`` is `joe` to the portal of
    `example.org`, and nobody where that domain has none. What a checker answers is the account's name, with the domain
    put back.

    Only user names and passwords come in this way; with `cram_md5` also CRAM-MD5, for checkers that take
    IUsernameHashedPassword credentials. The portals' realms are not asked.
    """

    credentialInterfaces = PASSWORDS

    def __init__(self, source: Any, reactor: Any, *, patience: float = 60.0, cram_md5: bool = False) -> None:
        self._portals = ByDomain(source)
        self._patience = Patience(reactor, patience)
        self.wants_full_names = self._portals.has_domains
        if cram_md5:
            alsoProvides(self, IClearPasswords)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """cred asks. Fails with UnauthorizedLogin, Unavailable."""
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: Any) -> Any:
        name = credentials.username
        try:
            text = name.decode() if isinstance(name, bytes) else name
            portal, short, domain = self._portals.find(text)
        except (AccountNotFound, UnicodeError):
            raise UnauthorizedLogin from None
        if isinstance(credentials, CramCredentials):
            credentials = evolve(credentials, username=short)
        elif domain:
            credentials = PasswordCredentials(short, credentials.password)
        for kind in providedBy(credentials):
            if kind in portal.checkers:
                avatar = await self._patience.ask(portal.checkers[kind].requestAvatarId, credentials)
                if not avatar or not domain:
                    return avatar
                found = avatar.decode() if isinstance(avatar, bytes) else str(avatar)
                return f"{found}@{domain}"
        raise UnauthorizedLogin
