"""The embedded store: bodies in segment logs, the index in SQLite."""

from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings
from twisted_mail_kit.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteSettings", "SQLiteStore"]
