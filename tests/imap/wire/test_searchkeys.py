"""SEARCH: every key, charsets, nesting and its limits."""

from __future__ import annotations

from datetime import date

import pytest

from twisted_mail_kit.imap.wire.commands import (
    All,
    And,
    Date,
    HasFlag,
    Header,
    ModSeq,
    Noop,
    Not,
    Numbers,
    Or,
    Search,
    Size,
    Text,
)
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.parser import parse_command
from twisted_mail_kit.imap.wire.reader import Bad

SEEN = HasFlag("\\Seen")
DAY = (date(1994, 2, 1) - date(1970, 1, 1)).days

KEYS = [
    (b"ALL", All()),
    (b"all", All()),
    (b"ANSWERED", HasFlag("\\Answered")),
    (b"DELETED", HasFlag("\\Deleted")),
    (b"DRAFT", HasFlag("\\Draft")),
    (b"FLAGGED", HasFlag("\\Flagged")),
    (b"SEEN", SEEN),
    (b"RECENT", HasFlag("\\Recent")),
    (b"UNANSWERED", Not(HasFlag("\\Answered"))),
    (b"UNDELETED", Not(HasFlag("\\Deleted"))),
    (b"UNDRAFT", Not(HasFlag("\\Draft"))),
    (b"UNFLAGGED", Not(HasFlag("\\Flagged"))),
    (b"UNSEEN", Not(SEEN)),
    (b"OLD", Not(HasFlag("\\Recent"))),
    (b"NEW", And((HasFlag("\\Recent"), Not(SEEN)))),
    (b"KEYWORD $Forwarded", HasFlag("$Forwarded")),
    (b"UNKEYWORD x", Not(HasFlag("x"))),
    (b"BCC a", Header("bcc", "a")),
    (b"CC a", Header("cc", "a")),
    (b'FROM "a b"', Header("from", "a b")),
    (b"SUBJECT {3+}\r\nabc", Header("subject", "abc")),
    (b"TO a]b", Header("to", "a]b")),
    (b"HEADER X-Spam yes", Header("x-spam", "yes")),
    (b'HEADER "Message-ID" ""', Header("message-id", "")),
    (b"BODY x", Text("x", headers=False)),
    (b"TEXT x", Text("x", headers=True)),
    (b"LARGER 0", Size(0, larger=True)),
    (b"SMALLER 4294967295", Size(4294967295, larger=False)),
    (b"BEFORE 1-Feb-1994", Date("internal", "before", DAY)),
    (b"ON 01-feb-1994", Date("internal", "on", DAY)),
    (b'SINCE "1-FEB-1994"', Date("internal", "since", DAY)),
    (b"SENTBEFORE 1-Feb-1994", Date("sent", "before", DAY)),
    (b"SENTON 1-Feb-1994", Date("sent", "on", DAY)),
    (b"SENTSINCE 1-Feb-1994", Date("sent", "since", DAY)),
    (b"SAVEDBEFORE 1-Feb-1994", Date("saved", "before", DAY)),
    (b"SAVEDON 1-Feb-1994", Date("saved", "on", DAY)),
    (b"SAVEDSINCE 1-Feb-1994", Date("saved", "since", DAY)),
    (b"SAVEDATESUPPORTED", All()),
    (b"BEFORE 1-Jan-1970", Date("internal", "before", 0)),
    (b"BEFORE 31-Dec-1969", Date("internal", "before", -1)),
    (b"1:3,*", Numbers(False, ((1, 3), (0, 0)))),
    (b"*", Numbers(False, ((0, 0),))),
    (b"UID 1:*", Numbers(True, ((1, 0),))),
    (b"MODSEQ 620162338", ModSeq(620162338)),
    (b"MODSEQ 0", ModSeq(0)),
    (b'MODSEQ "/flags/\\\\draft" all 620162338', ModSeq(620162338)),
    (b'MODSEQ "/flags/x" priv 1', ModSeq(1)),
    (b"NOT SEEN", Not(SEEN)),
    (b"NOT UNSEEN", SEEN),
    (b"NOT NOT SEEN", SEEN),
    (b"NOT NOT NOT SEEN", Not(SEEN)),
    (b"NOT (SEEN)", Not(SEEN)),
    (b"NOT (NOT SEEN)", SEEN),
    (b"not (SEEN DRAFT)", Not(And((SEEN, HasFlag("\\Draft"))))),
    (b"(SEEN)", SEEN),
    (b"((SEEN))", SEEN),
    (b"SEEN UID 1 (DRAFT)", And((SEEN, Numbers(True, ((1, 1),)), HasFlag("\\Draft")))),
    (b"OR SEEN ALL", Or(SEEN, All())),
    (b"OR (SEEN ALL) NOT SEEN", Or(And((SEEN, All())), Not(SEEN))),
    (b"or or SEEN ALL 1", Or(Or(SEEN, All()), Numbers(False, ((1, 1),)))),
    (b"OR SEEN OR ALL 1", Or(Or(SEEN, All()), Numbers(False, ((1, 1),)))),
    (b"NOT OR SEEN ALL", Not(Or(SEEN, All()))),
    (b"OR SEEN ALL DRAFT", And((Or(SEEN, All()), HasFlag("\\Draft")))),
    (b"SUBJECT or SUBJECT not", And((Header("subject", "or"), Header("subject", "not")))),
    # charsets
    (b"CHARSET US-ASCII SUBJECT x", Header("subject", "x")),
    (b'charset "utf-8" SUBJECT x', Header("subject", "x")),
    ('CHARSET UTF-8 SUBJECT "é"'.encode(), Header("subject", "é")),
    ("CHARSET UTF-8 TEXT {2+}\r\né".encode(), Text("é", headers=True)),
    ("TEXT {2+}\r\né".encode(), Text("é", headers=True)),
    (b"CHARSET UTF-8 HEADER X {2+}\r\n\xc3\xa9", Header("x", "é")),
    (b"TEXT charset", Text("charset", headers=True)),
]


