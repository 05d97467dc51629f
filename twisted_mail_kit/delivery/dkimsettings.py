"""What can be set about DKIM signatures on outgoing mail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import ge, matches_re

_FIELD_NAME: Final = re.compile(r"[!-9<-~]+")  # RFC 5322 3.6.8, and no ";", which would end the tag


def _names(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for name in value:
        if not _FIELD_NAME.fullmatch(name):
            raise ValueError(f"{attribute.name}: {name!r} cannot be the name of a header field")


def _with_from(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    _names(instance, attribute, value)
    if "from" not in [name.lower() for name in value]:
        raise ValueError(f"{attribute.name}: From must be among them (RFC 6376 5.4)")


@frozen(kw_only=True)
class DKIMKeySettings:
    """``[[dkim]]``: one key that signs outgoing mail; `mailkit dkim new` makes one."""

    domain: str = field(validator=matches_re(r"[^\s@/\\\[\]]+"))
    """Mail with an address of this domain in From is signed with it; of a subdomain too, if that has no key itself."""
    selector: str = field(validator=matches_re(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*"))
    """The public key is published under this name: ``selector._domainkey.example.org``."""
    key: Path
    """PEM file with the private key, RSA or Ed25519 (PKCS #8, or PKCS #1 for RSA), without a password. A relative path
    is below the configuration's folder."""


@frozen(kw_only=True)
class DKIMSettings:
    """DKIM signatures (RFC 6376) on mail that leaves."""

    oversigned: tuple[str, ...] = field(
        default=(
            "From",
            "To",
            "Cc",
            "Subject",
            "Date",
            "Message-ID",
            "Reply-To",
            "In-Reply-To",
            "References",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ),
        converter=tuple,
        validator=_with_from,
    )
    """Header fields that are signed, and that nobody can add later without breaking the signature, be they there or
    not (RFC 6376 8.15)."""
    signed: tuple[str, ...] = field(
        default=(
            "Sender",
            "List-Id",
            "List-Help",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "List-Subscribe",
            "List-Post",
            "List-Owner",
            "List-Archive",
        ),
        converter=tuple,
        validator=_names,
    )
    """Header fields that are signed likewise, but only where they are there: a mailing list may add its own."""
    expires: int = field(default=0, validator=ge(0))
    """Seconds after which a signature no longer counts (the ``x=`` tag); 0: it does not end."""
    memory: int = field(default=256 * 1024, validator=ge(0))
    """Octets of a message that are kept in memory until it is signed; a larger one goes to the spool directory."""
