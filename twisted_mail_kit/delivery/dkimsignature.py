"""DKIM-Signature fields: made for a header section and the digest of a body (RFC 6376 3.5, 3.7)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from twisted_mail_kit.accounts.names import canonical_domain
from twisted_mail_kit.delivery.dkimcanon import relaxed_field
from twisted_mail_kit.delivery.dkimkeys import DKIMKey
from twisted_mail_kit.delivery.dkimsettings import DKIMSettings
from twisted_mail_kit.mail.headers import Headers, addresses

_NAME: Final = b"DKIM-Signature"
_SPACE: Final = re.compile(rb"[ \t\r\n]+")
_WIDTH: Final = 76


def author_domain(headers: Headers) -> str | None:
    """The domain of the (first) address in From, in lower-case A-labels; None where that is not clear."""
    values = headers.all(b"From")
    if len(values) != 1 or headers.is_cut:
        return None  # RFC 6376 8.15: who sees which of two From fields, nobody knows
    authors = addresses(values[0])
    domain = canonical_domain(authors[0].domain) if authors else ""
    return domain if domain.isascii() and domain else None


def signatures_of(headers: Headers) -> set[tuple[str, str]]:
    """(domain, selector) of all signatures that the message has already."""
    found = set()
    for value in headers.all(_NAME):
        tags = {}
        for tag in value.split(b";"):
            name, _, text = tag.partition(b"=")
            tags[name.strip()] = _SPACE.sub(b"", text).decode("utf-8", "replace").lower()
        found.add((canonical_domain(tags.get(b"d", "")), tags.get(b"s", "")))
    return found


def signature_fields(
    keys: Iterable[DKIMKey], headers: Headers, body: bytes, settings: DKIMSettings, now: float
) -> bytes:
    """A DKIM-Signature field for each key, to be put on top; `body` is the digest of the relaxed body.

    Takes a millisecond for each RSA key.
    """
    names, octets = _signed(headers, settings)
    return b"".join(_field(key, names, octets, body, settings, int(now)) for key in keys)


def _signed(headers: Headers, settings: DKIMSettings) -> tuple[list[str], bytes]:
    """The names for the ``h=`` tag, and what they stand for (RFC 6376 5.4.2): fields from the last one upwards.

    A name once more than there are fields means that there must be no further one.
    """
    by_name: dict[bytes, list[bytes]] = {}
    for field in headers.fields:
        name = field.name.lower()
        by_name.setdefault(name, []).append(relaxed_field(name, field.value))
    names: list[str] = []
    octets: list[bytes] = []
    for wanted, lowered, if_absent in _wanted(settings):
        fields = by_name.get(lowered, ())
        octets += reversed(fields)
        names += [wanted] * (len(fields) + 1 if fields or if_absent else 0)
    return names, b"".join(octets)


@lru_cache(maxsize=16)
def _wanted(settings: DKIMSettings) -> Sequence[tuple[str, bytes, bool]]:
    """(name, in lower case, also when it is not there) of each field to be signed, each once."""
    seen = {b"dkim-signature"}
    wanted = []
    for names, if_absent in ((settings.oversigned, True), (settings.signed, False)):
        for name in names:
            lowered = name.lower().encode()
            if lowered not in seen:
                seen.add(lowered)
                wanted.append((name, lowered, if_absent))
    return wanted


def _field(key: DKIMKey, names: Sequence[str], octets: bytes, body: bytes, settings: DKIMSettings, now: int) -> bytes:
    tags = ["v=1;", f"a={key.algorithm};", "c=relaxed/relaxed;", f"d={key.domain};", f"s={key.selector};", f"t={now};"]
    if settings.expires:
        tags.append(f"x={now + settings.expires};")
    listed = [f"{name}:" for name in names]
    listed[0] = "h=" + listed[0]
    listed[-1] = listed[-1][:-1] + ";"
    lines = _fold("DKIM-Signature:", tags)
    lines += _fold("", listed, gap="")
    lines += _fold("", [f"bh={base64.b64encode(body).decode()};"])
    unsigned = ("\r\n".join([*lines, " b="])).encode("ascii")
    value = unsigned[len(_NAME) + 1 :]
    # RFC 6376 3.7: the field itself comes last, with an empty b= and without its line end.
    digest = hashlib.sha256(octets + relaxed_field(_NAME, value)[:-2]).digest()
    signature = base64.b64encode(key.sign(digest)).decode()
    width = _WIDTH - 3
    folded = "\r\n ".join(signature[start : start + width] for start in range(0, len(signature), width))
    return unsigned + folded.encode("ascii") + b"\r\n"


def _fold(start: str, words: Sequence[str], gap: str = " ") -> list[str]:
    """Lines of words, none longer than `_WIDTH` unless a word is; each but the first begins with a space."""
    lines = [start]
    for word in words:
        if len(lines[-1]) + len(word) + 1 > _WIDTH and lines[-1].strip():
            lines.append("")
        lines[-1] += (gap if lines[-1] else " ") + word
    return lines
