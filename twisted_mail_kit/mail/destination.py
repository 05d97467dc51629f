"""Where an address of ours leads: to an account, or to other addresses."""

from __future__ import annotations

from dataclasses import dataclass

from twisted_mail_kit.mail.address import Address


@dataclass(frozen=True, slots=True)
class Local:
    """An account of the store."""

    account: str
    detail: str = ""
    """What stood behind the plus sign: ``lists`` in ``joe+lists@example.org``."""


@dataclass(frozen=True, slots=True)
class Alias:
    """Other addresses, ours or not; each is looked up in turn."""

    targets: tuple[Address, ...]
    keep: Local | None = None
    """An account that gets a copy too, without another look-up: joe himself in ``joe: joe, archive``."""


Destination = Local | Alias