@pytest.mark.parametrize(("octets", "key"), KEYS, ids=lambda value: repr(value)[:50])
def test_a_key_is_taken(hear, octets: bytes, key) -> None:
    assert hear(b"a SEARCH " + octets + b"\r\n") == [Search(b"a", False, key)]
    assert hear(b"a uid search " + octets + b"\r\n") == [Search(b"a", True, key)]


REJECTED = [
    b"",
    b"FOO",
    b"SEEN ",
    b" SEEN",
    b"SEEN  DRAFT",
    b"SEEN,DRAFT",
    b"()",
    b"( SEEN)",
    b"(SEEN )",
    b"(SEEN",
    b"SEEN)",
    b"(SEEN))",
    b"(SEEN)(DRAFT)",
    b"NOT",
    b"NOT ",
    b"NOT NOT",
    b"NOT NOT ",
    b"NOT  SEEN",
    b"OR",
    b"OR SEEN",
    b"OR SEEN ",
    b"OR SEEN OR ALL",
    b"OR  SEEN ALL",
    b"OR SEEN  ALL",
    b"(OR SEEN) ALL",
    b"KEYWORD",
    b"KEYWORD \\Seen",
    b'KEYWORD "x"',
    b"FROM",
    b"FROM ",
    b"FROM (x)",
    b"FROM a b",
    b"HEADER X",
    b"HEADER X ",
    b"HEADER {2+}\r\n\xc3\xa9 x",
    b"LARGER",
    b"LARGER x",
    b"LARGER -1",
    b"LARGER 4294967296",
    b"LARGER 1.5",
    b"BEFORE",
    b"BEFORE x",
    b"BEFORE 1994-02-01",
    b"BEFORE 1-Foo-1994",
    b"BEFORE 30-Feb-1994",
    b"BEFORE 0-Feb-1994",
    b"BEFORE 001-Feb-1994",
    b"BEFORE 1-Feb-94",
    b"BEFORE 1-Feb-0000",
    b"BEFORE 1-Feb-19944",
    b'BEFORE "1-Feb-1994',
    b'BEFORE 1-Feb-1994"',
    b"BEFORE  1-Feb-1994",
    b"BEFORE {10+}\r\n1-Feb-1994",
    b"UID",
    b"UID x",
    b"UID 0",
    b"0",
    b"1:",
    b"1,",
    b"MODSEQ",
    b"MODSEQ -1",
    b"MODSEQ *",
    b"MODSEQ 9223372036854775808",
    b'MODSEQ "/flags/x" 1',
    b'MODSEQ "/flags/x" foo 1',
    b'MODSEQ "/flags/x" all',
    b"CHARSET",
    b"CHARSET UTF-8",
    b"CHARSET UTF-8 ",
    b"CHARSET  UTF-8 ALL",
    b"SEEN CHARSET UTF-8 ALL",
    b"CHARSET US-ASCII TEXT {2+}\r\n\xc3\xa9",
    b'CHARSET US-ASCII TEXT "\xc3\xa9"',
    b"CHARSET UTF-8 TEXT {1+}\r\n\xe9",
    b"TEXT {1+}\r\n\xe9",
    b"TEXT {1+}\r\n\x00",
    b"RETURN (MIN) ALL",
    b"$",
]


