"""FETCH's items: attributes, macros and body sections (RFC 3501 6.4.5)."""

from __future__ import annotations

import re

from twisted_mail_kit.imap.wire.commands import Attribute, FetchItem, Section
from twisted_mail_kit.imap.wire.reader import Bad, Reader
from twisted_mail_kit.imap.wire.responses import astring

_NAME = re.compile(rb"[A-Za-z0-9.]++")
_PART = re.compile(rb"[1-9][0-9]{0,9}+(?:\.[1-9][0-9]{0,9}+)*+")
_TEXT = re.compile(rb"[A-Za-z.]++")
_FIELD_NAME = re.compile(rb"[\x20-\x7e]++")

ATTRIBUTES = {
    item.name: item
    for item in map(
        Attribute, ("FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ")
    )
}
"""Items without a section; one more is one word here and one answer in `imap/commands/fetch.py`."""

_FAST = tuple(ATTRIBUTES[name] for name in ("FLAGS", "INTERNALDATE", "RFC822.SIZE"))
MACROS: dict[str, tuple[FetchItem, ...]] = {
    "FAST": _FAST,
    "ALL": (*_FAST, ATTRIBUTES["ENVELOPE"]),
    "FULL": (*_FAST, ATTRIBUTES["ENVELOPE"], ATTRIBUTES["BODY"]),
}

SECTIONS = {
    "RFC822": Section((), "", label=b"RFC822"),
    "RFC822.HEADER": Section((), "HEADER", peek=True, label=b"RFC822.HEADER"),
    "RFC822.TEXT": Section((), "TEXT", label=b"RFC822.TEXT"),
}
"""RFC 3501's old names: RFC822.HEADER alone does not set \\Seen."""


def read_fetch_items(reader: Reader) -> tuple[FetchItem, ...]:
    """A macro, one item, or a list of items in parentheses; each once, in the order of the client."""
    if not reader.take(b"("):
        name = _name(reader)
        if name in MACROS and reader.peek() in (b"", b" "):
            return MACROS[name]
        return (_item(reader, name),)
    items: dict[FetchItem, None] = {}
    while True:
        items[_item(reader, _name(reader))] = None
        if reader.take(b")"):
            return tuple(items)
        reader.space()


def _name(reader: Reader) -> str:
    return reader.match(_NAME, "A FETCH item is missing")[0].upper().decode("ascii")


def _item(reader: Reader, name: str) -> FetchItem:
    if reader.peek() == b"[":
        if name == "BODY":
            return _section(reader, peek=False)
        if name == "BODY.PEEK":
            return _section(reader, peek=True)
        raise Bad("Unknown FETCH item")
    item = ATTRIBUTES.get(name) or SECTIONS.get(name)
    if item is None:
        raise Bad("Unknown FETCH item")
    return item


def _section(reader: Reader, peek: bool) -> Section:
    reader.expect(b"[", "A section is missing")
    part: tuple[int, ...] = ()
    text = ""
    fields: tuple[bytes, ...] = ()
    label = b""
    has_text = reader.peek() != b"]"
    if reader.peek().isdigit():
        label = reader.match(_PART, "A part number is malformed")[0]
        if label.count(b".") >= reader.limits.nesting:
            raise Bad("A part number is too deep", b"LIMIT", limit="nesting")
        part = tuple(map(int, label.split(b".")))
        has_text = reader.take(b".")
        if has_text:
            label += b"."
    if has_text:
        text = reader.match(_TEXT, "A section is malformed")[0].upper().decode("ascii")
        label += text.encode("ascii")
        if text in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
            reader.space()
            fields = _field_names(reader)
            label += b" (%b)" % b" ".join(map(astring, fields))
        elif text not in ("HEADER", "TEXT") and not (text == "MIME" and part):
            raise Bad("Unknown section")
    reader.expect(b"]", "A section is not ended")
    partial = _partial(reader)
    label = b"BODY[%b]" % label
    if partial is not None:
        label += b"<%d>" % partial[0]
    return Section(part, text, fields, peek, partial, label)


def _field_names(reader: Reader) -> tuple[bytes, ...]:
    reader.expect(b"(", "A list of field names is missing")
    names: list[bytes] = []
    while True:
        name = reader.astring()
        # The response says them again, so they must fit into one line of it.
        if _FIELD_NAME.fullmatch(name) is None:
            raise Bad("There is no such header field name")
        names.append(name)
        if reader.take(b")"):
            return tuple(names)
        reader.space()


def _partial(reader: Reader) -> tuple[int, int] | None:
    if not reader.take(b"<"):
        return None
    offset = reader.number()
    reader.expect(b".", "A partial is malformed")
    most = reader.number()
    if not most:
        raise Bad("A partial is empty")
    reader.expect(b">", "A partial is not ended")
    return offset, most
