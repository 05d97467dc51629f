"""FETCH: items, sections, macros, modifiers."""

from __future__ import annotations

import pytest

from twisted_mail_kit.imap.wire.commands import Attribute, Fetch, Noop, Section
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.imap.wire.limits import WireLimits

FLAGS, UID, DATE, SIZE, ENVELOPE, BODY, STRUCTURE, MODSEQ = map(
    Attribute, ("FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ")
)

ITEMS = [
    (b"FLAGS", (FLAGS,)),
    (b"flags", (FLAGS,)),
    (b"(FLAGS)", (FLAGS,)),
    (b"(uid Flags)", (UID, FLAGS)),
    (b"(FLAGS FLAGS UID FLAGS)", (FLAGS, UID)),
    (b"BODY", (BODY,)),
    (b"BODYSTRUCTURE", (STRUCTURE,)),
    (b"(MODSEQ ENVELOPE INTERNALDATE RFC822.SIZE)", (MODSEQ, ENVELOPE, DATE, SIZE)),
    (b"FAST", (FLAGS, DATE, SIZE)),
    (b"all", (FLAGS, DATE, SIZE, ENVELOPE)),
    (b"Full", (FLAGS, DATE, SIZE, ENVELOPE, BODY)),
    (b"RFC822", (Section((), "", label=b"RFC822"),)),
    (b"rfc822.header", (Section((), "HEADER", peek=True, label=b"RFC822.HEADER"),)),
    (b"RFC822.TEXT", (Section((), "TEXT", label=b"RFC822.TEXT"),)),
    (b"BODY[]", (Section((), "", label=b"BODY[]"),)),
    (b"body.peek[]", (Section((), "", peek=True, label=b"BODY[]"),)),
    (b"BODY[HEADER]", (Section((), "HEADER", label=b"BODY[HEADER]"),)),
    (b"BODY[text]", (Section((), "TEXT", label=b"BODY[TEXT]"),)),
    (b"BODY[1]", (Section((1,), "", label=b"BODY[1]"),)),
    (b"BODY[1.2.30]", (Section((1, 2, 30), "", label=b"BODY[1.2.30]"),)),
    (b"BODY.PEEK[4.1.MIME]", (Section((4, 1), "MIME", peek=True, label=b"BODY[4.1.MIME]"),)),
    (b"BODY[4.header]", (Section((4,), "HEADER", label=b"BODY[4.HEADER]"),)),
    (b"BODY[4.TEXT]", (Section((4,), "TEXT", label=b"BODY[4.TEXT]"),)),
    (b"BODY[4294967295]", (Section((4294967295,), "", label=b"BODY[4294967295]"),)),
    (
        b"BODY[HEADER.FIELDS (Date)]",
        (Section((), "HEADER.FIELDS", (b"Date",), label=b"BODY[HEADER.FIELDS (Date)]"),),
    ),
    (
        b"BODY.PEEK[2.header.fields.not (date FROM)]<5.7>",
        (
            Section(
                (2,),
                "HEADER.FIELDS.NOT",
                (b"date", b"FROM"),
                True,
                (5, 7),
                b"BODY[2.HEADER.FIELDS.NOT (date FROM)]<5>",
            ),
        ),
    ),
    (
        b'BODY[HEADER.FIELDS ("a b" {2+}\r\nX] "c\\"")]',
        (
            Section(
                (),
                "HEADER.FIELDS",
                (b"a b", b"X]", b'c"'),
                label=b'BODY[HEADER.FIELDS ("a b" "X]" "c\\"")]',
            ),
        ),
    ),
    (b"BODY[]<0.1>", (Section((), "", partial=(0, 1), label=b"BODY[]<0>"),)),
    (
        b"BODY[1]<4294967295.4294967295>",
        (Section((1,), "", partial=(2**32 - 1, 2**32 - 1), label=b"BODY[1]<4294967295>"),),
    ),
    (
        b"(BODY.PEEK[HEADER] BODY BODY[1])",
        (Section((), "HEADER", peek=True, label=b"BODY[HEADER]"), BODY, Section((1,), "", label=b"BODY[1]")),
    ),
]


@pytest.mark.parametrize(("octets", "items"), ITEMS, ids=lambda value: repr(value)[:50])
def test_items_are_taken(hear, octets: bytes, items) -> None:
    assert hear(b"a FETCH 1,3:* " + octets + b"\r\n") == [Fetch(b"a", False, ((1, 1), (3, 0)), items)]


def test_uid_fetch_asks_for_the_uid(hear) -> None:
    assert hear(b"a UID FETCH 1 FLAGS\r\n") == [Fetch(b"a", True, ((1, 1),), (UID, FLAGS))]
    assert hear(b"a UID FETCH 1 (FLAGS UID)\r\n") == [Fetch(b"a", True, ((1, 1),), (FLAGS, UID))]
    assert hear(b"a UID FETCH 1 FAST\r\n") == [Fetch(b"a", True, ((1, 1),), (UID, FLAGS, DATE, SIZE))]


def test_changedsince_asks_for_modseqs(hear) -> None:
    assert hear(b"a FETCH 1 FLAGS (CHANGEDSINCE 12345)\r\n") == [Fetch(b"a", False, ((1, 1),), (FLAGS, MODSEQ), 12345)]
    assert hear(b"a UID FETCH 1:* (MODSEQ) (changedsince 0)\r\n") == [Fetch(b"a", True, ((1, 0),), (UID, MODSEQ), 0)]
    assert hear(b"a FETCH 1 ALL (CHANGEDSINCE 9223372036854775807)\r\n") == [
        Fetch(b"a", False, ((1, 1),), (FLAGS, DATE, SIZE, ENVELOPE, MODSEQ), 2**63 - 1)
    ]


