"""A MIME tree as fields with a NUL after each of them, and the same as IMAP writes it.

Each part is there before the parts in it: seven numbers, its type, its parameters, and what the mask says it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from twisted_mail_kit.mail.imapform import NO_ENVELOPE, nstring, string
from twisted_mail_kit.mail.part import Parameters, Part, Place

_CONTENT_ID, _DESCRIPTION, _MD5, _DISPOSITION, _LANGUAGE, _LOCATION, _MESSAGE = (1 << bit for bit in range(7))
_NOTHING: Final = b"0"
_BARE: Final = b"0 %x %x %x %x %x 0\0%b"
"""A part without mask and children; what comes last is its type and parameters."""
_NEITHER: Final = (None, None)
"""Of a part: its content_id and description."""
_NO_MORE: Final = (None, None, (), (), None)
"""Of a part: from its md5 to its location."""
_MOST_KNOWN: Final = 200
"""Octets of a type and its parameters that are remembered. What is longer is seldom said twice, and may be hostile."""


def pack_and_write(root: Part) -> tuple[bytes, bytes]:
    """The tree as octets, and `body` of it, extended. Hot path: of every message that is delivered."""
    fields: list[bytes] = []
    written = _pack_part(root, fields)
    return b"\0".join(fields), written


def _pack_part(part: Part, fields: list[bytes]) -> bytes:
    """Add the part's fields, and give its BODYSTRUCTURE."""
    known = _bare_leaf(part)
    if known is not None:
        packed, template = known
        size, lines = part.end - part.body_start, part.lines
        fields.append(_BARE % (part.header_start, part.body_start, part.end, lines, len(part.parameters), packed))
        return template % (size, lines) if part.type == "text" else template % size
    mask = (
        (part.content_id is not None and _CONTENT_ID)
        | (part.description is not None and _DESCRIPTION)
        | (part.md5 is not None and _MD5)
        | (part.disposition is not None and _DISPOSITION)
        | (bool(part.language) and _LANGUAGE)
        | (part.location is not None and _LOCATION)
        | (part.message is not None and _MESSAGE)
    )
    fields.append(
        b"%x %x %x %x %x %x %x"
        % (mask, part.header_start, part.body_start, part.end, part.lines, len(part.parameters), len(part.children))
    )
    main, sub, encoding = part.type.encode("ascii"), part.subtype.encode("ascii"), part.encoding.encode("ascii")
    fields.append(b"%b/%b/%b" % (main, sub, encoding))
    parameters = list(chain.from_iterable(part.parameters))
    fields += parameters
    disposition = language = b"NIL"
    inner = b""
    if mask:
        if part.content_id is not None:
            fields.append(part.content_id)
        if part.description is not None:
            fields.append(part.description)
        if part.md5 is not None:
            fields.append(part.md5)
        if part.disposition is not None:
            name = part.disposition.encode("ascii")
            its_parameters = list(chain.from_iterable(part.disposition_parameters))
            fields.append(b"%x %b" % (len(part.disposition_parameters), name))
            fields += its_parameters
            disposition = _disposition(name, its_parameters)
        if part.language:
            fields.append(b" ".join(part.language))
            language = _language(part.language)
        if part.location is not None:
            fields.append(part.location)
        if part.message is not None:
            envelope = part.envelope or NO_ENVELOPE
            fields.append(envelope)
            inner = _message(envelope, _pack_part(part.message, fields), part.lines)
    more = b" %b %b %b" % (disposition, language, nstring(part.location))
    if part.children:
        children = [_pack_part(child, fields) for child in part.children]
        return _multipart(children, sub, b" " + _list(parameters) + more)
    leaf = _leaf(main, sub, parameters, nstring(part.content_id), nstring(part.description), encoding)
    size = part.end - part.body_start
    return _sized(leaf, main, size, part.lines, inner, b" " + nstring(part.md5) + more)


def _bare_leaf(part: Part) -> tuple[bytes, bytes] | None:
    """Of a part that has nothing but its type and parameters: these, packed, and its `_plain_leaf`."""
    if part[3:5] != _NEITHER or part[6:11] != _NO_MORE or part.children or part.message is not None:
        return None
    size = len(part.type) + len(part.subtype) + len(part.encoding)
    for name, value in part.parameters:
        size += len(name) + len(value)
    return _known_leaf(part.type, part.subtype, part.encoding, part.parameters) if size <= _MOST_KNOWN else None


