"""The bundled stores, as the plugin door asks for them."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings


def memory(options: Any, context: Any) -> MemoryStore:
    """Everything in memory, gone at the end."""
    return MemoryStore(context.clock)


def sqlite(options: SQLiteSettings, context: Any) -> SQLiteStore:
    """The embedded default, in ``store`` below the state folder. Raises ConfigurationError, Unavailable."""
    return SQLiteStore(context.state_dir / "store", context.reactor, options)
