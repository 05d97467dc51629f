"""The summary: small, whole or refused; and the forms in which IMAP wants it."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail import packedtree
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.imapform import envelope, string
from twisted_mail_kit.mail.summary import VERSION, StaleSummary, Summary, bodies, envelopes, pack

_spec = importlib.util.spec_from_file_location("mail_samples", Path(__file__).parent / "samples.py")
assert _spec and _spec.loader
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)
CORPUS, scan = samples.CORPUS, samples.scan


@pytest.mark.parametrize("name", CORPUS)
def test_what_was_packed_comes_back(name: str) -> None:
    structure = scan(CORPUS[name])
    summary = Summary(pack(structure))
    assert summary.is_current
    assert summary.root == structure.root
    assert summary.preview == structure.preview
    assert summary.header_size == structure.header_size
    assert summary.envelope == envelope(structure.header)


def test_it_is_small() -> None:
    assert len(pack(scan(CORPUS["plain"]))) < 450
    assert len(pack(scan(CORPUS["alternative-attachment"]))) < 1300


def test_a_long_bodystructure_is_not_kept_twice() -> None:
    part = b"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-ID: <%d@example.org>\r\n\r\nText\r\n"
    letter = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"".join(part % number for number in range(300))
    summary = Summary(pack(scan(letter + b"--x--\r\n")))
    assert summary.bodystructure.count(b"@example.org") == 300
    assert len(summary.octets) < 1.2 * len(summary.tree)
    assert bodies([summary.octets], extended=True) == [summary.bodystructure]


def of_version_1(packed: bytes) -> bytes:
    """As releases before this one have left it in rows."""
    summary = Summary(packed)
    preview = summary.preview.encode()
    sizes = struct.pack(">III", summary.header_size, len(summary.envelope), len(preview))
    rest = sizes + summary.envelope + preview + summary.tree
    return struct.pack(">BBI", 1, 0x6D, crc32(rest)) + rest


@pytest.mark.parametrize("name", CORPUS)
def test_what_version_1_has_left_is_read_as_todays(name: str) -> None:
    today = Summary(pack(scan(CORPUS[name])))
    before = Summary(of_version_1(today.octets))
    assert before.is_current
    assert before.octets != today.octets
    assert len(before.octets) < len(today.octets)
    for what in ("envelope", "preview", "header_size", "tree", "root", "places", "body", "bodystructure"):
        assert getattr(before, what) == getattr(today, what), what
    both = [before.octets, today.octets, before.octets]
    assert envelopes(both) == [today.envelope] * 3
    assert bodies(both, extended=True) == [today.bodystructure] * 3
    assert bodies(both, extended=False) == [today.body] * 3
    for damaged in (before.octets[:-1], before.octets[:40] + b"\1" + before.octets[41:]):
        assert envelopes([damaged, today.octets]) == [None, today.envelope]
        assert bodies([damaged, today.octets], extended=True) == [None, today.bodystructure]


_PIECES = [
    b"Content-Type: ", b"multipart/mixed", b"; boundary=a", b"\r\n", b"\r\n\r\n", b"--a", b"--a--", b"message/rfc822",
    b"text/plain", b"; charset=", b'"\0x"', b"\0", b"Content-ID: <%d>", b"Content-Description: \xff%s", b"image/%g",
    b"Content-Disposition: attachment; filename=%s", b"Content-Language: a, b", b"Content-Location: \0",
    b"Content-MD5: x", b"Content-Transfer-Encoding: base64", b"From: a@b", b"(", b'"', b"\\",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=25))
def test_the_ready_bodystructure_is_what_the_tree_says(pieces: list[bytes]) -> None:
    structure = scan(b"".join(pieces))
    summary = Summary(pack(structure))
    assert summary.root == structure.root
    assert summary.bodystructure == packedtree.body(summary.tree, extended=True)
    assert Summary(of_version_1(summary.octets)).bodystructure == summary.bodystructure


def test_damage_and_other_versions_are_seen() -> None:
    packed = pack(scan(CORPUS["forwarded"]))
    for at in range(len(packed)):
        damaged = packed[:at] + bytes([packed[at] ^ 0x41]) + packed[at + 1 :]
        assert not Summary(damaged).is_current, at
        assert not Summary(packed[:at]).is_current
    assert not Summary(bytes([VERSION + 1]) + packed[1:]).is_current
    assert not Summary(packed + b"x").is_current
    with pytest.raises(StaleSummary):
        _ = Summary(b"").envelope
    with pytest.raises(StaleSummary):
        _ = Summary(packed[:-1]).bodystructure


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_octets_are_no_summary(octets: bytes) -> None:
    assert not Summary(octets).is_current
    assert not Summary(bytes([VERSION]) + octets).is_current


def test_strings() -> None:
    assert string(b"") == b'""'
    assert string(b"plain") == b'"plain"'
    assert string(b'a "b" \\') == b'"a \\"b\\" \\\\"'
    assert string("ü".encode()) == b"{2}\r\n\xc3\xbc"
    assert string(b"a\r\nb") == b"{4}\r\na\r\nb"
    assert string(b"a\0b") == b'"ab"'


def test_envelope_of_a_plain_message() -> None:
    assert Summary(pack(scan(CORPUS["plain"]))).envelope == (
        b'("Mon, 23 Nov 2026 07:00:00 +0000" "plain" (("Joe Doe" NIL "joe" "example.org")) '
        b'(("Joe Doe" NIL "joe" "example.org")) (("Joe Doe" NIL "joe" "example.org")) '
        b'(("Ann" NIL "ann" "example.com")) NIL NIL NIL "<plain@example.org>")'
    )


def test_envelope_of_odd_fields() -> None:
    sender = b'(("A \\"q\\" B" NIL "a" "b.example"))'
    subject = 'naïve "quotes" \\ and\tfolds'.encode()
    assert Summary(pack(scan(CORPUS["groups-and-8bit"]))).envelope == (
        b"(NIL {%d}\r\n%b " % (len(subject), subject)
        + sender
        + b" "
        + sender
        + b" "
        + sender
        + b" "
        + b'((NIL NIL "Friends" NIL)(NIL NIL "x" "y.example")("Zed" NIL "z" "y.example")(NIL NIL NIL NIL)'
        b'(NIL "@r1,@r2" "routed" "z.example")(NIL NIL "undisclosed" NIL)(NIL NIL NIL NIL)) '
        b'((NIL NIL "root" "")(NIL NIL "john doe" "example.org")("Old Style" NIL "old" "example.org")) '
        b'NIL "" "<m@x>")'
    )


def test_absent_fields_are_nil_and_empty_ones_are_not() -> None:
    assert envelope(Headers(b"")) == b"(" + b" ".join([b"NIL"] * 10) + b")"
    assert envelope(Headers(b"Subject:\r\nTo:\r\nDate: \r\n\r\n")).startswith(b'("" "" NIL NIL NIL NIL')


def test_several_recipient_fields_count_as_one_and_the_first_author_wins() -> None:
    form = envelope(Headers(b"To: a@x\nTo: b@x\nFrom: c@x\nFrom: d@x\n"))
    assert b'((NIL NIL "a" "x")(NIL NIL "b" "x"))' in form
    assert b'"d"' not in form


def test_envelopes_are_bounded() -> None:
    form = envelope(Headers(b"Subject: " + b"s" * 200_000 + b"\nFrom: g:" + b"a@b," * 50_000))
    assert len(form) < 300 * 1024
    assert b"(NIL NIL NIL NIL))" in form


def test_bodystructure_of_a_plain_message() -> None:
    summary = Summary(pack(scan(CORPUS["plain"])))
    assert summary.body == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 52 5)'
    assert summary.bodystructure == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 52 5 NIL NIL NIL NIL)'


def test_bodystructure_of_a_mixed_message() -> None:
    summary = Summary(pack(scan(CORPUS["alternative-attachment"])))
    assert summary.bodystructure == (
        b'((("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 29 0 NIL NIL NIL NIL)'
        b'("text" "html" ("charset" "utf-8") NIL NIL "7bit" 70 1 NIL NIL NIL NIL)'
        b' "alternative" ("boundary" "outer-inner") NIL NIL NIL)'
        b'("application" "pdf" ("name" "a \\"b\\".pdf") "<pdf@example.org>" "=?utf-8?q?Stra=C3=9Fenkarte?=" "base64" 12'
        b' "Q2hlY2sgSW50ZWdyaXR5IQ==" ("attachment" ("filename*0*" "utf-8\'\'na%C3%AF" "filename*1" "ve.pdf"'
        b' "size" "12")) ("en" "de-AT") "http://example.org/a.pdf")'
        b' "mixed" ("boundary" "outer") NIL NIL NIL)'
    )


def test_body_of_an_embedded_message() -> None:
    summary = Summary(pack(scan(CORPUS["root-rfc822"])))
    person = b'((NIL NIL "x" "y"))'
    assert summary.body == (
        b'("message" "rfc822" NIL NIL NIL "7bit" 32 (NIL "in" %b %b %b NIL NIL NIL NIL NIL)'
        b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1) 4)' % (person, person, person)
    )


def _read(form: bytes, at: int) -> tuple[object, int]:
    """A small reader of IMAP's parenthesised lists, to see that they are well formed."""
    if form[at : at + 1] == b"(":
        items: list[object] = []
        at += 1
        while form[at : at + 1] != b")":
            item, at = _read(form, at + (form[at : at + 1] == b" "))
            items.append(item)
        return items, at + 1
    if form[at : at + 1] == b'"':
        end = at + 1
        while form[end : end + 1] != b'"':
            end += 1 + (form[end : end + 1] == b"\\")
        return form[at + 1 : end], end + 1
    if form[at : at + 1] == b"{":
        close = form.index(b"}\r\n", at)
        size = int(form[at + 1 : close])
        return form[close + 3 : close + 3 + size], close + 3 + size
    if form.startswith(b"NIL", at):
        return None, at + 3
    end = at
    while form[end : end + 1].isdigit():
        end += 1
    assert end > at, form[at:]
    return int(form[at:end]), end


@pytest.mark.parametrize("name", CORPUS)
def test_all_forms_are_well_formed(name: str) -> None:
    summary = Summary(pack(scan(CORPUS[name])))
    for form in (summary.envelope, summary.body, summary.bodystructure):
        assert b"\0" not in form
        tree, end = _read(form, 0)
        assert end == len(form)
        assert isinstance(tree, list)
    assert len(_read(summary.envelope, 0)[0]) == 10  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_forms_of_anything_are_well_formed(octets: bytes) -> None:
    prefix = b"Subject: x\nContent-Type: text/plain; name="
    summary = Summary(pack(scan(prefix + octets)))
    for form in (summary.envelope, summary.bodystructure):
        assert _read(form, 0)[1] == len(form)