@lru_cache(1024)
def _known_leaf(main: str, sub: str, encoding: str, parameters: Parameters) -> tuple[bytes, bytes]:
    fields = (f"{main}/{sub}/{encoding}".encode("ascii"), *chain.from_iterable(parameters))
    return b"\0".join(fields), _plain_leaf(fields, extended=True)


def unpack(packed: bytes) -> Part:
    """The tree again. Raises ValueError, StopIteration or RecursionError for what is none."""
    return _unpack_part(iter(packed.split(b"\0")))


def _unpack_part(fields: Iterator[bytes]) -> Part:
    mask, header_start, body_start, end, lines, parameter_count, child_count = [
        int(number, 16) for number in next(fields).split(b" ")
    ]
    main, sub, encoding = next(fields).decode("ascii").split("/")
    parameters = _unpack_parameters(fields, parameter_count) if parameter_count else ()
    content_id = next(fields) if mask & _CONTENT_ID else None
    description = next(fields) if mask & _DESCRIPTION else None
    md5 = next(fields) if mask & _MD5 else None
    disposition = None
    disposition_parameters: Parameters = ()
    if mask & _DISPOSITION:
        count, _, name = next(fields).partition(b" ")
        disposition = name.decode("ascii")
        disposition_parameters = _unpack_parameters(fields, int(count, 16))
    language = tuple(next(fields).split(b" ")) if mask & _LANGUAGE else ()
    location = next(fields) if mask & _LOCATION else None
    message = envelope = None
    if mask & _MESSAGE:
        envelope = next(fields)
        message = _unpack_part(fields)
    return Part(
        main,
        sub,
        parameters,
        content_id,
        description,
        encoding,
        md5,
        disposition,
        disposition_parameters,
        language,
        location,
        header_start,
        body_start,
        end,
        lines,
        tuple([_unpack_part(fields) for _ in range(child_count)]) if child_count else (),
        message,
        envelope,
    )


def _unpack_parameters(fields: Iterator[bytes], count: int) -> Parameters:
    return tuple([(next(fields), next(fields)) for _ in range(count)])


def places(packed: bytes) -> Place:
    """The tree, without what the parts are: a quarter of the work. Raises as `unpack` does, and IndexError."""
    return _place(packed.split(b"\0"), 0)[0]


def _place(fields: Sequence[bytes], at: int) -> tuple[Place, int]:
    """A part, and where the next one begins."""
    flags, header_start, body_start, end, _, parameter_count, child_count = fields[at].split(b" ")
    at += 2 + 2 * int(parameter_count, 16)
    message = None
    children = []
    if flags != _NOTHING:
        mask = int(flags, 16)
        at += bool(mask & _CONTENT_ID) + bool(mask & _DESCRIPTION) + bool(mask & _MD5)
        if mask & _DISPOSITION:
            at += 1 + 2 * int(fields[at].partition(b" ")[0], 16)
        at += bool(mask & _LANGUAGE) + bool(mask & _LOCATION)
        if mask & _MESSAGE:
            message, at = _place(fields, at + 1)
    if child_count != _NOTHING:
        for _ in range(int(child_count, 16)):
            child, at = _place(fields, at)
            children.append(child)
    return Place(int(header_start, 16), int(body_start, 16), int(end, 16), tuple(children), message), at


# --- as IMAP writes it -----------------------------------------------------------------------------------------------

# Hot path: BODYSTRUCTURE of a whole mailbox. It is written straight from the fields, without a Part between; and what
# is the same in most messages, a text with a charset, is made once.


def body(packed: bytes, extended: bool) -> bytes:
    """BODYSTRUCTURE where `extended`, otherwise BODY (RFC 3501 7.4.2). Raises as `unpack` does, and IndexError."""
    return _body(packed.split(b"\0"), 0, extended)[0]


