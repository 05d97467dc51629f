"""Dates in both forms, and flags in one spelling."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.dates import format_date, format_internal_date, parse_date, parse_internal_date
from twisted_mail_kit.mail.flags import SYSTEM_FLAGS, parse_flag, role_of_use, use_of_role

NOON = 1_795_435_200


@pytest.mark.parametrize(
    "value",
    [
        *(b"Mon, 23 Nov 2026 12:00:00 +0000", b"23 Nov 2026 12:00 GMT", b"Mon, 23 Nov 26 07:00:00 EST"),
        *(b" Mon,\t23  Nov 2026 17:30:00 +0530 (IST)", b"Mon (day), 23 (of) Nov 2026 12 : 00 : 00 -0000"),
        *(b"Mon Nov 23 12:00:00 2026", b"monday, 23-NOV-2026 12:00:00 Z", b"23 November 2026 12:00:00"),
        b"Mon, 23 Nov 2026 12:00:00 XYZ",
    ],
)
def test_dates_are_read_kindly(value: bytes) -> None:
    assert parse_date(value) == NOON


@pytest.mark.parametrize(
    "value", [b"", b"x", b"23 Nov", b"31 Feb 2026 00:00:00 +0000", b"1 Xyz 2026 00:00", b"1 Jan 2026 25:00", b"1" * 999]
)
def test_what_is_no_date(value: bytes) -> None:
    assert parse_date(value) is None


def test_obsolete_years() -> None:
    assert parse_date(b"1 Jan 49 00:00 GMT") == parse_date(b"1 Jan 2049 00:00 GMT")
    assert parse_date(b"1 Jan 50 00:00 GMT") == parse_date(b"1 Jan 1950 00:00 GMT")
    assert parse_date(b"1 Jan 126 00:00 GMT") == parse_date(b"1 Jan 2026 00:00 GMT")


def test_dates_are_written() -> None:
    assert format_date(NOON + 0.9) == b"Mon, 23 Nov 2026 12:00:00 +0000"
    assert format_date(NOON, -330) == b"Mon, 23 Nov 2026 06:30:00 -0530"
    assert format_internal_date(0) == b'" 1-Jan-1970 00:00:00 +0000"'
    assert parse_internal_date(b'"23-Nov-2026 13:00:00 +0100"') == NOON


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**37), 2**37), st.integers(-720, 720))
def test_dates_come_back(seconds: int, offset: int) -> None:
    if -2_208_988_800 < seconds < 250_000_000_000:
        assert parse_date(format_date(seconds, offset)) == seconds
        assert email.utils.parsedate_to_datetime(format_date(seconds, offset).decode()).timestamp() == seconds
        assert parse_internal_date(format_internal_date(seconds)) == seconds
    else:
        format_date(seconds, offset)
        format_internal_date(seconds)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=40) | st.from_regex(rb"[A-Z]{3}, [0-9]{1,2} (Jan|Feb) [0-9]{1,5} [0-9]{2}:[0-9]{2} [+-][0-9]{4}")
)
def test_no_date_fails(value: bytes) -> None:
    moment = parse_date(value)
    if moment is not None:
        format_date(moment)
    try:
        parse_internal_date(value)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "value",
    [b"", b'"1-Jan-1970 00:00:00"', b'"31-Feb-2026 00:00:00 +0000"', b'"1-Jan-1970 24:00:00 +0000"', b"1-Jan-1970"],
)
def test_bad_internal_dates(value: bytes) -> None:
    with pytest.raises(ValueError):
        parse_internal_date(value)


def test_flags_have_one_spelling() -> None:
    assert {parse_flag(flag.upper().encode()) for flag in SYSTEM_FLAGS} == SYSTEM_FLAGS
    assert parse_flag(b"$forwarded") == "$Forwarded"
    assert parse_flag(b"MyLabel") == "MyLabel"


@pytest.mark.parametrize(
    "flag", [b"", b"\\", b"\\Recent", b"\\Other", b"a b", b"a(", b"a]", b'"a"', b"a*", b"\xc3\xa4", b"a\r", b"x" * 101]
)
def test_what_is_no_flag(flag: bytes) -> None:
    with pytest.raises(ValueError):
        parse_flag(flag)


def test_special_uses() -> None:
    assert use_of_role("sent") == "\\Sent"
    assert use_of_role("inbox") is None and use_of_role(None) is None
    assert role_of_use("\\SENT") == "sent"
    assert role_of_use("\\Noinferiors") is None