REJECTED = [
    b"",
    b" ",
    b"1",
    b"1 ",
    b"FLAGS",
    b"1  FLAGS",
    b"1 FLAGS ",
    b"1 FLAGS UID",
    b"1 ()",
    b"1 (FLAGS",
    b"1 (FLAGS ",
    b"1 (FLAGS )",
    b"1 ( FLAGS)",
    b"1 (FLAGS  UID)",
    b"1 (FLAGS,UID)",
    b"1 ((FLAGS))",
    b"1 (FAST)",
    b"1 (FLAGS ALL)",
    b"1 FOO",
    b"1 FLAGS[]",
    b"1 BODYSTRUCTURE[]",
    b"1 BODY.PEEK",
    b"1 RFC822.PEEK",
    b"1 BODY[",
    b"1 BODY[1",
    b"1 BODY]",
    b"1 BODY[ ]",
    b"1 BODY[0]",
    b"1 BODY[01]",
    b"1 BODY[1.]",
    b"1 BODY[1.0]",
    b"1 BODY[1..2]",
    b"1 BODY[.1]",
    b"1 BODY[-1]",
    b"1 BODY[99999999999]",
    b"1 BODY[FOO]",
    b"1 BODY[1.FOO]",
    b"1 BODY[MIME]",
    b"1 BODY[HEADER.1]",
    b"1 BODY[1HEADER]",
    b"1 BODY[HEADER.FIELDS]",
    b"1 BODY[HEADER.FIELDS ()]",
    b"1 BODY[HEADER.FIELDS (a]",
    b"1 BODY[HEADER.FIELDS (a )]",
    b"1 BODY[HEADER.FIELDS  (a)]",
    b"1 BODY[HEADER.FIELDS(a)]",
    b"1 BODY[HEADER.FIELDS a]",
    b'1 BODY[HEADER.FIELDS ("")]',
    b"1 BODY[HEADER.FIELDS ({3+}\r\na\r\n)]",
    b'1 BODY[HEADER.FIELDS ("\xc3\xa9")]',
    b"1 BODY[HEADER (a)]",
    b"1 BODY[]<",
    b"1 BODY[]<1",
    b"1 BODY[]<1>",
    b"1 BODY[]<1.>",
    b"1 BODY[]<1.0>",
    b"1 BODY[]<.1>",
    b"1 BODY[]<-1.1>",
    b"1 BODY[]<4294967296.1>",
    b"1 BODY[]<0.4294967296>",
    b"1 BODY[]<0.1",
    b"1 BODY[]<0.1>x",
    b"1 BODY<0.1>",
    b"1 RFC822<0.1>",
    b"1 BODY []",
    b"1 BODY[]HEADER",
    b"1 FLAGS (CHANGEDSINCE)",
    b"1 FLAGS (CHANGEDSINCE x)",
    b"1 FLAGS (CHANGEDSINCE 9223372036854775808)",
    b"1 FLAGS (CHANGEDSINCE 1",
    b"1 FLAGS (CHANGEDSINCE 1 VANISHED)",
    b"1 FLAGS (FOO 1)",
    b"1 FLAGS CHANGEDSINCE 1",
    b"1 (FLAGS)(CHANGEDSINCE 1)",
    b"0 FLAGS",
    b"1,0 FLAGS",
    b"01 FLAGS",
    b"1: FLAGS",
    b":1 FLAGS",
    b"1:2:3 FLAGS",
    b"1, FLAGS",
    b",1 FLAGS",
    b"1,,2 FLAGS",
    b"** FLAGS",
    b"1* FLAGS",
    b"*1 FLAGS",
    b"4294967296 FLAGS",
    b"1:99999999999 FLAGS",
    b"$ FLAGS",
    b'"1" FLAGS',
]


@pytest.mark.parametrize("octets", REJECTED)
@pytest.mark.parametrize("verb", [b"FETCH", b"UID FETCH"])
def test_malformed_items_are_bad(hear, verb: bytes, octets: bytes) -> None:
    first, second = hear(b"a " + verb + b" " + octets + b"\r\nb NOOP\r\n")
    assert isinstance(first, BadCommand)
    assert (first.tag, first.status, first.fatal) == (b"a", b"BAD", False)
    assert second == Noop(b"b")


def test_part_numbers_have_a_limit(hear) -> None:
    limits = WireLimits(nesting=3)
    assert isinstance(hear(b"a FETCH 1 BODY[1.1.1]\r\n", limits=limits)[0], Fetch)
    (bad,) = hear(b"a FETCH 1 BODY[1.1.1.1]\r\n", limits=limits)
    assert bad.code == b"LIMIT"
    (bad,) = hear(b"a FETCH 1 BODY[1.1.1.1.TEXT]\r\n", limits=limits)
    assert bad.code == b"LIMIT"


def test_sets_have_a_limit(hear) -> None:
    limits = WireLimits(set_ranges=3)
    assert isinstance(hear(b"a FETCH 1,2:3,* FLAGS\r\n", limits=limits)[0], Fetch)
    (bad,) = hear(b"a FETCH 1,2:3,*,5 FLAGS\r\n", limits=limits)
    assert bad.code == b"LIMIT"