def _body(fields: Sequence[bytes], at: int, extended: bool) -> tuple[bytes, int]:
    """A part and what is in it, and where the next one begins."""
    flags, _, begins, ends, lines, parameter_count, child_count = fields[at].split(b" ")
    at += 1
    after = at + 1 + 2 * int(parameter_count, 16)
    if flags == _NOTHING and child_count == _NOTHING:
        bare = tuple(fields[at:after])
        is_short = sum(map(len, bare)) <= _MOST_KNOWN
        template = (_known_plain_leaf if is_short else _plain_leaf)(bare, extended)
        size = int(ends, 16) - int(begins, 16)
        if template[:8] == b'("text" ':
            return template % (size, int(lines, 16)), after
        return template % size, after
    main, sub, encoding = fields[at].split(b"/")
    parameters = fields[at + 1 : after]
    at, mask = after, int(flags, 16)
    content_id = description = md5 = location = language = disposition = b"NIL"
    if mask & _CONTENT_ID:
        content_id, at = string(fields[at]), at + 1
    if mask & _DESCRIPTION:
        description, at = string(fields[at]), at + 1
    if mask & _MD5:
        md5, at = string(fields[at]), at + 1
    if mask & _DISPOSITION:
        count, _, name = fields[at].partition(b" ")
        after = at + 1 + 2 * int(count, 16)
        disposition, at = _disposition(name, fields[at + 1 : after]), after
    if mask & _LANGUAGE:
        language, at = _language(fields[at].split(b" ")), at + 1
    if mask & _LOCATION:
        location, at = string(fields[at]), at + 1
    inner = b""
    if mask & _MESSAGE:
        form, after = _body(fields, at + 1, extended)
        inner, at = _message(fields[at], form, int(lines, 16)), after
    more = b" %b %b %b" % (disposition, language, location) if extended else b""
    if child_count != _NOTHING:
        children = []
        for _ in range(int(child_count, 16)):
            form, at = _body(fields, at, extended)
            children.append(form)
        return _multipart(children, sub, b" " + _list(parameters) + more if extended else b""), at
    leaf = _leaf(main, sub, parameters, content_id, description, encoding)
    size = int(ends, 16) - int(begins, 16)
    return _sized(leaf, main, size, int(lines, 16), inner, b" " + md5 + more if extended else b""), at


def _multipart(children: Sequence[bytes], sub: bytes, more: bytes) -> bytes:
    return b"(%b %b%b)" % (b"".join(children), string(sub), more)


def _leaf(
    main: bytes, sub: bytes, parameters: Sequence[bytes], content_id: bytes, description: bytes, encoding: bytes
) -> bytes:
    """Up to its size. Content-ID and description are strings already."""
    return b"%b %b %b %b %b %b" % (
        string(main),
        string(sub),
        _list(parameters),
        content_id,
        description,
        string(encoding),
    )


def _sized(leaf: bytes, main: bytes, size: int, lines: int, inner: bytes, more: bytes) -> bytes:
    if main == b"text":
        return b"(%b %d %d%b)" % (leaf, size, lines, more)
    return b"(%b %d%b%b)" % (leaf, size, inner, more)


def _message(envelope: bytes, form: bytes, lines: int) -> bytes:
    return b" %b %b %d" % (envelope, form, lines)


def _disposition(name: bytes, parameters: Sequence[bytes]) -> bytes:
    return b"(%b %b)" % (string(name), _list(parameters))


def _language(tags: Sequence[bytes]) -> bytes:
    return b"(%b)" % b" ".join([b'"%b"' % tag for tag in tags])


def _plain_leaf(fields: tuple[bytes, ...], extended: bool) -> bytes:
    """A part that has nothing but its type and parameters, with %d for its octets, and for its lines if it is text."""
    main, sub, encoding = fields[0].split(b"/")
    form = b"%b %b %b NIL NIL %b" % (string(main), string(sub), _list(fields[1:]), string(encoding))
    form = form.replace(b"%", b"%%") + (b" %d %d" if main == b"text" else b" %d")
    return b"(%b)" % (form + b" NIL NIL NIL NIL" if extended else form)


_known_plain_leaf = lru_cache(1024)(_plain_leaf)


def _list(fields: Sequence[bytes]) -> bytes:
    """Parameters: names and values in turn."""
    return b"(%b)" % b" ".join([string(field) for field in fields]) if fields else b"NIL"
