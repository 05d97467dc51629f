"""The one spelling under which domains, accounts and logins are compared."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from twisted_mail_kit.mail.address import Address


@lru_cache(maxsize=4096)
def canonical_domain(domain: str) -> str:
    """Lower-case A-labels, no dot at the end."""
    domain = domain.lower().removesuffix(".")
    if not domain or domain.isascii():
        return domain
    try:
        return Address("x", domain).to_ascii().domain.lower()
    except ValueError:
        return domain


def account_name(text: str, default_domain: str = "") -> str:
    """The account that a user's name, a login, or a user of a checker means: lower case, NFC, with a domain.

    A name without a domain belongs to the default one. Raises ValueError for one that cannot be: empty, too long, or
    with controls in it.
    """
    name = unicodedata.normalize("NFC", text).strip().lower()
    if not name or len(name.encode("utf-8", "surrogatepass")) > 320 or not name.isprintable():
        raise ValueError("that cannot be a user's name")
    local, at, domain = name.rpartition("@")
    if not at:
        return f"{name}@{default_domain}" if default_domain else name
    if not local or not domain:
        raise ValueError("that cannot be a user's name")
    return f"{local}@{domain.removesuffix('.')}"
