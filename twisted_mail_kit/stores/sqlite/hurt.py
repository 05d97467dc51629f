"""Whose messages are hurt by octets that are damaged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

from twisted_mail_kit.stores.sqlite import rows


def tell_hurt(connection: sqlite3.Connection, damaged: Mapping[int, str]) -> list[str]:
    """A line for each message whose blob is among `damaged` (blob number -> what is wrong). Looks at all messages.

    Raises sqlite3.Error.
    """
    if not damaged:
        return []
    (secret,) = connection.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()
    told = []
    for id, blob_id, size, date, account, mailbox in connection.execute(
        "SELECT messages.id, blob_id, messages.size, internal_date, accounts.name, mailboxes.name FROM messages"
        " LEFT JOIN accounts ON accounts.id = messages.account LEFT JOIN mailboxes ON mailboxes.id = messages.id >> 32"
    ):
        why = damaged.get(rows.blob_number(str(blob_id), secret) or 0)
        if why is not None:
            box = "/".join(rows.unpack_name(mailbox)) if isinstance(mailbox, str) else id >> 32
            day = time.strftime("%Y-%m-%d", time.gmtime(date))
            told.append(
                f"hurt: account {account}, mailbox {box}, UID {id & 0xFFFFFFFF}, of {day}, {size} octets: {why}"
            )
    return told
