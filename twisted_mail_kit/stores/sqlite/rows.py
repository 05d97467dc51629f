"""Rows as the database has them, and the values that they stand for."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from twisted_mail_kit.mail.facts import (
    Added,
    Applied,
    Copied,
    FlagsSet,
    Listing,
    Mailbox,
    Message,
    Removal,
    Removed,
    Result,
)

UID_LIMIT = 1 << 32
SEEN = 1
_SYSTEM = {r"\Seen": SEEN, r"\Answered": 2, r"\Flagged": 4, r"\Deleted": 8, r"\Draft": 16}

MESSAGE = "id, email_id, thread_id, blob_id, size, internal_date, saved_date, flags, modseq, created, summary"
LISTED = "id, flags, modseq, size, internal_date"
MAILBOX = "id, name, role, uidvalidity, uidnext, modseq, total, unseen, size, subscribed"

PackedFlags = int | str

# --- ids -------------------------------------------------------------------------------------------------------------


@lru_cache(4096)
def mailbox_id(number: int) -> str:
    """What the outside calls a mailbox."""
    return f"m{number}"


@lru_cache(4096)
def mailbox_number(text: str) -> int | None:
    """A mailbox's number, or None for what never was an id of ours."""
    if text[:1] == "m" and text[1:].isascii() and text[1:].isdecimal() and text[1] != "0" and len(text) < 12:
        return int(text[1:])
    return None


def blob_id(number: int, secret: bytes | None = None) -> str:
    """What the outside calls a blob. A shared one's name cannot be guessed, as whoever knows it may have it."""
    if secret is None:
        return f"b{number:x}"
    return f"s{number:x}-{blake2b(b'%x' % number, key=secret, digest_size=10).hexdigest()}"


def blob_number(text: str, secret: bytes) -> int | None:
    """A blob's number, or None for what never was an id of ours."""
    digits = text[1:].partition("-")[0]
    if not digits.isascii() or not digits.isalnum() or len(digits) > 15:
        return None
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    return number if text == blob_id(number, secret if text[0] == "s" else None) else None


# --- flags -----------------------------------------------------------------------------------------------------------


class _Unpacked(dict[PackedFlags, frozenset[str]]):
    """Packed flags -> flags; the same set object for all messages that have the same."""

    LIMIT = 4096

    def __missing__(self, packed: PackedFlags) -> frozenset[str]:
        bits, *keywords = [packed] if isinstance(packed, int) else json.loads(packed)
        flags = frozenset([*(flag for flag, bit in _SYSTEM.items() if bits & bit), *keywords])
        if len(self) >= self.LIMIT:
            self.clear()
        self[packed] = flags
        return flags


FLAGS = _Unpacked()
_PACKED: dict[frozenset[str], PackedFlags] = {}


def pack_flags(flags: Iterable[str]) -> PackedFlags:
    """System flags as bits of an integer; where there are keywords, JSON of the integer and the keywords."""
    key = flags if isinstance(flags, frozenset) else frozenset(flags)
    packed = _PACKED.get(key)
    if packed is None:
        bits = sum(bit for flag, bit in _SYSTEM.items() if flag in key)
        keywords = sorted(key - _SYSTEM.keys())
        packed = json.dumps([bits, *keywords]) if keywords else bits
        if len(_PACKED) >= _Unpacked.LIMIT:
            _PACKED.clear()
        _PACKED[key] = packed
    return packed


def is_unseen(packed: PackedFlags) -> bool:
    r"""Without ``\Seen``."""
    bits = packed if isinstance(packed, int) else int(packed[1 : packed.index(",")])
    return not bits & SEEN


# --- rows ------------------------------------------------------------------------------------------------------------


def messages(mailbox: int, rows: Iterable[tuple[Any, ...]]) -> list[Message]:
    """Messages of one mailbox, from rows of MESSAGE."""
    new, name, base, unpacked = tuple.__new__, mailbox_id(mailbox), mailbox << 32, FLAGS
    return [
        new(
            Message,
            (name, i - base, email, thread, blob, size, internal, saved, unpacked[flags], modseq, made, summary),
        )
        for i, email, thread, blob, size, internal, saved, flags, modseq, made, summary in rows
    ]


