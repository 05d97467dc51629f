"""Whose realm, and whose portal, an account's name belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.cred.portal import IRealm, Portal

from twisted_mail_kit.errors import AccountNotFound, ConfigurationError


class ByDomain:
    """One portal or realm, which is asked with whole names; or a mapping of domains (text or octets) to them, which are
    asked with local parts: the `portals` of a `twisted.mail` MailService are such a mapping. It is looked at anew each
    time, so a domain that is added later is found."""

    def __init__(self, source: Any) -> None:
        if not isinstance(source, (Mapping, Portal)) and not IRealm.providedBy(source):
            raise ConfigurationError([f"a portal, a realm, or a mapping of domains to them expected, not {source!r}"])
        self.source: Any = source

    @property
    def has_domains(self) -> bool:
        """It is a mapping."""
        return isinstance(self.source, Mapping)

    def all(self) -> list[Any]:
        """Every portal or realm there is."""
        return list(self.source.values()) if self.has_domains else [self.source]

    def find(self, name: str) -> tuple[Any, bytes, str]:
        """(portal or realm, the name that it knows, the domain that it does not know). Raises AccountNotFound."""
        if not self.has_domains:
            return self.source, name.encode(), ""
        local, _, domain = name.rpartition("@")
        for key in (domain, domain.encode()):
            if local and key in self.source:
                return self.source[key], local.encode(), domain
        raise AccountNotFound(name)


def realm_of(one: Any) -> Any:
    """A portal's realm, or the realm that it is."""
    return one.realm if isinstance(one, Portal) else one
