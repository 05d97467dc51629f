"""The bundled spool: a directory with a SQLite database, and a file for each large message."""

from twisted_mail_kit.queue.sqlite.settings import SpoolSettings
from twisted_mail_kit.queue.sqlite.spool import SQLiteSpool

__all__ = ["SQLiteSpool", "SpoolSettings"]
