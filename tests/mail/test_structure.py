"""The scanner: the same structure however a message is cut, offsets that hold, and the nasty mail of the world."""

from __future__ import annotations

import email
import email.policy
import importlib.util
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail import structure as structure_module
from twisted_mail_kit.mail.structure import Part, ScanLimits, Scanner, Structure, find_part
from twisted_mail_kit.mail.summary import Summary, pack

_spec = importlib.util.spec_from_file_location("mail_samples", Path(__file__).parent / "samples.py")
assert _spec and _spec.loader
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)
CORPUS, scan, walk, body, check_offsets = (
    samples.CORPUS,
    samples.scan,
    samples.walk,
    samples.body,
    samples.check_offsets,
)

WELL_FORMED = (
    "plain",
    "alternative-attachment",
    "forwarded",
    "root-rfc822",
    "digest",
    "prefix-boundaries",
    "html-only",
    "plain-bare-lf",
    "missing-close",
)


def shape(part: Part) -> object:
    inner = [shape(child) for child in part.children] or (shape(part.message) if part.message else None)
    return (part.content_type, inner) if inner else part.content_type


def bodies(name: str) -> list[bytes]:
    message = CORPUS[name]
    return [body(message, part) for part in walk(scan(message).root) if not part.children and part.message is None]


