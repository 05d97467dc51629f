"""Messages to send: text that no one would take for a benchmark's, and no two alike."""

from __future__ import annotations

import base64
import itertools
import random
from functools import cache

RARE = b"kittiwake"
"""A word that stands in no message, unless one puts it there."""
OFTEN = b"winter"
"""A word that stands in many, and beside the rare one too."""

_WORDS = str.split(
    "the of and to in that was it for on with as be at by had which from this or were all not but they have one her"
    " his their an when there been who will more no if out so said what up its about into than them can only other new"
    " some could time these two may then do first any my now such like our over man me even most made after also did"
    " many before must through years where much your way well down should because each just those people too little"
    " harbour light winter minutes meeting agreed second boat keeper stone wall letter answer invoice quarter table"
    " garden paper bridge river evening window morning summer market station office school doctor village council"
    " reply forward attachment schedule draft version agenda budget travel booking ticket order delivery address"
)
_NAMES = ("Ann Example", "Bob Baker", "Carla Costa", "Dora Dunn", "Emil Ernst", "Frida Falk", "Georg Groß", "Hana Hall")
_BOUNDARY = b"=_5f3a9c71"
_numbers = itertools.count(1)
_chance = random.Random(5)


def _prose(size: int) -> bytes:
    """Lines of words, as many octets as asked for or a few more."""
    lines: list[bytes] = []
    left = size
    while left > 0:
        line = " ".join(_chance.choices(_WORDS, k=_chance.randint(7, 13))).capitalize().encode() + b".\r\n"
        lines.append(line)
        left -= len(line)
    return b"".join(lines)


def _body(size: int, number: int) -> bytes:
    """From the MIME fields on: every third one has its text twice, plain and as HTML."""
    if number % 3:
        return (
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
            + _prose(size)
        )
    part = b"--" + _BOUNDARY + b"\r\nContent-Type: text/%b; charset=utf-8\r\n\r\n%b\r\n"
    return (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"" + _BOUNDARY + b'"\r\n\r\n'
        + part % (b"plain", _prose(size // 2 - 150))
        + part % (b"html", b"<html><body><p>\r\n" + _prose(size // 2 - 150) + b"</p></body></html>\r\n")
        + b"--" + _BOUNDARY + b"--\r\n"
    )  # fmt: skip


@cache
def _bodies(size: int) -> tuple[bytes, ...]:
    """A supply, made once: what the load generator does while it is timed is to join two strings."""
    return tuple(_body(size, number) for number in range(60 if size < 200_000 else 6))


@cache
def _heads() -> tuple[bytes, ...]:
    heads = []
    for number in range(60):
        name = _chance.choice(_NAMES)
        local = name.split()[0].lower()
        subject = " ".join(_chance.choices(_WORDS[-60:], k=_chance.randint(2, 7)))
        display = name if name.isascii() else "=?utf-8?q?" + name.replace("ß", "=C3=9F").replace(" ", "_") + "?="
        heads.append(
            f"From: {display} <{local}@example.net>\r\nTo: Joe Example <joe@example.org>\r\n"
            f"Subject: {subject}\r\nDate: Mon, {number % 28 + 1:02} Nov 2026 10:{number:02}:00 +0000\r\n"
            f"Message-ID: <%d.{number}@example.net>\r\n".encode()
        )
    return tuple(heads)


def message_of(size: int) -> bytes:
    """A message of about `size` octets, CR LF throughout, no line that begins with a dot."""
    number = next(_numbers)
    bodies, heads = _bodies(max(400, size - 250)), _heads()
    return heads[number % len(heads)] % number + bodies[number * 7 % len(bodies)]


def with_the_rare_word(message: bytes) -> bytes:
    """The message with two words more in its first sentence."""
    return message.replace(b".\r\n", b" " + OFTEN + b" " + RARE + b".\r\n", 1)


def large_message(size: int) -> bytes:
    """A letter with an attachment that makes it about `size` octets."""
    lines = base64.encodebytes(_chance.randbytes(size * 57 // 78)).replace(b"\n", b"\r\n")
    part = b"--" + _BOUNDARY + b"\r\nContent-Type: %b\r\n\r\n"
    return (
        _heads()[0] % next(_numbers)
        + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="' + _BOUNDARY + b'"\r\n\r\n'
        + part % b"text/plain" + _prose(500)
        + part % b"application/zip\r\nContent-Transfer-Encoding: base64" + lines
        + b"--" + _BOUNDARY + b"--\r\n"
    )  # fmt: skip
