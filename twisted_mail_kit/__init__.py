"""A mail system made of doors: SMTP, submission, LMTP, POP3 and IMAP on Twisted, every part a plugin."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twisted_mail_kit._version import __version__

if TYPE_CHECKING:
    from twisted_mail_kit.fittings import KitSettings
    from twisted_mail_kit.kit import MailKit
    from twisted_mail_kit.outgoing import Outgoing, OutgoingSettings
    from twisted_mail_kit.plugin import Context, Plugin

# Names are fetched when they are asked for: a dropin in twisted/plugins wants Plugin, and not the whole server.
_PLACES = {
    "Context": "plugin",
    "KitSettings": "fittings",
    "MailKit": "kit",
    "Outgoing": "outgoing",
    "OutgoingSettings": "outgoing",
    "Plugin": "plugin",
}

__all__ = ["Context", "KitSettings", "MailKit", "Outgoing", "OutgoingSettings", "Plugin", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"twisted_mail_kit.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'twisted_mail_kit' has no attribute {name!r}")
