"""Dates as mail (RFC 5322 3.3, 4.3) and IMAP (RFC 3501 INTERNALDATE) write them; ours are seconds since 1970 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from twisted_mail_kit.mail.mimefields import without_comments

_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTH_NUMBER: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST: Final = 200

# RFC 5322 3.3 and 4.3, read kindly: seconds and zone may be absent, the day's name is not looked at.
_DATE: Final = re.compile(
    rb"(?:[A-Za-z]{3,9}+\s*+[,.]?\s*+)?(\d{1,2})[\s-]++([A-Za-z]{3})[A-Za-z]*+\.?[\s-]++(\d{2,4})\b[,\s]*+"
    rb"(\d{1,2})\s*+[:.]\s*+(\d{1,2})(?:\s*+[:.]\s*+(\d{1,2})(?:\.\d++)?)?\s*+([+-]\s?\d{4}\b|[A-Za-z]++)?"
)
# What C's asctime writes: `Mon Nov 23 07:00:00 2026`.
_ASCTIME: Final = re.compile(
    rb"[A-Za-z]{3}\s++([A-Za-z]{3})\s++(\d{1,2})\s++(\d{1,2}):(\d{2}):(\d{2})\s++(?:([A-Za-z]++|[+-]\d{4})\s++)?(\d{4})\b"
)
_INTERNAL: Final = re.compile(
    rb'"?([ \d]?\d)-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-])([01]\d|2[0-3])([0-5]\d)"?'
)
# RFC 5322 4.3. Military letters and unknown names mean -0000: UTC, as far as is known.
_ZONES: Final = {
    b"edt": -240,
    b"est": -300,
    b"cdt": -300,
    b"cst": -360,
    b"mdt": -360,
    b"mst": -420,
    b"pdt": -420,
    b"pst": -480,
}


def parse_date(value: bytes) -> int | None:
    """The moment of a Date field, also in the obsolete forms; None where it is none. Never fails."""
    if len(value) > _LONGEST:
        return None
    value = without_comments(value).strip()
    if found := _DATE.match(value):
        day, month, year, hour, minute, second, zone = found.groups()
    elif found := _ASCTIME.match(value):
        month, day, hour, minute, second, zone, year = found.groups()
    else:
        return None
    full_year = int(year)
    if len(year) < 4:
        # RFC 5322 4.3: 00-49 are of this century, 50-99 of the last; three digits count from 1900.
        full_year += 2000 if len(year) == 2 and full_year < 50 else 1900
    # A leap second is the one before it, told twice.
    return _moment(full_year, month, int(day), int(hour), int(minute), min(int(second or 0), 59), _offset(zone))


def _offset(zone: bytes | None) -> int:
    if not zone:
        return 0
    if zone[:1] in b"+-":
        digits = zone[-4:]
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return -minutes if zone[:1] == b"-" else minutes
    return _ZONES.get(zone.lower(), 0)


def _moment(year: int, month: bytes, day: int, hour: int, minute: int, second: int, offset_minutes: int) -> int | None:
    number = _MONTH_NUMBER.get(month.lower())
    if number is None:
        return None
    try:
        local = datetime(year, number, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return (local - _EPOCH) // timedelta(seconds=1) - offset_minutes * 60


def format_date(seconds: float, offset_minutes: int = 0) -> bytes:
    """As in a Date field: ``Mon, 23 Nov 2026 07:00:00 +0000``; `offset_minutes` is what the clock is ahead of UTC."""
    return _format_date(seconds // 1, offset_minutes)


@lru_cache(maxsize=16)  # many messages come within a second
def _format_date(seconds: float, offset_minutes: int) -> bytes:
    moment = _calendar(seconds + offset_minutes * 60)
    return b"%b, %d %b %04d %02d:%02d:%02d %b" % (
        _DAYS[moment.weekday()],
        moment.day,
        _MONTHS[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
        b"%c%02d%02d" % (b"-+"[offset_minutes >= 0], abs(offset_minutes) // 60, abs(offset_minutes) % 60),
    )


_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


def _calendar(seconds: float) -> datetime:
    """The nearest moment that has a year of four digits: a zone can lead a hair out of them."""
    return _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))


def parse_internal_date(octets: bytes) -> int:
    """RFC 3501's date-time, with its quotes or without. Raises ValueError."""
    found = _INTERNAL.fullmatch(octets)
    if found is None:
        raise ValueError("not a date-time")
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = int(zone_hours) * 60 + int(zone_minutes)
    moment = _moment(
        int(year),
        month,
        int(day),
        int(hour),
        int(minute),
        min(int(second), 59) if second <= b"60" else 99,
        -offset if sign == b"-" else offset,
    )
    if moment is None:
        raise ValueError("there is no such moment")
    return moment


def format_internal_date(seconds: int) -> bytes:
    """RFC 3501's date-time in UTC, with its quotes: ``"23-Nov-2026 07:00:00 +0000"``."""
    moment = _calendar(seconds)
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (
        moment.day,
        _MONTHS[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )
