"""What a text has in it: whoever holds a word has all the word's numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.imap.mails import NEEDLES, messages
from twisted_mail_kit.imap.index import codes
from twisted_mail_kit.imap.index.learning import _rows_of
from twisted_mail_kit.imap.index.program import program_of
from twisted_mail_kit.imap.index.words import words
from twisted_mail_kit.imap.searchtext import (
    ENVELOPE_FIELDS,
    Haystack,
    body_texts,
    envelope_text,
    fold,
    header_holds,
    header_values,
)
from twisted_mail_kit.imap.wire.commands import Header, Text
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import Summary, pack


def rows_of(mail: bytes) -> list[set[int]]:
    scanner = Scanner()
    scanner.feed(mail)
    return [set(codes.codes(row)) for row in _rows_of(mail, Summary(pack(scanner.close())))]


def may_match(rows: list[set[int]], key: Any) -> bool:
    program = program_of(key)
    if program is None:
        return True
    may, _ = program.judge(lambda word: {1} if any(word <= row for row in rows) else set(), {1})
    return bool(may)


LETTERS = "abz09 -.\n\u00e4\u00df\u0130\u043c\u706f\U0001f6a2"
long_texts = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=6).flatmap(
    lambda some: st.lists(st.tuples(st.sampled_from(some), st.integers(1, 900)), min_size=1, max_size=8)
)


def may_hold(rows: list[set[int]], text: str) -> bool:
    return all(any(word <= row for row in rows) for word in codes.asked(fold(text)))


@settings(max_examples=100, deadline=None)
@given(runs=long_texts, data=st.data())
def test_a_text_has_the_numbers_of_all_that_it_holds(runs: Any, data: Any) -> None:
    text = "".join(some * count for some, count in runs)
    rows = [set(codes.codes(row)) for row in codes.rows(words(fold(text)))]
    for _ in range(10):
        start = data.draw(st.integers(0, len(text) - 1))
        part = text[start : start + data.draw(st.integers(1, 400))]
        # Folded as a part it may read otherwise than in the whole: IMAP asks for what is in the folded whole.
        if fold(part) in fold(text):
            assert may_hold(rows, part), (start, part)


def test_numbers_are_those_of_three_octets_in_a_row() -> None:
    octets = bytes(range(256)) * 2
    expected = []
    for at in range(len(octets) - 2):
        first, second, third = (codes._CLASSES[octet] for octet in octets[at : at + 3])
        number = first << 10 | second << 5 | third
        expected.append((number & 0x1FFF) ^ (number >> 13) * 0x115)
    assert list(codes.codes(octets)) == expected
    assert max(expected) < codes.SLOTS
    assert [list(codes.codes(few)) for few in (b"", b"a", b"ab")] == [[], [], []]


def test_a_text_without_end_is_cut_so_that_every_word_is_whole_somewhere() -> None:
    text = b"".join(b"%07d" % number for number in range(5000))
    rows = list(codes.rows({text}))
    assert max(map(len, rows)) <= 2 * codes.ROW
    for start in range(0, len(text) - 256, 97):
        assert any(text[start : start + 256] in row for row in rows)


def test_a_word_that_is_nowhere_is_told_from_a_page_of_prose() -> None:
    prose = "the keeper of the light wrote a letter about the harbour in winter and sent it over the river " * 5
    (row,) = (set(codes.codes(row)) for row in codes.rows(words(prose)))
    assert [word for word in ("kittiwake", "puffin", "gannet", "zebra") if may_hold([row], word)] == []


def test_words_that_are_too_short_say_nothing() -> None:
    assert codes.asked("a bc  d") == []
    assert len(codes.asked("a bcd ef ghij")) == 2
    assert len(codes.asked("\u706f")) == 1  # one letter, three octets


@settings(max_examples=80, deadline=None)
@given(mail=messages())
def test_no_message_that_holds_a_text_is_ruled_out(mail: bytes) -> None:
    scanner = Scanner()
    scanner.feed(mail)
    summary = Summary(pack(scanner.close()))
    rows = rows_of(mail)
    header = mail[: summary.header_size]
    bodies = []
    for part, is_header in body_texts(summary.root):
        start, stop = (part.header_start, part.body_start) if is_header else (part.body_start, part.end)
        bodies.append(Haystack(mail[start:stop], part, is_header))

    for text in NEEDLES:
        needle = fold(text)
        is_in_body = any(one.holds(needle) for one in bodies)
        if is_in_body:
            assert may_match(rows, Text(text, headers=False)), text
        if is_in_body or header_holds(header, needle):
            assert may_match(rows, Text(text, headers=True)), text
        for name, field in ENVELOPE_FIELDS.items():
            if needle and needle in fold(envelope_text(summary.envelope, field)):
                assert may_match(rows, Header(name, text)), (name, text)
        for name in ("x-note", "content-type", "nothing"):
            if any(needle in fold(value) for value in header_values(header, name)):
                assert may_match(rows, Header(name, text)), (name, text)


CODED = b"=?utf-8?b?a2l0dGl3YWtl?="  # kittiwake
PLACES = {
    "a subject": (b"Subject: a Kittiwake\r\n\r\n", "TEXT SUBJECT"),
    "a coded subject": (b"Subject: " + CODED + b"\r\n\r\n", "TEXT SUBJECT"),
    "a subject in two words": (b"Subject: =?utf-8?b?a2l0dA==?= =?utf-8?b?aXdha2U=?=\r\n\r\n", "TEXT SUBJECT"),
    "a subject with CR in it": (b"Subject: kitti\rwake\r\n\r\n", "SUBJECT"),
    "a subject with NUL in it": (b"Subject: kitti\0wake\r\n\r\n", "SUBJECT"),
    "a coded field of no ENVELOPE": (b"Subject: x\r\nX-Note: " + CODED + b"\r\n\r\n", "TEXT HEADER"),
    "NUL in a field of no ENVELOPE": (b"Subject: x\r\nX-Note: kitti\0wake\r\n\r\n", "HEADER"),
    "CR in a field of no ENVELOPE": (b"Subject: x\r\nX-Note: kitti\rwake\r\n\r\n", "HEADER"),
    "a coded field beside octets": (b"Subject: \xe4\xdf\r\nX-Note: " + CODED + b"\r\n\r\n", "TEXT HEADER"),
    "a coded field, lines end in LF": (b"Subject: x\nX-Note: =?utf-8?q?kitti?=\n =?utf-8?q?wake?=\n\n", "TEXT HEADER"),
    "a coded line that is no field": (b"Subject: x\r\nno field: " + CODED + b"\r\n\r\n", "TEXT"),
    "NUL in a line that is no field": (b"Subject: =?x\r\nno field: kitti\0wake\r\n\r\n", "TEXT"),
    "a field in UTF-8 beside one in Latin-1": (
        b"Subject: \xe4\xdf\r\nX-Note: \xe2\x84\xaaittiwake\r\n\r\n",
        "HEADER",
    ),
    "a name": (b"From: Kittiwake <ann@example.org>\r\n\r\n", "TEXT FROM"),
    "a coded name": (b"From: " + CODED + b" <ann@example.org>\r\n\r\n", "TEXT FROM"),
    "a name with a backslash": (b'From: "kitti\\wake" <ann@example.org>\r\n\r\n', "FROM"),
    "a local part with a comment": (b"From: (x)kittiwake(y)@example.org\r\n\r\n", "TEXT FROM"),
    "a domain in lines": (b"To: ann@kitti\r\n wake.example\r\n\r\n", "TO"),
    "a group": (b"To: kittiwake: ann@example.org;\r\n\r\n", "TEXT TO"),
    "a body": (b"Subject: x\r\n\r\nthe KITTIWAKEs\r\n", "TEXT BODY"),
    "a coded body": (b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\na2l0dGl3YWtl\r\n", "TEXT BODY"),
    "a soft line break": (
        b"Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nkitti=\r\nwake\r\n",
        "TEXT BODY",
    ),
    "another charset": (
        b"Subject: x\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n" + "kittiwake".encode("utf-16"),
        "TEXT BODY",
    ),
    "a letter that becomes another": (b"Subject: x\r\n\r\n\xe2\x84\xaaittiwa\xe2\x84\xaae\r\n", "TEXT BODY"),
    "a forwarded subject": (b"Content-Type: message/rfc822\r\n\r\nSubject: kittiwake\r\n\r\n", "TEXT BODY"),
    "a forwarded, coded subject": (
        b"Content-Type: message/rfc822\r\n\r\nSubject: " + CODED + b"\r\n\r\n",
        "TEXT BODY",
    ),
    "a forwarded body": (b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nkittiwake\r\n", "TEXT BODY"),
    "a part": (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\n<b>kittiwake</b>\r\n--b--\r\n",
        "TEXT BODY",
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_word_counts_wherever_it_stands_alone(make_world: Any, place: str) -> None:
    mail, keys = PLACES[place]
    world = make_world()
    world.deliver(mail)
    client = world.client()
    client.ok("EXAMINE INBOX")
    found = []
    for key, asked in (
        ("TEXT", Text("kittiwake", headers=True)),
        ("BODY", Text("kittiwake", headers=False)),
        *((name, Header(name.lower(), "kittiwake")) for name in ("SUBJECT", "FROM", "TO")),
        ("HEADER", Header("x-note", "kittiwake")),
    ):
        words = {"HEADER": "HEADER X-Note"}.get(key, key)
        if client.ok(f"SEARCH {words} kittiwake") == [b"* SEARCH 4"]:
            found.append(key)
            assert may_match(rows_of(mail), asked), key
    assert found == keys.split()
    assert not may_match(rows_of(mail), Text("puffin", headers=True))


@pytest.mark.parametrize(
    "sender", [b"kittiwake (sea) @ example.org", b'"kitti\\wake"@example.org', b"<kittiwake@example.org>"]
)
def test_an_address_counts_however_it_is_written(make_world: Any, sender: bytes) -> None:
    mail = b"From: %b\r\n\r\nbody\r\n" % sender
    world = make_world()
    world.deliver(mail)
    client = world.client()
    client.ok("EXAMINE INBOX")
    for text in ("kittiwake@example.org", "wake@exa"):
        assert client.ok(f'SEARCH FROM "{text}"') == [b"* SEARCH 4"]
        assert may_match(rows_of(mail), Header("from", text))
    assert not may_match(rows_of(mail), Header("from", "kittiwake@puffin"))
