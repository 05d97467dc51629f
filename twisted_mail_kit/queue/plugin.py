"""The bundled spool as a plugin: called as ``factory(options, context)``."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.queue.sqlite import SpoolSettings, SQLiteSpool


def sqlite(options: SpoolSettings, context: Any) -> SQLiteSpool:
    """`sqlite`, in ``queue`` below the state folder. Raises ConfigurationError, Unavailable."""
    return SQLiteSpool(context.state_dir / "queue", context.reactor, options)
