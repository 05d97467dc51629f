"""FETCH and STORE as clients say them most often, read at a glance."""

from __future__ import annotations

import re
from functools import lru_cache

from twisted_mail_kit.imap.wire.changes import Change, read_change
from twisted_mail_kit.imap.wire.commands import Attribute, Command, Fetch, FetchItem, Store
from twisted_mail_kit.imap.wire.fetchitems import read_fetch_items
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.reader import SPECIAL, Bad, Reader
from twisted_mail_kit.imap.wire.sequence import parse_set

_LONGEST_KNOWN = 256

# Hot path: a client that takes, or marks, one message after the other. Word by word is what `parser` does, in fifty
# calls; here what a command ends with was read before, as clients ask for the same things again and again.
_USUAL = re.compile(
    rb"([^%b+]++) (UID )?(?:(FETCH)|STORE) ([0-9][0-9*:,]*+) (.{1,%d})" % (SPECIAL, _LONGEST_KNOWN), re.I | re.S
)
_UID = Attribute("UID")


def read_usual(octets: bytes, limits: WireLimits, utf8: bool) -> Command | None:
    """The command; None: it is another one, or has to be looked at closely, as it may be wrong."""
    found = _USUAL.fullmatch(octets)
    if found is None:
        return None
    tag, uid, fetch, numbers, rest = found.groups()
    by_uid = uid is not None
    try:
        if numbers.isdigit() and numbers[0] != 0x30 and len(numbers) < 10:
            number = int(numbers)
            messages: tuple[tuple[int, int], ...] = ((number, number),)
        else:
            messages = parse_set(numbers, limits.set_ranges)
        if fetch:
            return Fetch(tag, by_uid, messages, _items(rest, by_uid, limits, utf8))
        return Store(tag, by_uid, messages, *_change(rest, limits, utf8))
    except (Bad, ValueError):
        return None


@lru_cache(maxsize=256)
def _items(octets: bytes, by_uid: bool, limits: WireLimits, utf8: bool) -> tuple[FetchItem, ...]:
    reader = Reader(octets, limits, utf8)
    items = read_fetch_items(reader)
    reader.end()
    return with_uid(items) if by_uid else items


@lru_cache(maxsize=256)
def _change(octets: bytes, limits: WireLimits, utf8: bool) -> Change:
    reader = Reader(octets, limits, utf8)
    change = read_change(reader)
    reader.end()
    return change


def with_uid(items: tuple[FetchItem, ...]) -> tuple[FetchItem, ...]:
    """RFC 3501 6.4.8: UID FETCH tells UIDs, whether they are asked for or not."""
    return items if _UID in items else (_UID, *items)
