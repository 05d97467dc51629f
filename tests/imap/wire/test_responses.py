"""Response octets: whole, safe, and quick where there are many."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import Path
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.reader import Reader
from twisted_mail_kit.mail.dates import format_internal_date, parse_internal_date


@pytest.mark.parametrize(
    ("octets", "sent"),
    [
        (b"", b'""'),
        (b"a b", b'"a b"'),
        (b'a"b', b'"a\\"b"'),
        (b"a\\b", b'"a\\\\b"'),
        (b"(a)", b'"(a)"'),
        (b"\t\x01\x7f", b'"\t\x01\x7f"'),
        (b"a\rb", b"{3}\r\na\rb"),
        (b"a\nb", b"{3}\r\na\nb"),
        (b"\xc3\xa9", b"{2}\r\n\xc3\xa9"),
        (b"a\0b", b"{3}\r\na?b"),
        (b"x" * 1000, b'"' + b"x" * 1000 + b'"'),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)
def test_strings(octets: bytes, sent: bytes) -> None:
    assert responses.string(octets) == sent
    assert responses.nstring(octets) == sent


def test_nil() -> None:
    assert responses.nstring(None) == b"NIL"
    assert responses.nstring(b"NIL") == b'"NIL"'


@pytest.mark.parametrize(
    ("octets", "sent"),
    [
        (b"INBOX", b"INBOX"),
        (b"a/b-c.d&-", b"a/b-c.d&-"),
        (b"a b", b'"a b"'),
        (b"", b'""'),
        (b"NIL", b'"NIL"'),
        (b"nil", b'"nil"'),
        (b"a]", b'"a]"'),
        (b"a*", b'"a*"'),
        (b"a%", b'"a%"'),
        (b"a{", b'"a{"'),
        (b"a\r\n* OK", b"{7}\r\na\r\n* OK"),
        (b"\xff", b"{1}\r\n\xff"),
    ],
)
def test_astrings(octets: bytes, sent: bytes) -> None:
    assert responses.astring(octets) == sent


@settings(max_examples=200, deadline=None)
@given(octets=st.binary(max_size=60) | st.text('ab "\\(){}*%]\r\n', max_size=20).map(str.encode))
def test_strings_are_read_back_as_they_were(octets: bytes) -> None:
    wanted = octets.replace(b"\0", b"?")
    for make in (responses.string, responses.nstring, responses.astring):
        reader = Reader(make(octets), WireLimits())
        assert reader.astring() == wanted
        reader.end()


@pytest.mark.parametrize(
    ("path", "utf8", "sent"),
    [
        (("INBOX",), False, b"INBOX"),
        (("Sent Mail", "2026"), False, b'"Sent Mail/2026"'),
        (("Entwürfe",), False, b"Entw&APw-rfe"),
        (("Entwürfe",), True, '"Entwürfe"'.encode()),
        (('é"\\',), True, '"é\\"\\\\"'.encode()),
        (("a&b",), True, b"a&b"),
        (("a&b",), False, b"a&-b"),
        (("a\r\n* BYE",), False, b'"a&,,3,,Q-* BYE"'),
    ],
)
def test_mailbox_names(path: Path, utf8: bool, sent: bytes) -> None:
    assert responses.mailbox(path, utf8) == sent


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("done", b"done"),
        ("", b"-"),
        ("a\r\n* BYE", b"a??* BYE"),
        ("a\0b\tc\x7f", b"a?b?c?"),
        ("é😀", b"??"),
        ("[ALERT] x", b"(ALERT] x"),
    ],
)
def test_text_is_harmless(text: str, sent: bytes) -> None:
    assert responses.sanitise(text) == sent


def test_status_responses() -> None:
    assert responses.ok(b"a1", "NOOP completed") == b"a1 OK NOOP completed\r\n"
    assert responses.no(b"a1", "No", b"TRYCREATE") == b"a1 NO [TRYCREATE] No\r\n"
    assert responses.bad(None, "What?") == b"* BAD What?\r\n"
    assert responses.bye("Bye", b"UNAVAILABLE") == b"* BYE [UNAVAILABLE] Bye\r\n"
    assert responses.condition(None, b"PREAUTH", "x") == b"* PREAUTH x\r\n"
    assert responses.ok(b"a", "x\r\ny") == b"a OK x??y\r\n"
    assert responses.continuation() == b"+ Ready\r\n"
    assert responses.continuation("") == b"+ -\r\n"
    assert responses.challenge(b"") == b"+ \r\n"
    assert responses.challenge(b"\0fred") == b"+ AGZyZWQ=\r\n"
    assert b"\n" not in responses.challenge(bytes(300))[:-1]


def test_bad_commands_have_a_line() -> None:
    assert BadCommand(b"a", "Unknown command").line() == b"a BAD Unknown command\r\n"
    assert BadCommand(None, "x", b"TOOBIG", fatal=True).line() == b"* BAD [TOOBIG] x\r\n"
    assert BadCommand(b"a", "x", b"CANNOT", status=b"NO").line() == b"a NO [CANNOT] x\r\n"


def test_response_codes() -> None:
    assert responses.appenduid(38505, [3955]) == b"APPENDUID 38505 3955"
    assert responses.appenduid(38505, [1, 2, 3]) == b"APPENDUID 38505 1:3"
    pairs = [(304, 3956), (319, 3957), (320, 3958)]
    sets = responses.copied_sets
    assert responses.copyuid(38505, sets(pairs)) == b"COPYUID 38505 304,319:320 3956:3958"
    pieces = map(sets, (pairs[:1], [], pairs[1:]))
    assert responses.copyuid(38505, *pieces) == b"COPYUID 38505 304,319:320 3956,3957:3958"
    assert responses.copyuid(38505, sets([])) == responses.copyuid(38505) == b""
    assert responses.modified([7, 9]) == b"MODIFIED 7,9"
    assert responses.permanent_flags(["\\Seen", "x"], more=True) == b"PERMANENTFLAGS (\\Seen x \\*)"
    assert responses.permanent_flags(["\\Seen"], more=False) == b"PERMANENTFLAGS (\\Seen)"
    assert responses.permanent_flags([], more=True) == b"PERMANENTFLAGS (\\*)"
    assert responses.permanent_flags([], more=False) == b"PERMANENTFLAGS ()"
    assert responses.capability(["IMAP4rev1", "IDLE"]) == b"CAPABILITY IMAP4rev1 IDLE"


def test_untagged_responses() -> None:
    assert responses.untagged(responses.capability(["IMAP4rev1"])) == b"* CAPABILITY IMAP4rev1\r\n"
    assert responses.enabled(["CONDSTORE"]) == b"* ENABLED CONDSTORE\r\n"
    assert responses.enabled([]) == b"* ENABLED\r\n"
    assert responses.exists(0) == b"* 0 EXISTS\r\n"
    assert responses.recent(2) == b"* 2 RECENT\r\n"
    assert responses.expunge(7) == b"* 7 EXPUNGE\r\n"
    assert responses.flags_line(["x", "\\Seen"]) == b"* FLAGS (\\Seen x)\r\n"
    assert responses.list_line(["\\HasNoChildren", "\\Sent"], ("Sent Mail",)) == (
        b'* LIST (\\HasNoChildren \\Sent) "/" "Sent Mail"\r\n'
    )
    assert responses.list_line([], ("é",), verb=b"LSUB") == b'* LSUB () "/" &AOk-\r\n'
    assert responses.list_line([], ("é",), utf8=True) == '* LIST () "/" "é"\r\n'.encode()
    assert responses.list_line(["\\NonExistent"], ("a",), extended=b'("CHILDINFO" ("SUBSCRIBED"))') == (
        b'* LIST (\\NonExistent) "/" a ("CHILDINFO" ("SUBSCRIBED"))\r\n'
    )
    assert responses.separator_line() == b'* LIST (\\Noselect) "/" ""\r\n'
    assert responses.separator_line(b"LSUB") == b'* LSUB (\\Noselect) "/" ""\r\n'
    assert responses.status_line(("INBOX",), [("MESSAGES", 3), ("UNSEEN", 0)]) == (
        b"* STATUS INBOX (MESSAGES 3 UNSEEN 0)\r\n"
    )
    assert responses.search_numbers([]) == b""
    assert responses.search_numbers([2, 30]) == b" 2 30"
    assert responses.search_end(0) == b"\r\n"
    assert responses.search_end(9) == b" (MODSEQ 9)\r\n"
    assert responses.id_line(None) == b"* ID NIL\r\n"
    assert responses.id_line([(b"name", b"x"), (b"os", None)]) == b'* ID ("name" "x" "os" NIL)\r\n'


@pytest.mark.parametrize(
    ("flags", "sent"),
    [
        ((), b"()"),
        (("\\Seen",), b"(\\Seen)"),
        (("x", "$Forwarded", "\\Seen", "\\Answered"), b"(\\Answered \\Seen $Forwarded x)"),
        (("a b", "x\r\n", "é", "", "\\", "(", "ok"), b"(ok)"),
        (("\\Recent",), b"(\\Recent)"),
    ],
)
def test_flag_lists(flags: tuple[str, ...], sent: bytes) -> None:
    assert responses.flag_list(frozenset(flags)) == sent
    assert responses.flag_list(list(flags)) == sent


def test_fetch_lines() -> None:
    assert responses.fetch_line(3, [b"UID 7", b"FLAGS ()"]) == b"* 3 FETCH (UID 7 FLAGS ())\r\n"
    assert responses.literal_head(b"BODY[TEXT]<0>", 5) == b"BODY[TEXT]<0> {5}\r\n"


@pytest.mark.parametrize(
    ("seconds", "sent"),
    [
        (0, b'" 1-Jan-1970 00:00:00 +0000"'),
        (837571465, b'"17-Jul-1996 02:44:25 +0000"'),
        (-1, b'"31-Dec-1969 23:59:59 +0000"'),
        (253402300799, b'"31-Dec-9999 23:59:59 +0000"'),
    ],
)
def test_internal_dates(seconds: int, sent: bytes) -> None:
    assert responses.internal_date(seconds) == sent


@settings(max_examples=200, deadline=None)
@given(seconds=st.integers(-62135596800, 253402300799))
def test_internal_dates_are_those_of_mail(seconds: int) -> None:
    assert responses.internal_date(seconds) == format_internal_date(seconds)
    assert parse_internal_date(responses.internal_date(seconds)) == seconds


@given(seconds=st.integers(-(2**62), 2**62))
def test_no_internal_date_fails(seconds: int) -> None:
    assert re.fullmatch(rb'"[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d \+0000"', responses.internal_date(seconds))


def test_rows_are_quick() -> None:
    """A row of FLAGS, UID, INTERNALDATE and SIZE is a few microseconds; the bound leaves room for a busy machine."""
    flags = [frozenset({"\\Seen", f"k{number % 50}"}) for number in range(10_000)]
    began = time.process_time()
    for number in range(10_000):
        responses.fetch_line(
            number,
            (
                b"UID %d" % number,
                b"FLAGS " + responses.flag_list(flags[number]),
                b"INTERNALDATE " + responses.internal_date(1_700_000_000 + number * 60),
                b"RFC822.SIZE %d" % number,
            ),
        )
    assert time.process_time() - began < 0.3
    began = time.process_time()
    responses.search_numbers(range(1, 100_001))
    assert time.process_time() - began < 0.3
