"""Flags of messages that are there are set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from operator import eq

from twisted_mail_kit.mail.facts import FlagsSet
from twisted_mail_kit.mail.operations import SetFlags, flags_after
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.batch import Batch, MailboxRow
from twisted_mail_kit.stores.sqlite.reading import by_uids

FEW_SETS = 4
"""So many different sets of flags are each looked for in all of a run of messages."""


def set_flags(batch: Batch, box: MailboxRow, op: SetFlags, modseq: int, pieces: Iterable[Sequence[int]]) -> FlagsSet:
    """Do it for `pieces` of the operation's UIDs; what is changed gets that modseq. The mailbox is not touched yet, but
    for how many are unseen."""
    changed: list[int] = []
    refused: list[int] = []
    becomes: dict[rows.PackedFlags, rows.PackedFlags] = {}
    limit = op.unchanged_since
    for uids in pieces:
        found = by_uids(batch.connection, "id, flags, modseq", box.id, uids, "entries")
        if limit is not None:
            refused += [id & 0xFFFFFFFF for id, _, at in found if at > limit]
            found = [row for row in found if row[2] <= limit]
        counts = Counter([row[1] for row in found])
        for flags in counts.keys() - becomes.keys():
            becomes[flags] = rows.pack_flags(flags_after(op, rows.FLAGS[flags]))
        other = {flags: becomes[flags] for flags in counts if becomes[flags] != flags}
        if not other:
            continue
        if limit is None and len(other) <= FEW_SETS < len(found) and _is_run(uids):
            # All messages from here to there: half the work. No statement finds what one before it has changed: flags
            # that have become what they are to be are not among those that are to become others.
            for flags, after in other.items():
                batch.execute(
                    "UPDATE entries SET flags = ?, modseq = ? WHERE id BETWEEN ? AND ? AND flags = ?",
                    (after, modseq, found[0][0], found[-1][0], flags),
                )
        else:
            batch.executemany(
                "UPDATE entries SET flags = ?, modseq = ? WHERE id = ?",
                [(other[flags], modseq, id) for id, flags, _ in found if flags in other],
            )
        changed += [id & 0xFFFFFFFF for id, flags, _ in found if flags in other]
        for flags, after in other.items():
            box.unseen += counts[flags] * (rows.is_unseen(after) - rows.is_unseen(flags))
    return FlagsSet(tuple(changed), tuple(refused))


def _is_run(uids: Sequence[int]) -> bool:
    """They are all the numbers from the first to the last."""
    return uids[-1] - uids[0] == len(uids) - 1 and all(map(eq, uids, count(uids[0])))
