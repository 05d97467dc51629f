"""Facts as rows of the index, and answers to tokens as JSON."""

from __future__ import annotations

import json
from typing import Any

from mailkit_maildir.filename import FileName
from twisted_mail_kit.interfaces import Added, Applied, Copied, FlagsSet, Mailbox, Message, Removal, Removed

ANSWERS = {one.__name__: one for one in (Mailbox, Added, Copied, FlagsSet, Removed)}

BOX = "id, name, role, uidvalidity, uidnext, modseq, total, unseen, size, subscribed"
MESSAGE = "box, uid, email, thread, blob, size, date, saved, flags, modseq, created, summary"


def mailbox(row: tuple[Any, ...]) -> Mailbox:
    """Of a row of `BOX`."""
    return Mailbox._make((row[0], tuple(json.loads(row[1])), *row[2:9], bool(row[9])))


def box_values(box: Mailbox) -> list[Any]:
    """The row of a mailbox."""
    return [box.id, json.dumps(box.name), *box[2:9], int(box.subscribed)]


def fact(row: tuple[Any, ...]) -> Message | Removal:
    """Of a row of `MESSAGE`; one without a blob is a removal."""
    if row[4] is None:
        return Removal(row[0], row[1], row[2], row[9])
    return Message._make((*row[:8], flags_of(row[8]), *row[9:]))


def message_values(row: Message) -> list[Any]:
    """The row of a message."""
    return [*row[:8], flag_text(row.flags), *row[9:]]


def flag_text(flags: frozenset[str]) -> str:
    """Flags in a column."""
    return json.dumps(sorted(flags)) if flags else ""


def flags_of(text: str) -> frozenset[str]:
    """And out of it."""
    return frozenset(json.loads(text)) if text else frozenset()


def file_name(place: str, base: str, info: str | None) -> FileName:
    """Of a row's last columns."""
    return FileName(place, base, info)


def answer_text(applied: Applied) -> str:
    """An answer, to be kept."""
    results = [None if one is None else [type(one).__name__, *one] for one in applied.results]
    return json.dumps([applied.modseq, results])


def answer_of(text: str) -> Applied:
    """The answer again."""
    modseq, results = json.loads(text)
    return Applied(modseq, tuple(None if one is None else ANSWERS[one[0]](*map(_tuples, one[1:])) for one in results))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
