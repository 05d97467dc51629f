"""Parts that were written for `twisted.mail`, behind our doors: deliveries, mailboxes, logins."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted_mail_kit.adapters.delivery import MountedDelivery
    from twisted_mail_kit.adapters.logins import MountedLogins
    from twisted_mail_kit.adapters.mailboxes import MountedMailboxes
    from twisted_mail_kit.adapters.reception import Reception

# Names are fetched when they are asked for: a server without guests need not import `twisted.mail`.
_PLACES = {
    "MountedDelivery": "delivery",
    "MountedLogins": "logins",
    "MountedMailboxes": "mailboxes",
    "Reception": "reception",
}

__all__ = ["MountedDelivery", "MountedLogins", "MountedMailboxes", "Reception"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"twisted_mail_kit.adapters.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'twisted_mail_kit.adapters' has no attribute {name!r}")
