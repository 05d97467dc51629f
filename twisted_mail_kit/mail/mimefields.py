"""What a part's MIME header says about its body (RFC 2045, RFC 2183), read kindly: nothing here fails."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from twisted_mail_kit.mail.headers import Headers, on_one_line
from twisted_mail_kit.mail.part import Parameters

# RFC 2045 5.1's token, without what makes trouble in quoted strings of others; a subtype may have more dots and pluses.
_TYPE: Final = re.compile(rb"[ \t]*+([!#-'*+.0-9A-Z^-~-]++)[ \t]*+/[ \t]*+([!#-'*+.0-9A-Z^-~-]++)[ \t]*+(?=;|\Z)?")
_TOKEN: Final = re.compile(rb"[ \t]*+([!#-'*+.0-9A-Z^-~-]++)[ \t]*+")
# One parameter, up to the next semicolon. A value without quotes may hold what RFC 2045 would have quoted.
_PARAMETER: Final = re.compile(
    rb";[; \t]*+([^\x00-\x20=;\"\x7f]++)[ \t]*+(?:\*[ \t]*+)?=[ \t]*+"
    rb'(?:"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)[^;]*+|([^;]*+))',
    re.DOTALL,
)
_SEMICOLONS: Final = re.compile(rb"[; \t]*+")
_COMMENT_PIECE: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[^"()\\]++|\\.?|[()"]', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_LANGUAGE: Final = re.compile(rb"[A-Za-z0-9-]++")

_TEXT_DEFAULT: Final[Parameters] = ((b"charset", b"us-ascii"),)
_MOST_LANGUAGES: Final = 20
_LONGEST_BOUNDARY: Final = 256
"""Octets. RFC 2046 5.1.1 allows 70; a longer one than this counts as none."""


class MIMEFields(NamedTuple):
    """The fields of one MIME header that `Part` keeps, in its order."""

    type: str
    subtype: str
    parameters: Parameters
    content_id: bytes | None
    description: bytes | None
    encoding: str
    md5: bytes | None
    disposition: str | None
    disposition_parameters: Parameters
    language: tuple[bytes, ...]
    location: bytes | None


PLAIN_TEXT: Final = MIMEFields("text", "plain", _TEXT_DEFAULT, None, None, "7bit", None, None, (), (), None)
"""RFC 2045 5.2: what a part is that says nothing."""
DIGESTED: Final = PLAIN_TEXT._replace(type="message", subtype="rfc822", parameters=())
"""RFC 2046 5.1.5: what it is in a multipart/digest."""
OPAQUE: Final = PLAIN_TEXT._replace(type="application", subtype="octet-stream", parameters=())
"""What we do not look into."""


def opaque(fields: MIMEFields) -> MIMEFields:
    """The same part, of a type that nobody looks into."""
    return fields._replace(type="application", subtype="octet-stream", parameters=())


def unreadable(fields: MIMEFields) -> MIMEFields:
    """The same part, of the type that RFC 2045 5.2 gives it where its Content-Type means nothing."""
    return fields._replace(type="text", subtype="plain", parameters=_TEXT_DEFAULT)


def holds_message(fields: MIMEFields) -> bool:
    """Is its body a message of its own?

    RFC 2046 5.2.1 lets no transfer encoding change message/rfc822, so it is not looked at; RFC 6532 3.7 does for
    message/global.
    """
    if fields.type != "message":
        return False
    return fields.subtype == "rfc822" or (
        fields.subtype == "global" and fields.encoding not in ("base64", "quoted-printable")
    )


def boundary_of(fields: MIMEFields) -> bytes:
    """What stands between the parts of a multipart (RFC 2046 5.1.1); nothing where it says none that can be one."""
    boundary = dict(fields.parameters).get(b"boundary", b"").rstrip()
    return boundary if len(boundary) <= _LONGEST_BOUNDARY else b""


def charset_of(fields: MIMEFields) -> str:
    """What a text says that it is written in; nothing where it does not say."""
    return dict(fields.parameters).get(b"charset", b"").decode("latin-1")


_OTHERS: Final = frozenset(
    b"content-" + name for name in (b"disposition", b"language", b"id", b"description", b"md5", b"location")
)


def read_mime_fields(headers: Headers, default: MIMEFields = PLAIN_TEXT, most_parameters: int = 100) -> MIMEFields:
    """Read them; what is absent or unreadable is as in `default`."""
    # Hot path. Half of all mail says one of a dozen things here, which are known as they came.
    index = headers.index()
    types = index.get(b"content-type")
    if types is None:
        main, sub, parameters = default[:3]
    else:
        content_type = types[0]
        main, sub, parameters = (_known_type if len(content_type) < _SHORT else _read_type)(
            content_type, most_parameters
        )
    encodings = index.get(b"content-transfer-encoding")
    encoding = "7bit"
    if encodings is not None:
        encoding = (_known_encoding if len(encodings[0]) < _SHORT else _read_encoding)(encodings[0])
    if _OTHERS.isdisjoint(index):
        # What most of all mail says, and nothing more.
        return MIMEFields(main, sub, parameters, None, None, encoding, None, None, (), (), None)
    disposition = headers.get(b"content-disposition")
    language = headers.get(b"content-language")
    its_disposition, its_parameters = (None, ()) if disposition is None else _disposition(disposition, most_parameters)
    return MIMEFields(
        main,
        sub,
        parameters,
        headers.get(b"content-id"),
        headers.get(b"content-description"),
        encoding,
        headers.get(b"content-md5"),
        its_disposition,
        its_parameters,
        tuple(_LANGUAGE.findall(without_comments(language))[:_MOST_LANGUAGES]) if language else (),
        headers.get(b"content-location"),
    )


def _read_type(value: bytes, most: int) -> tuple[str, str, Parameters]:
    """Of a field as it came."""
    value = without_comments(on_one_line(value))
    found = _TYPE.match(value)
    if found is None:
        # RFC 2045 5.2 for a field that cannot be read. `text` alone occurs, so does nothing at all.
        return "text", "plain", _TEXT_DEFAULT
    main, sub = found[1].decode("ascii").lower(), found[2].decode("ascii").lower()
    return main, sub, read_parameters(value, found.end(), most) if b"=" in value else ()


def _disposition(value: bytes, most: int) -> tuple[str | None, Parameters]:
    value = without_comments(value)
    found = _TOKEN.match(value)
    if found is None:
        return None, ()
    return found[1].decode("ascii").lower(), read_parameters(value, found.end(), most)


def _read_encoding(value: bytes) -> str:
    """Of a field as it came."""
    found = _TOKEN.match(without_comments(on_one_line(value)))
    return found[1].decode("ascii").lower() if found else "7bit"


_known_type = lru_cache(maxsize=256)(_read_type)
_known_encoding = lru_cache(maxsize=64)(_read_encoding)
_SHORT: Final = 60


def read_parameters(value: bytes, position: int, most: int) -> Parameters:
    """``; name=value`` and so on, from `position`: at most `most`, of one name the first; see `part.Parameters`."""
    parameters: dict[bytes, bytes] = {}
    while len(parameters) < most:
        position = value.find(b";", position)
        if position < 0:
            break
        found = _PARAMETER.match(value, position)
        if found is None:
            # Past all of them at once, or a field of semicolons would cost their square.
            position = _SEMICOLONS.match(value, position).end()  # type: ignore[union-attr]
            continue
        position = found.end()
        name, quoted, plain = found.groups()
        if quoted is None:
            text = plain.strip()
        else:
            text = _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        parameters.setdefault(name.lower(), text)
    return tuple(parameters.items())


def without_comments(value: bytes) -> bytes:
    """A structured value without its comments (RFC 5322 3.2.2), which nest; quoted strings stay as they are."""
    if b"(" not in value:
        return value
    pieces, depth, position, end = [], 0, 0, len(value)
    while position < end and (found := _COMMENT_PIECE.match(value, position)):
        piece = found[0]
        position = found.end()
        if piece == b"(":
            # A parenthesis within a word is no comment: `name=report(1).pdf`.
            if depth or position == 1 or value[position - 2] in b" \t;)=/":
                depth += 1
                continue
        elif piece == b")" and depth:
            depth -= 1
            continue
        elif depth and piece[:1] == b'"':
            position = found.start() + 1  # quotes mean nothing within a comment
            continue
        if not depth:
            pieces.append(piece)
    return b"".join(pieces).strip()
