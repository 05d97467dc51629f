"""Questions to an index whose answers have to be empty: counts and counters that the rows contradict."""

from __future__ import annotations

WRONG = (
    (
        "mailbox {0} of {1}: counts {2} messages, {3} unseen, {4} octets; there are {5}, {6}, {7}",
        "SELECT mailboxes.id, accounts.name, mailboxes.total, mailboxes.unseen, mailboxes.size,"
        " coalesce(told.total, 0) AS t, coalesce(told.unseen, 0) AS u, coalesce(told.size, 0) AS s"
        " FROM mailboxes LEFT JOIN told ON told.mailbox = mailboxes.id"
        " LEFT JOIN accounts ON accounts.id = mailboxes.account"
        " WHERE (mailboxes.total, mailboxes.unseen, mailboxes.size) != (t, u, s)",
    ),
    (
        "mailbox {0}: UIDNEXT is {1}, modseq {2}; a message has UID {3}, or modseq {4}",
        "SELECT mailboxes.id, uidnext, mailboxes.modseq, told.uid, told.modseq FROM mailboxes"
        " JOIN told ON told.mailbox = mailboxes.id WHERE uidnext <= uid OR mailboxes.modseq < told.modseq",
    ),
    (
        "mailbox {0}: its messages belong to account {1}, which does not have it",
        "SELECT mailbox, told.account FROM told LEFT JOIN mailboxes ON mailboxes.id = mailbox"
        " AND mailboxes.account = told.account"
        " WHERE mailboxes.id IS NULL AND mailbox NOT IN (SELECT mailbox FROM graves)",
    ),
    (
        "mailbox {0}: its account {1} is missing",
        "SELECT id, account FROM mailboxes WHERE account NOT IN (SELECT id FROM accounts)",
    ),
    (
        "account {0}: its modseq is {1}, but a mailbox of it has {2}",
        "SELECT accounts.name, accounts.modseq, max(mailboxes.modseq) AS m FROM accounts"
        " JOIN mailboxes ON mailboxes.account = accounts.id GROUP BY accounts.id HAVING m > accounts.modseq",
    ),
    (
        "account {0}: counts {1} removals, {2} there are, up to modseq {3}",
        "SELECT name, removals, (SELECT count(*) FROM removals WHERE account = accounts.id) AS r,"
        " coalesce((SELECT max(modseq) FROM removals WHERE account = accounts.id), 0) AS m FROM accounts"
        " WHERE removals != r OR m > modseq",
    ),
    (
        "account {0}: {1} email ids are counted, but {2} was given out",
        "SELECT name, emails, max(email) AS e FROM told JOIN accounts ON accounts.id = told.account"
        " GROUP BY accounts.id HAVING e >= emails",
    ),
    (
        "mailbox {0}, UID {1}: is there, and removed",
        "SELECT message >> 32, message & 0xFFFFFFFF FROM removals JOIN messages ON messages.id = message",
    ),
    (
        "mailbox {0}: UID {1} was removed, but UIDNEXT is {2}",
        "SELECT mailboxes.id, max(message & 0xFFFFFFFF) AS u, uidnext FROM removals"
        " JOIN mailboxes ON mailboxes.id = message >> 32 GROUP BY mailboxes.id HAVING u >= uidnext",
    ),
    (
        "segment {0}: is not known, but {1} blobs are in it",
        "SELECT segment, count(*) FROM blobs WHERE segment != 0 AND segment NOT IN (SELECT id FROM segments)"
        " GROUP BY segment",
    ),
    (
        "segment {0}: has blobs outside of {1:x}-{2:x}",
        "SELECT segments.id, segments.low, segments.high FROM segments JOIN blobs ON blobs.segment = segments.id"
        " GROUP BY segments.id HAVING min(blob) < low OR max(blob) > high",
    ),
)
"""(what is told, the rows that it is told of); `told` is what the messages say."""
