"""What the dropin names: the plugin's keys in the ``[store]`` table, and the function that makes the store of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import gt, in_

if TYPE_CHECKING:
    from mailkit_maildir.store import MaildirStore


@frozen(kw_only=True)
class Options:
    """The plugin's own keys in ``[store]``."""

    path: str = "maildir"
    """The directory that the accounts are below; where it is relative, below the server's state."""
    layout: str = "{user}"
    """Where an account is below it, as in Dovecot's mail_location: ``{user}`` (the whole name), ``{local}`` and
    ``{domain}`` (what is before and after the @), and anything else as it is: ``{domain}/{local}/Maildir``. ``{local}``
    alone is for a server with one domain."""
    lock_timeout: float = field(default=10.0, validator=gt(0))
    """Seconds to wait for a lock that Dovecot, or another process, holds; then the answer is "try again later"."""
    watch: str = field(default="auto", validator=in_(["auto", "inotify", "poll"]))
    """How changes by other programs are heard of at once: ``inotify``, ``poll`` (once a second), or ``auto``."""


def make_store(options: Options, context: Any) -> MaildirStore:
    """Called once, when the server starts. What is heavy is imported here, not in the dropin."""
    from mailkit_maildir.store import MaildirStore

    domain = context.domains[0] if len(context.domains) == 1 else ""
    return MaildirStore(Path(context.state_dir) / options.path, context.reactor, options, domain)