@pytest.mark.parametrize("octets", REJECTED)
def test_a_malformed_program_is_bad(hear, octets: bytes) -> None:
    first, second = hear(b"a SEARCH " + octets + b"\r\nb NOOP\r\n")
    assert isinstance(first, BadCommand)
    assert (first.tag, first.status, first.code, first.fatal) == (b"a", b"BAD", b"", False)
    assert second == Noop(b"b")


def test_search_without_keys_is_bad(hear) -> None:
    for line in (b"a SEARCH\r\n", b"a UID SEARCH\r\n"):
        (bad,) = hear(line)
        assert bad.status == b"BAD"


@pytest.mark.parametrize("charset", [b"ISO-8859-1", b'"x"', b"{3+}\r\nfoo", b"utf8", b'""', b'"\xc3\xa9"'])
def test_an_unknown_charset_is_no(hear, charset: bytes) -> None:
    bad, noop = hear(b"a SEARCH CHARSET %b TEXT {1+}\r\n\xe9\r\nb NOOP\r\n" % charset)
    assert bad.line().startswith(b"a NO [BADCHARSET (US-ASCII UTF-8)] ")
    assert noop == Noop(b"b")


# --- limits --------------------------------------------------------------------------------------------------------


def height(key) -> int:
    if isinstance(key, And):
        return 1 + max(map(height, key.keys))
    if isinstance(key, Or):
        return 1 + max(height(key.left), height(key.right))
    return 1 + height(key.key) if isinstance(key, Not) else 1


def leaves(key) -> list[object]:
    if isinstance(key, Or):
        return leaves(key.left) + leaves(key.right)
    return [key]


@pytest.mark.parametrize("count", [1000, 1001])
def test_a_thousand_keys(hear, count: int) -> None:
    (event,) = hear(b"a SEARCH " + b" ".join([b"ALL"] * count) + b"\r\n")
    if count > 1000:
        assert event.code == b"LIMIT"
    else:
        assert event.program == And((All(),) * count)


def test_keys_in_parentheses_count_too(hear) -> None:
    limits = WireLimits(search_keys=6)
    assert isinstance(hear(b"a SEARCH (1 2) NOT NOT 3\r\n", limits=limits)[0], Search)
    (bad,) = hear(b"a SEARCH (1 2) NOT NOT 3 4\r\n", limits=limits)
    assert bad.code == b"LIMIT"
    (bad,) = hear(b"a SEARCH OR 1 OR 2 OR 3 4\r\n", limits=limits)
    assert bad.code == b"LIMIT"


@pytest.mark.parametrize("depth", [100, 101])
def test_a_hundred_parentheses(hear, depth: int) -> None:
    (event,) = hear(b"a SEARCH " + b"(" * depth + b"1" + b")" * depth + b"\r\n")
    if depth > 100:
        assert event.code == b"LIMIT"
    else:
        assert event.program == Numbers(False, ((1, 1),))


@pytest.mark.parametrize("text", [b"(", b"NOT ", b"OR ", b"(1 ", b"OR (", b"NOT (", b"OR 1 NOT (", b"OR 1 (2 NOT "])
def test_however_deep_it_is_nested_it_ends_in_bad(text: bytes) -> None:
    with pytest.raises(Bad):
        parse_command(b"a SEARCH " + text * (60_000 // len(text)), WireLimits())


def test_a_chain_of_or_is_a_low_tree(hear) -> None:
    words = [b"%d" % number for number in range(1, 501)]
    program = b" ".join(b"OR " + word for word in words[:-1]) + b" " + words[-1]
    (search,) = hear(b"a SEARCH " + program + b"\r\n")
    assert leaves(search.program) == [Numbers(False, ((number, number),)) for number in range(1, 501)]
    assert height(search.program) <= 10


def test_the_worst_tree_is_not_too_high_for_recursion() -> None:
    for piece, end in ((b"(1 ", b")"), (b"(1 NOT ", b")"), (b"(1 OR 1 NOT ", b")"), (b"(1 OR OR 1 ", b" 2)")):
        highest = 0
        for count in range(1, 110):
            try:
                search = parse_command(b"a SEARCH " + piece * count + b"1" + end * count, WireLimits())
            except Bad:
                break
            highest = height(search.program)  # type: ignore[attr-defined]
        assert 30 <= highest <= 150