@pytest.mark.parametrize("name", CORPUS)
def test_every_cut_gives_the_same_structure(name: str) -> None:
    message = CORPUS[name]
    whole = scan(message)
    for chunk in (1, 2, 3, 5, 7, 64, 1000):
        assert scan(message, chunk) == whole, chunk
    for cut in range(0, len(message), 1 + len(message) // 300):
        scanner = Scanner()
        scanner.feed(message[:cut])
        scanner.feed(b"")
        scanner.feed(message[cut:])
        assert scanner.close() == whole, cut


@pytest.mark.parametrize("name", CORPUS)
def test_offsets_are_nested_and_counts_are_right(name: str) -> None:
    message = CORPUS[name]
    structure = scan(message)
    assert structure.size == len(message) == structure.root.end
    assert structure.header_size == structure.root.body_start
    check_offsets(structure.root, len(message))
    for part in walk(structure.root):
        has_lines = part.type == "text" or part.message is not None
        first = message.find(b"\n")
        line_end = b"\r\n" if message[first - 1 : first] == b"\r" else b"\n"
        assert part.lines == (body(message, part).count(line_end) if has_lines else 0)
    assert structure.has_8bit == (not message.isascii())


@pytest.mark.parametrize("name", WELL_FORMED)
def test_the_tree_is_that_of_the_standard_library(name: str) -> None:
    message = CORPUS[name]
    theirs = email.message_from_bytes(message, policy=email.policy.compat32)
    ours = list(walk(scan(message).root))
    their_parts = list(theirs.walk())
    assert [part.content_type for part in ours] == [part.get_content_type() for part in their_parts]
    for our, their in zip(ours, their_parts, strict=True):
        if not their.is_multipart():
            payload = their.get_payload(decode=False)
            assert body(message, our) == payload.encode("utf-8", "surrogateescape")
            assert our.encoding == (their["content-transfer-encoding"] or "7bit").lower()


def test_a_body_ends_before_the_line_end_of_the_boundary() -> None:
    assert bodies("alternative-attachment") == [
        b"Gr=C3=BC=C3=9Fe aus K=C3=B6ln",
        "<html><head><title>no</title></head><body><p>Gruß</p></body></html>\r\n".encode(),
        b"JVBERi0xLjQK",
    ]


def test_a_parent_boundary_ends_open_children() -> None:
    root = scan(CORPUS["parent-boundary-ends-children"]).root
    assert shape(root) == (
        "multipart/mixed",
        [("multipart/related", [("multipart/alternative", ["text/plain"])]), "text/plain"],
    )
    assert bodies("parent-boundary-ends-children") == [b"deep", b"shallow"]


def test_a_boundary_may_begin_like_another() -> None:
    assert bodies("prefix-boundaries") == [b"one\r\n--foobarbaz is no boundary\r\n--foo-", b"two", b"three"]


def test_a_boundary_used_twice_belongs_to_the_innermost() -> None:
    assert shape(scan(CORPUS["same-boundary-twice"]).root) == (
        "multipart/mixed",
        [("multipart/mixed", ["text/plain"]), "text/plain"],
    )


def test_parts_without_header_body_or_blank_line() -> None:
    structure = scan(CORPUS["empty-parts"])
    assert shape(structure.root) == ("multipart/mixed", ["text/plain", "text/html", "text/plain", "text/plain"])
    assert bodies("empty-parts") == [b""] * 4


def test_a_multipart_without_parts_holds_an_empty_one() -> None:
    root = scan(CORPUS["empty-multipart"]).root
    assert shape(root) == ("multipart/mixed", ["text/plain"])
    assert root.children[0].size == 0


def test_a_multipart_without_boundary_is_shown_as_text() -> None:
    structure = scan(CORPUS["no-boundary"])
    assert shape(structure.root) == "text/plain"
    assert structure.preview == "--x shown as it is"


def test_digests_hold_messages_unless_they_say_otherwise() -> None:
    root = scan(CORPUS["digest"]).root
    assert shape(root) == (
        "multipart/digest",
        [("message/rfc822", "text/plain"), ("message/rfc822", "text/html"), "text/plain"],
    )


def test_embedded_messages_have_envelope_and_structure() -> None:
    message = CORPUS["forwarded"]
    root = scan(message).root
    inner = root.children[1]
    assert inner.envelope is not None and inner.envelope.startswith(
        b'(NIL "the inner one" (("Inner, Person" NIL "inner"'
    )
    assert inner.message is not None
    assert inner.message.header_start == inner.body_start
    assert inner.message.end == inner.end
    innermost = inner.message.children[1].message
    assert innermost is not None
    assert body(message, innermost) == b"one line\r\n"


def test_only_message_global_may_be_encoded() -> None:
    assert shape(scan(CORPUS["encoded-global"]).root) == (
        "multipart/mixed",
        ["message/global", ("message/global", "text/plain")],
    )


def test_types_that_cannot_be_read_are_plain_text() -> None:
    root = scan(CORPUS["nasty-types"]).root
    assert dict(root.parameters) == {b"charset": b"a;b", b"boundary": b"b", b"x": b"1"}
    assert [part.content_type for part in root.children][:4] == ["text/plain"] * 4
    named = root.children[2]
    assert named.encoding == "8bit"
    assert dict(named.parameters) == {b"name": b"my report(1).pdf", b"charset": b"ISO-8859-1"}


def test_fields_of_a_part() -> None:
    pdf = scan(CORPUS["alternative-attachment"]).root.children[1]
    assert pdf.parameters == ((b"name", b'a "b".pdf'),)
    assert pdf.disposition == "attachment"
    assert dict(pdf.disposition_parameters)[b"size"] == b"12"
    assert pdf.content_id == b"<pdf@example.org>"
    assert pdf.description == b"=?utf-8?q?Stra=C3=9Fenkarte?="
    assert pdf.language == (b"en", b"de-AT")
    assert pdf.location == b"http://example.org/a.pdf"
    assert pdf.md5 == b"Q2hlY2sgSW50ZWdyaXR5IQ=="


def test_imap_numbers_lead_to_parts() -> None:
    plain = scan(CORPUS["plain"]).root
    assert find_part(plain, ()) is plain
    assert find_part(plain, (1,)) is plain
    assert find_part(plain, (1, 1)) is None
    assert find_part(plain, (2,)) is None
    assert find_part(plain, (0,)) is None
    root = scan(CORPUS["forwarded"]).root
    inner = root.children[1]
    assert inner.message is not None
    assert find_part(root, (2,)) is inner
    assert find_part(root, (2, 1)) is inner.message.children[0]
    assert find_part(root, (2, 2, 1)) is inner.message.children[1].message
    assert find_part(root, (1, 1)) is None
    assert find_part(root, (2, 3)) is None
    embedded = scan(CORPUS["root-rfc822"]).root
    assert find_part(embedded, (1,)) is embedded
    assert find_part(embedded, (1, 1)) is embedded.message
    mixed = scan(CORPUS["alternative-attachment"]).root
    assert find_part(mixed, (1, 2)) is mixed.children[0].children[1]
    assert find_part(mixed, (1, 2, 1)) is None


def test_previews() -> None:
    previews = {name: scan(message).preview for name, message in CORPUS.items()}
    assert previews["plain"] == "Hello Ann, the train leaves at seven. -- Joe"
    assert previews["alternative-attachment"] == "Grüße aus Köln"
    assert previews["html-only"] == "Hello à"
    assert previews["forwarded"] == "see below"
    assert previews["nothing"] == ""
    long = scan(b"\r\n" + b"word " * 1000)
    assert 190 < len(long.preview) <= 200


def test_an_empty_plain_text_leaves_the_preview_to_others() -> None:
    message = (
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n\r\n--b\r\n"
        b"Content-Type: text/html\r\n\r\n<style>x</style>a<!-- no -->b <p>1 &lt; 2<script>x\r\n--b--"
    )
    assert scan(message).preview == "ab 1 < 2"


# --- limits --------------------------------------------------------------------------------------------------------


def test_depth_is_bounded() -> None:
    parts = list(walk(scan(CORPUS["deep"]).root))
    assert len(parts) == 51
    assert parts[-1].content_type == "application/octet-stream"
    assert sum(part.type == "multipart" for part in parts) == 50


def test_embedded_messages_are_bounded_in_depth() -> None:
    parts = list(walk(scan(b"Content-Type: message/rfc822\n\n" * 5000).root))
    assert len(parts) == 51
    assert parts[-1].content_type == "application/octet-stream"


def test_parts_are_bounded_and_the_rest_is_one_of_them() -> None:
    message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000
    root = scan(message).root
    assert len(root.children) == 999
    rest = root.children[-1]
    assert rest.content_type == "application/octet-stream"
    assert rest.end == len(message)
    assert root.children[-2].end < rest.header_start
    assert scan(message, 777).root == root


def test_a_long_header_section_is_cut_and_told() -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 70) for number in range(900))
    message = b"Subject: here\r\n" + fields * 5 + b"Subject: lost\r\n\r\nbody\r\n"
    structure = scan(message)
    assert structure.header_overflow
    assert structure.header_size == len(message) - 6
    assert body(message, structure.root) == b"body\r\n"
    assert len(structure.header.octets) <= 256 * 1024
    assert structure.header.octets.endswith(b"y\r\n")
    assert message.startswith(structure.header.octets)
    for chunk in (4096, 65536, 100_000):
        assert scan(message, chunk) == structure