def listing(mailbox: int, rows: list[tuple[Any, ...]]) -> Listing:
    """Columns, from rows of LISTED."""
    if not rows:
        return Listing((), (), (), (), ())
    base = mailbox << 32
    ids, flags, modseqs, sizes, dates = zip(*rows, strict=True)
    return Listing([id - base for id in ids], [FLAGS[packed] for packed in flags], modseqs, sizes, dates)


def packed_listing(mailbox: int, pages: Iterable[list[tuple[Any, ...]]]) -> Listing:
    """Packed columns, from pages of rows of LISTED, however many."""
    uids, modseqs, sizes, dates = array("I"), array("q"), array("q"), array("q")
    flags: list[frozenset[str]] = []
    for page in pages:
        some = listing(mailbox, page)
        uids.extend(some.uids)
        flags.extend(some.flags)
        modseqs.extend(some.modseqs)
        sizes.extend(some.sizes)
        dates.extend(some.internal_dates)
    return Listing(uids, flags, modseqs, sizes, dates)


def message(row: tuple[Any, ...]) -> Message:
    """One message of any mailbox."""
    return messages(row[0] >> 32, (row,))[0]


def mailbox(row: tuple[Any, ...]) -> Mailbox:
    """A mailbox, from a row of MAILBOX."""
    return Mailbox._make((mailbox_id(row[0]), unpack_name(row[1]), *row[2:9], bool(row[9])))


def removal(message: int, email_id: str, modseq: int) -> Removal:
    """A tombstone."""
    return Removal(mailbox_id(message >> 32), message & (UID_LIMIT - 1), email_id, modseq)


def pack_name(name: tuple[str, ...]) -> str:
    """A path as JSON, in ASCII: there is only one way to write it."""
    return json.dumps(list(name), separators=(",", ":"))


def unpack_name(packed: str) -> tuple[str, ...]:
    """The path again."""
    return tuple(json.loads(packed))


# --- answers, kept with their tokens ---------------------------------------------------------------------------------

_KINDS: dict[str, Any] = {"m": Mailbox, "a": Added, "c": Copied, "f": FlagsSet, "r": Removed}
_LETTERS: dict[Any, str] = {kind: letter for letter, kind in _KINDS.items()}


TOKEN_PERIOD = 10
"""Days whose tokens lie together: to look for one is to look in two places at most."""


def token_periods(now: int, days: int) -> list[int]:
    """The periods, each the number of its first day, in which a token of the last so many days may be.

    A clock that was set back finds tokens of tomorrow.
    """
    today = now // 86400
    return list(range(token_period(today - days - 1), today + 2, TOKEN_PERIOD))


def token_period(day: int) -> int:
    """The period that a day since 1970 is in."""
    return day - day % TOKEN_PERIOD


def token_key(account: int, token: str) -> bytes:
    """A token's short name. It begins as the token does: a trace id begins with the time, and what is written at one
    time is to lie together."""
    octets = token.encode("utf-8", "surrogatepass")
    return octets[:8] + blake2b(octets, digest_size=12, salt=account.to_bytes(8, "big")).digest()


def older_token_key(account: int, token: str) -> bytes:
    """As it was until format 2."""
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16, salt=account.to_bytes(8, "big")).digest()


def pack_answer(applied: Applied) -> str:
    """An answer as JSON."""
    if len(applied.results) == 1 and type(result := applied.results[0]) is Added:
        # A delivery, as the lines below would write it: our own ids need no quoting.
        return f'[{applied.modseq},[["a","{result[0]}",{result[1]},{result[2]},"{result[3]}"]]]'
    results = [None if result is None else [_LETTERS[type(result)], *result] for result in applied.results]
    return json.dumps([applied.modseq, results], separators=(",", ":"))


def unpack_answer(packed: str) -> Applied:
    """The answer again, marked as replayed."""
    modseq, results = json.loads(packed)
    return Applied(modseq, tuple(map(_result, results)), True)


def _result(packed: list[Any] | None) -> Result:
    if packed is None:
        return None
    letter, *fields = packed
    result: Result = _KINDS[letter](*map(_tuples, fields))
    return result


def _tuples(field: Any) -> Any:
    return tuple(map(_tuples, field)) if isinstance(field, list) else field
