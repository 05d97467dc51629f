"""Address lists of header fields (RFC 5322 3.4), as IMAP's ENVELOPE wants them: every list gives something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from twisted_mail_kit.mail.address import Address, make_address
from twisted_mail_kit.mail.words import decode_octets, unfold


class HeaderAddress(NamedTuple):
    """One address, or the start or end of a group (RFC 3501 7.4.2).

    A group starts with its name as `local` and no `domain`; it ends with all four None. An address without a domain
    has an empty one.
    """

    name: bytes | None
    """The display name without its quoting; encoded words are left encoded."""
    route: bytes | None
    """RFC 5322 4.4's obsolete ``@a,@b``."""
    local: bytes | None
    """Without its quoting."""
    domain: bytes | None


MOST_TOKENS: Final = 8000
"""Words and specials of one field that are looked at: a thousand addresses with names, a moment of time."""

_GROUP_END: Final = HeaderAddress(None, None, None, None)

# `Joe Doe <joe@example.org>` and `joe@example.org`: what nearly all fields are.
_SIMPLE: Final = re.compile(
    rb'[ \t]*+(?:"([^"\\]*+)"[ \t]*+<|([^\x00-\x1f()<>@,;:\\".\[\]]*+)<|(?=[^<]))'
    rb"([^\x00-\x20()<>@,;:\\\"\[\]\x7f]++)@([^\x00-\x20()<>@,;:\\\"\[\]\x7f]++)(>)?[ \t]*"
)
_TOKEN: Final = re.compile(
    rb"[ \t]++"
    rb'|"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)'  # 1: a quoted string, or what was to be one
    rb"|(\[(?:[^\[\]\\]++|\\.)*+\]?)"  # 2: a domain literal
    rb'|([^\x00-\x20()<>@,;:\\"\[\]\x7f]++)'  # 3: atoms and dots
    rb"|(.)",  # 4: a special
    re.DOTALL,
)
_COMMENT_PIECE: Final = re.compile(rb"[^()\\]++|\\.|[()\\]", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def parse_address_list(value: bytes, most: int = 1000) -> list[HeaderAddress]:
    """The addresses of a From, To, Cc … field, at most `most` of them; never fails, and passes over what is none."""
    value = unfold(value)
    if len(value) < 1000 and (simple := _SIMPLE.fullmatch(value)):
        quoted, phrase, local, domain, closed = simple.groups()
        if (quoted is None and phrase is None) == (closed is None):
            name = quoted if quoted is not None else (phrase or b"").strip() or None
            return [HeaderAddress(name, None, local, domain)]
    return _walk(value, most)


def addresses(value: bytes) -> list[Address]:
    """The valid addresses of a field, without groups and names."""
    valid = []
    for found in parse_address_list(value):
        if found.local and found.domain:
            try:
                valid.append(make_address(decode_octets(found.local), decode_octets(found.domain)))
            except ValueError:
                continue
    return valid


class _Token(NamedTuple):
    kind: bytes
    """``a`` for a word, ``(`` for a comment, otherwise the special itself."""
    text: bytes
    spaced: bool
    """Space stood before it."""


_OPEN: Final = b"<"
_SPECIALS: Final = frozenset({b"<", b">", b"@", b",", b";", b":"})


def _tokens(value: bytes) -> Iterator[_Token]:
    position, end, spaced = 0, len(value), False
    while position < end and (found := _TOKEN.match(value, position)):
        position = found.end()
        kind = found.lastindex
        if kind is None:
            spaced = True
            continue
        text = found[kind]
        if kind == 1:
            yield _Token(b"a", _ESCAPED.sub(rb"\1", text) if b"\\" in text else text, spaced)
        elif kind != 4:
            yield _Token(b"a", text, spaced)
        elif text == b"(":
            text, position = _comment(value, position)
            yield _Token(b"(", text, spaced)
        elif text in _SPECIALS:
            yield _Token(text, text, spaced)
        spaced = False


def _comment(value: bytes, position: int) -> tuple[bytes, int]:
    """The comment whose parenthesis has been opened, and where it ends; comments nest (RFC 5322 3.2.2)."""
    depth, pieces, end = 1, [], len(value)
    while position < end and (found := _COMMENT_PIECE.match(value, position)):
        position = found.end()
        piece = found[0]
        if piece == b"(":
            depth += 1
        elif piece == b")":
            depth -= 1
            if depth == 0:
                break
        pieces.append(piece[1:] if piece[:1] == b"\\" else piece)
    return b"".join(pieces).strip(), position


def _walk(value: bytes, most: int) -> list[HeaderAddress]:
    found: list[HeaderAddress] = []
    current: list[_Token] = []
    bracket = -1  # where in `current` the < is that has not been closed
    seen: set[bytes] = set()  # specials in `current`
    in_group = False

    def end_address() -> None:
        nonlocal bracket
        if current and (address := _read(current)):
            found.append(address)
        current.clear()
        seen.clear()
        bracket = -1

    for token in islice(_tokens(value), MOST_TOKENS):
        if len(found) >= most:
            break
        kind = token.kind
        if kind == b"," and bracket >= 0 and b":" not in seen and current[bracket + 1 : bracket + 2][0].kind == b"@":
            pass  # between the hosts of a source route
        elif kind == b"," or kind == b";":
            end_address()
            if kind == b";" and in_group:
                in_group = False
                found.append(_GROUP_END)
            continue
        elif kind == b":" and not in_group and not seen:
            in_group = True
            name = _phrase(current)
            current.clear()
            found.append(HeaderAddress(None, None, name, None))
            continue
        elif kind == _OPEN and bracket < 0:
            bracket = len(current)
        elif kind == b">":
            bracket = -1
        if kind in _SPECIALS:
            seen.add(kind)
        current.append(token)
    end_address()
    if in_group:
        found.append(_GROUP_END)
    return found


def _is_route(tokens: list[_Token], bracket: int) -> bool:
    return len(tokens) > bracket + 1 and tokens[bracket + 1].kind == b"@"


def _read(tokens: list[_Token]) -> HeaderAddress | None:
    comment = b""
    words: list[_Token] = []
    for token in tokens:
        if token.kind == b"(":
            comment = token.text
        else:
            words.append(token)
    kinds = [token.kind for token in words]
    name = route = None
    if _OPEN in kinds:
        start = kinds.index(_OPEN)
        name = _phrase(words[:start]) or None
        end = kinds.index(b">", start) if b">" in kinds[start:] else len(kinds)
        words, kinds = words[start + 1 : end], kinds[start + 1 : end]
        if kinds[:1] == [b"@"] and b":" in kinds:
            end = kinds.index(b":")
            route = b"".join(token.text for token in words[:end])
            words, kinds = words[end + 1 :], kinds[end + 1 :]
    at = kinds.index(b"@") if b"@" in kinds else len(kinds)
    local = _phrase(words[:at])
    domain = b"".join(token.text for token in words[at + 1 :])
    if not (name or local or domain):
        return None  # a comment alone is nobody
    return HeaderAddress(name or comment or None, route, local, domain)


def _phrase(words: list[_Token]) -> bytes:
    """Words with one space where there was any, but none around the dots of RFC 5322 4.4's obsolete local parts."""
    pieces: list[bytes] = []
    for token in words:
        if token.kind == b"(":
            continue
        if pieces and token.spaced and token.text != b"." and pieces[-1] != b".":
            pieces.append(b" ")
        pieces.append(token.text)
    return b"".join(pieces)
