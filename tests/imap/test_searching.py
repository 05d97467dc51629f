"""SEARCH at a glance says what SEARCH says that looks at each message closely."""

from __future__ import annotations

import base64
import quopri
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap.glance import _PLAIN, FOLDED_TO_ASCII

WORDS = [
    "harbour",
    "Stra\u00dfe",
    "gross",
    "ma\u00df",
    "light",
    "\u212aelvin",
    "winter",
    "=?utf-8?q?winter?=",
    "b0",
    "li",
    "\u0130n",
]
NEEDLES = [
    "harbour",
    "HARBOUR",
    "strasse",
    "ss",
    "s",
    "light",
    "k",
    "kelvin",
    "ER",
    "b0",
    "=",
    "winter h",
    "i",
    "text",
    "\u00df",
]
CHARSETS = ["us-ascii", "utf-8", "ISO-8859-1", "windows-1252", "iso-2022-jp", "utf-7", "utf-16", "x-unknown", ""]

texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)


@st.composite
def parts(draw: Any) -> bytes:
    text, charset, encoding = (
        draw(texts),
        draw(st.sampled_from(CHARSETS)),
        draw(st.sampled_from(["7bit", "qp", "base64"])),
    )
    kind = draw(st.sampled_from(["text/plain", "text/html", "application/pdf"]))
    try:
        octets = text.encode(charset or "utf-8", "replace")
    except LookupError:
        octets = text.encode("latin-1", "replace")
    if encoding == "qp":
        octets, name = quopri.encodestring(octets), "quoted-printable"
    elif encoding == "base64":
        octets, name = base64.encodebytes(octets), "base64"
    else:
        name = "8bit"
    cut = draw(st.integers(0, 40))
    if encoding == "qp" and cut < len(octets) and b"=" not in octets[max(0, cut - 2) : cut + 2]:
        octets = octets[:cut] + b"=\r\n" + octets[cut:]  # a soft line break in the middle of a word
    head = f"Content-Type: {kind}" + (f"; charset={charset}" if charset else "")
    return f"{head}\r\nContent-Transfer-Encoding: {name}\r\n\r\n".encode() + octets


@st.composite
def messages(draw: Any) -> bytes:
    subject = draw(texts).encode("utf-8")
    head = b"Subject: %b\r\nFrom: Ann <%b@example.org>\r\nMIME-Version: 1.0\r\n" % (
        subject,
        draw(st.sampled_from([b"light", b"ann"])),
    )
    inside = draw(st.lists(parts(), min_size=1, max_size=3))
    shape = draw(st.sampled_from(["single", "mixed", "forwarded"]))
    if shape == "single":
        return head + inside[0] + b"\r\n"
    if shape == "forwarded":
        return (
            head + b"Content-Type: message/rfc822\r\n\r\nSubject: %b\r\n" % draw(texts).encode() + inside[0] + b"\r\n"
        )
    pieces = b"".join(b"--b0\r\n" + one + b"\r\n" for one in inside)
    return head + b"Content-Type: multipart/mixed; boundary=b0\r\n\r\nlight at the harbour\r\n" + pieces + b"--b0--\r\n"


def ask(client: Any, key: str, text: str) -> list[bytes]:
    octets = text.encode("utf-8")
    return client.ok(b"SEARCH CHARSET UTF-8 %b {%d+}\r\n%b" % (key.encode(), len(octets), octets))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mails=st.lists(messages(), min_size=1, max_size=4))
def test_what_is_found_at_a_glance_is_what_is_found(make_world: Any, mails: list[bytes]) -> None:
    closely, at_a_glance = make_world(), make_world(reads_many=True)
    clients = []
    for world in (closely, at_a_glance):
        for mail in mails:
            world.deliver(mail)
        client = world.client()
        client.ok("EXAMINE INBOX")
        clients.append(client)
    for key in ("TEXT", "BODY", "SUBJECT", "FROM", "NOT BODY"):
        for needle in NEEDLES:
            expected, found = (ask(client, key, needle) for client in clients)
            assert found == expected, (key, needle, mails)


def test_all_letters_that_become_ascii_without_regard_to_case_are_known() -> None:
    for charset in ["utf-8", *(one.decode() for one in _PLAIN)]:
        for number in range(128, 0x110000 if charset == "utf-8" else 256):
            if charset == "utf-8" and 0xD800 <= number < 0xE000:
                continue
            octets = chr(number).encode() if charset == "utf-8" else bytes([number])
            ascii_letters = {one for one in octets.decode(charset, "replace").casefold() if one.isascii()}
            known = {letter for begin, letters in FOLDED_TO_ASCII if octets.startswith(begin) for letter in letters}
            assert ascii_letters <= known, (charset, octets)


@pytest.mark.parametrize("reads_many", [False, True])
def test_a_word_is_found_whatever_its_message_looks_like(make_world: Any, reads_many: bool) -> None:
    world = make_world(reads_many=reads_many)
    head = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=%b\r\nContent-Transfer-Encoding: %b\r\n\r\n"
    for mail in (
        head % (b"us-ascii", b"7bit") + b"the LightHouse\r\n",
        head % (b"utf-8", b"quoted-printable") + b"the light=\r\nhouse\r\n",
        head % (b"utf-8", b"base64") + base64.encodebytes(b"the lighthouse"),
        head % (b"utf-16", b"base64") + base64.encodebytes("the lighthouse".encode("utf-16")),
        b"Subject: =?utf-8?b?%b?=\r\n\r\nnothing\r\n" % base64.b64encode(b"the lighthouse"),
        head % (b"us-ascii", b"7bit") + b"x" * 100_000 + b"\r\nlighthouse\r\n",
        head % (b"us-ascii", b"7bit") + b"light\r\nhouse\r\n",
    ):
        world.deliver(mail)
    client = world.client()
    client.ok("EXAMINE INBOX")
    assert client.ok("SEARCH TEXT lighthouse") == [b"* SEARCH 4 5 6 7 8 9"]
    assert client.ok("SEARCH BODY lighthouse") == [b"* SEARCH 4 5 6 7 9"]
    assert client.ok("SEARCH SUBJECT lighthouse") == [b"* SEARCH 8"]
    assert client.ok("SEARCH OR BODY lighthouse SUBJECT Message NOT FROM nobody") == [b"* SEARCH 1 2 3 4 5 6 7 9"]


def test_a_message_with_an_old_summary_is_looked_at_closely(make_world: Any) -> None:
    world = make_world(reads_many=True)
    world.deliver(b"Subject: the lighthouse\r\n\r\nnothing\r\n", summary=b"old")
    client = world.client()
    client.ok("EXAMINE INBOX")
    assert client.ok("SEARCH TEXT lighthouse SUBJECT the") == [b"* SEARCH 4"]
