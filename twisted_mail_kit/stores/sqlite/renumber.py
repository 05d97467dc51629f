"""Numbers that jump far ahead, in a store that has forgotten some: nothing that was given out is given out again."""

from __future__ import annotations

import secrets
import sqlite3

FAR = 1 << 32
"""How far modseqs and email ids jump: more than an account can have been given since the backup."""
SOME = 1 << 20
"""How far what is scarcer jumps: numbers of accounts, mailboxes and segments, and UIDVALIDITY."""
RUNS = 1 << 16
"""How far the number of the run jumps, which blob numbers begin with: so many starts of a server."""

# Mail programs remember what they saw after the backup was made (or in commits that are lost), and the store has
# forgotten it. No UID under the same UIDVALIDITY, no modseq, no email, blob or mailbox id may come to mean something
# else. Every mailbox gets a new UIDVALIDITY (RFC 3501 2.3.1.1). To let UIDs jump would not do: what was expunged after
# the backup is there again under its old UID, and a program that looks for new mail above the last UID that it knows
# would never see it. All earlier modseqs are forgotten ones, so who asks for changes is told to begin anew.


def renumber(connection: sqlite3.Connection, now: int) -> None:
    """Let everything that is given out jump ahead; in a transaction. Raises sqlite3.Error."""
    execute = connection.execute
    execute("DELETE FROM removals")
    execute(
        "UPDATE accounts SET modseq = modseq + ?1, forgotten = modseq + ?1, emails = emails + ?1, removals = 0", (FAR,)
    )
    kept = dict(execute("SELECT key, value FROM store").fetchall())
    base = max(kept["uidvalidity"], now) + SOME
    execute(
        "UPDATE mailboxes SET uidvalidity = ? + place,"
        " modseq = (SELECT modseq FROM accounts WHERE accounts.id = mailboxes.account)"
        " FROM (SELECT id AS number, row_number() OVER (ORDER BY id) AS place FROM mailboxes) WHERE number = id",
        (base,),
    )
    (mailboxes,) = execute("SELECT count(*) FROM mailboxes").fetchone()
    execute("UPDATE store SET value = ? WHERE key = 'uidvalidity'", (base + mailboxes,))
    execute("UPDATE store SET value = value + ? WHERE key = 'run'", (RUNS,))
    execute("INSERT OR REPLACE INTO store VALUES ('identity', ?)", (secrets.token_bytes(16),))
    for table in ("accounts", "mailboxes", "segments"):
        if not execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (SOME, table)).rowcount:
            execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, SOME))
