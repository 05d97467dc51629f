"""Mail of all shapes, and what is looked for in it."""

from __future__ import annotations

import base64
import quopri
from typing import Any

from hypothesis import strategies as st

KEYS = (
    "TEXT",
    "BODY",
    "SUBJECT",
    "FROM",
    "TO",
    "NOT TEXT",
    "HEADER Subject",
    "HEADER X-Note",
    "NOT HEADER From",
    "OR SEEN BODY",
    "OR SUBJECT harbour BODY",
    "OR NOT FROM ann NOT TEXT",
    "NOT OR SUBJECT winter TEXT",
    "BODY ght (NOT SUBJECT winter) TEXT",
)
WORDS = (
    "harbour",
    "Stra\u00dfe",
    "ma\u00df",
    "\u0130stanbul",
    "\ufb01nd",
    "\u212aelvin",
    "\u043c\u0430\u044f\u043a",
    "\u706f\u53f0",
    "\U0001f6a2",
    "=?utf-8?b?" + base64.b64encode(b"winter harbour").decode() + "?=",
    "=?utf-8?b?" + base64.b64encode(b"gan").decode() + "?= =?utf-8?b?" + base64.b64encode(b"net").decode() + "?=",
    "=?iso-8859-1?q?caf=E9s?=",
    'joe"s',
    "a\\bcd",
    "x@y.example",
    "<tag>",
    "ef\0gh",
    "no\xa0break",
    "light-house",
    "puffin",
)
NEEDLES = (
    "harbour",
    "arb",
    "STRASSE",
    "mass",
    "ss",
    "i\u0307stanbul",
    "istanbul",
    "FIND",
    "kelvin",
    "winter harbour",
    "gannet",
    "CAF\u00c9S",
    "er\r\n",
    "\u041c\u0410\u042f\u041a",
    "\u706f\u53f0",
    "\u53f0",
    "\U0001f6a2",
    'joe"s',
    "a\\bcd",
    "y.example",
    "<tag>",
    "ann@example.org",
    "<ann@",
    "efgh",
    "o\xa0b",
    "puffinpuffin",
    "uff",
    "text/plain",
    "",
    "nowhere",
)
CHARSETS = ("", "us-ascii", "utf-8", "ISO-8859-1", "koi8-r", "utf-16", "iso-2022-jp", "x-none")

texts = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)


@st.composite
def parts(draw: Any) -> bytes:
    """A part of a message, or all below its own fields."""
    text = draw(texts)
    kind = draw(st.sampled_from(["text/plain", "text/html", "application/pdf", "message/rfc822"]))
    if kind == "message/rfc822":
        return b"Content-Type: message/rfc822\r\n\r\nSubject: %b\r\nX-Note: %b\r\n\r\n%b" % (
            draw(texts).encode(),
            draw(texts).encode(),
            text.encode(),
        )
    charset = draw(st.sampled_from(CHARSETS))
    try:
        octets = text.encode(charset or "utf-8", "replace")
    except LookupError:
        octets = text.encode("latin-1", "replace")
    encoding = draw(st.sampled_from(["8bit", "quoted-printable", "base64"]))
    if encoding == "quoted-printable":
        octets = quopri.encodestring(octets)
    elif encoding == "base64":
        octets = base64.encodebytes(octets)
    head = f"Content-Type: {kind}" + (f"; charset={charset}" if charset else "")
    return f"{head}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + octets


@st.composite
def messages(draw: Any) -> bytes:
    """A whole one."""
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    folding = draw(st.sampled_from([b" ", b"\r\n ", b"\r\n\t", b"\r"]))
    subject, note, name = (draw(texts) for _ in range(3))
    head = (
        b"Subject: %b\r\nFrom: %b <ann@example.org>\r\nTo: (%b) joe@example.com, group: a@b.example;\r\nX-Note: %b\r\n"
    ) % (
        subject.encode().replace(b" ", folding),
        name.encode(draw(st.sampled_from(["utf-8", "latin-1"])), "replace"),
        note.encode(),
        note.encode().replace(b" ", folding),
    )
    inside = draw(st.lists(parts(), min_size=1, max_size=3))
    if draw(st.booleans()):
        return (head + b"MIME-Version: 1.0\r\n" + inside[0]).replace(b"\r\n", end)
    pieces = b"".join(b"--b0\r\n" + one + b"\r\n" for one in inside)
    head += b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\nharbour before all\r\n"
    return (head + pieces + b"--b0--\r\n").replace(b"\r\n", end)