def test_too_many_fields_are_told() -> None:
    assert scan(b"A: b\r\n" * 1001 + b"\r\n").header_overflow
    assert not scan(b"A: b\r\n" * 1000 + b"\r\n").header_overflow


def test_parameters_are_bounded() -> None:
    value = b"; ".join(b"p%d=v" % number for number in range(5000))
    assert len(scan(b"Content-Type: text/plain; " + value + b"\n\n").root.parameters) == 100


def test_inner_headers_cannot_make_a_great_summary() -> None:
    part = b"--b\nContent-Type: message/rfc822\n\nFrom: " + b"a," * 20_000 + b"\n\n"
    structure = scan(b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 300)
    assert len(pack(structure)) < 512 * 1024
    assert list(walk(structure.root))[-1].content_type == "application/octet-stream"


@pytest.mark.parametrize(
    "part", [b"x" * 70 + b"\r\n", b"x", b"\n--", b"--b", b"--b" + b" " * 5000, b"\r\n--bb\r\n"], ids=repr
)
def test_memory_stays_flat(part: bytes) -> None:
    scanner = Scanner()
    scanner.feed(b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\n")
    chunk = part * (65536 // len(part))
    scanner.feed(chunk)
    tracemalloc.start()
    try:
        for _ in range(100):
            scanner.feed(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
    scanner.close()


def test_a_chunk_may_be_the_whole_of_a_great_message() -> None:
    message = CORPUS["alternative-attachment"].replace(b"JVBERi0xLjQK", b"A" * 76 * 20_000)
    structure = scan(message)
    assert structure.root.children[1].size == 76 * 20_000
    assert structure == scan(message, 10_007)


@pytest.mark.parametrize(
    "message",
    [
        b"Content-Type: text/plain" + b";" * 250_000 + b"\n\n",
        b"Content-Type: text/plain" + b"; \t=" * 60_000 + b"\n\n",
        b"Content-Type: text/plain; a=(" + b'"(\\' * 80_000 + b"\n\n",
        b"Content-Type: text/plain; a=" + b'"\\"' * 80_000 + b"\n\n",
        b"From: " + b"<" * 250_000 + b"\n\n",
        b"From: " + b'"' * 250_001 + b"\n\n",
        b"From: " + b"a:;" * 80_000 + b"\n\n",
        b"From: " + b"((" * 120_000 + b"\n\n",
        b"Date: " + b" " * 250_000 + b"\n\n",
        b":\n" * 125_000 + b"\n",
        b" \n" * 125_000 + b"\n",
        b"Content-Type: text/html\n\n" + b"<" * 100_000,
        b"Content-Type: text/html\n\n" + b"<style" * 20_000,
        b"Content-Type: text/html\n\n" + b"&" * 100_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=a\n\n"
        + b"\n--" * 300_000
        + b"\n--bb" * 100_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 200_000,
    ],
    ids=lambda message: repr(message[:60]),
)
def test_hostile_mail_costs_no_more_than_its_size(message: bytes) -> None:
    begun = time.process_time()
    structure = scan(message, 65536)
    pack(structure)
    assert time.process_time() - begun < 2
    check_offsets(structure.root, len(message))


def test_long_lines_are_measured() -> None:
    assert scan(b"\r\n" + b"x" * 998 + b"\r\n").longest_line == 0
    assert scan(b"\r\n" + b"x" * 999 + b"\r\n").longest_line == 999
    assert scan(b"\r\n" + b"x" * 5000).longest_line == 5000


def test_received_fields_are_counted() -> None:
    assert scan(b"Received: a\r\nX: b\r\nreceived : c\r\n\r\nReceived: d\r\n").received_count == 2


# --- anything ------------------------------------------------------------------------------------------------------

_LINES = st.sampled_from(
    [
        b"--a",
        b"--a--",
        b"--ab",
        b"--ab-- \t",
        b"--abc",
        b"--a x",
        b"",
        b"",
        b"text",
        b"--",
        b"-",
        b"Content-Type: multipart/mixed; boundary=a",
        b'Content-Type: multipart/digest; boundary="ab"',
        b"Content-Type: multipart/alternative;\r\n boundary=a--",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/html",
        b"Content-Transfer-Encoding: base64",
        b"Subject: \xff\0",
        b" folded",
    ]
)
_MESSAGES = st.lists(st.tuples(_LINES, st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b""])), max_size=40).map(
    lambda lines: b"Content-Type: multipart/mixed; boundary=a\r\n" + b"".join(line + end for line, end in lines)
)
_TIGHT = ScanLimits(parts=6, depth=3, header_size=60, header_fields=3, parameters=2, details=150)


@settings(max_examples=200, deadline=None)
@given(_MESSAGES, st.lists(st.integers(0, 60), max_size=40), st.booleans(), st.booleans())
def test_any_cut_of_any_message(message: bytes, cuts: list[int], tight: bool, patient: bool) -> None:
    limits = _TIGHT if tight else ScanLimits()
    whole = scan(message, limits=limits)
    with pytest.MonkeyPatch.context() as patch:
        if not patient:  # as if there had been many lines that look like boundaries
            patch.setattr(structure_module, "_PATIENCE", 0)
        check_cuts(message, cuts, limits, whole)


def check_cuts(message: bytes, cuts: list[int], limits: ScanLimits, whole: Structure) -> None:
    check_offsets(whole.root, len(message))
    assert scan(message, 1, limits) == whole
    scanner, at = Scanner(limits), 0
    for cut in cuts:
        scanner.feed(message[at : at + cut])
        at += cut
    scanner.feed(message[at:])
    assert scanner.close() == whole
    summary = Summary(pack(whole))
    assert summary.is_current
    assert summary.root == whole.root
    assert summary.bodystructure


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CORPUS)), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=8))
def test_mutations_never_fail(name: str, changes: list[tuple[int, bytes]]) -> None:
    message = CORPUS[name]
    for at, octets in changes:
        at %= len(message) + 1
        message = message[:at] + octets + message[at + 1 :]
    structure = scan(message)
    check_offsets(structure.root, len(message))
    assert scan(message, 11) == structure
    assert Summary(pack(structure)).root == structure.root
