"""Header fields as octets: found when they are asked for, never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from twisted_mail_kit.mail.addresslist import HeaderAddress, addresses, parse_address_list
from twisted_mail_kit.mail.words import decode_text, unfold

# A field is a line that begins with a name and a colon, and the lines after it that begin with a space or tab
# (RFC 5322 2.2.3). `.` matches all but LF, so the parts cannot match in two ways and the search is linear.
_FIELD: Final = re.compile(rb"^([!-9;-~]++)[ \t]*+:(.*+(?:\n[ \t].*+)*+)\n?", re.MULTILINE)
_VALUE: Final = re.compile(rb"^([!-9;-~]++)[ \t]*+:(.*+(?:\n[ \t].*+)*+)", re.MULTILINE)
_BLANK_LINE: Final = re.compile(rb"\n(\r?\n)")


class Field(NamedTuple):
    """One header field."""

    name: bytes
    """As it is spelled."""
    value: bytes
    """What stands after the colon, folded as it came, without the last line end."""
    start: int
    end: int
    """``[start:end)`` in the header section: the whole field with its line end."""


class Headers:
    """The fields of one header section (RFC 5322 2.2), with or without the blank line that ends it.

    Lines that are no fields are passed over, and so are the fields after the first `most`. Nothing is looked at until
    something is asked for.
    """

    __slots__ = ("_fields", "_is_cut", "_most", "_values", "octets")

    def __init__(self, octets: bytes, most: int = 1000) -> None:
        self.octets = octets
        self._most = most
        self._is_cut = False
        self._values: dict[bytes, list[bytes]] | None = None
        self._fields: tuple[Field, ...] | None = None

    @property
    def fields(self) -> Sequence[Field]:
        """All of them, in order."""
        if self._fields is None:
            self._fields = tuple(
                Field(found[1], found[2].rstrip(b"\r"), found.start(), found.end())
                for found in islice(_FIELD.finditer(self.octets), self._most)
            )
        return self._fields

    def get(self, name: bytes) -> bytes | None:
        """The first field of that name, in any case: unfolded, without space around it. None: there is none."""
        values = (self._values or self.index()).get(name.lower())
        return on_one_line(values[0]) if values else None

    def all(self, name: bytes) -> list[bytes]:
        """The fields of that name, in order: unfolded, without space around them."""
        values = (self._values or self.index()).get(name.lower())
        return [on_one_line(value) for value in values] if values else []

    def index(self) -> Mapping[bytes, Sequence[bytes]]:
        """The names, in lower case, with the values of each in order, as they came: see `on_one_line`."""
        index = self._values
        if index is None:
            index = self._values = {}
            for name, value in self._pairs():
                name = name.lower()
                if name in index:
                    index[name].append(value)
                else:
                    index[name] = [value]
        return index

    @property
    def is_cut(self) -> bool:
        """There are more fields than were looked at."""
        self.index()
        return self._is_cut

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and name.lower() in self.index()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and other.octets == self.octets

    def __hash__(self) -> int:
        return hash(self.octets)

    def __repr__(self) -> str:
        return f"Headers({self.octets!r})"

    def _pairs(self) -> list[tuple[bytes, bytes]]:
        most = self._most
        if self.octets.count(b"\n") <= most:
            return _VALUE.findall(self.octets)
        # As quick as findall for a section of a few fields, and bounded where a hostile one has thousands.
        pairs = [(found[1], found[2]) for found in islice(_VALUE.finditer(self.octets), most + 1)]
        self._is_cut = len(pairs) > most
        return pairs[:most]


def on_one_line(value: bytes) -> bytes:
    """Unfolded, without space around it. Hot path: most fields are on one line, and end in CR."""
    value = value.strip()
    if b"\n" in value or b"\r" in value or b"\0" in value:
        return unfold(value).strip()
    return value


def select_fields(header_octets: bytes, names: Sequence[bytes], exclude: bool = False) -> bytes:
    """The octets of the fields with these names, in any case; with `exclude`, of all others.

    Fields come in the order of the message, as they are folded. The blank line at the end of the section stays, where
    there is one (RFC 3501 6.4.5: HEADER.FIELDS, HEADER.FIELDS.NOT).
    """
    if header_octets.startswith((b"\r\n", b"\n")):
        return header_octets[: header_octets.index(b"\n") + 1]
    section, blank = header_octets, b""
    if end := _BLANK_LINE.search(header_octets):
        section, blank = header_octets[: end.start(1)], end[1]
    wanted = _fields_named(tuple(names))
    if exclude:
        return (wanted.sub(b"", section) if wanted else section) + blank
    return (b"".join(wanted.findall(section)) if wanted else b"") + blank


@lru_cache(maxsize=256)
def _fields_named(names: tuple[bytes, ...]) -> re.Pattern[bytes] | None:
    if not names:
        return None
    either = b"|".join(re.escape(name) for name in sorted(set(names)))
    return re.compile(rb"^(?:%b)[ \t]*+:.*+(?:\n[ \t].*+)*+\n?" % either, re.MULTILINE | re.IGNORECASE)


__all__ = [
    "Field",
    "HeaderAddress",
    "Headers",
    "addresses",
    "decode_text",
    "on_one_line",
    "parse_address_list",
    "select_fields",
    "unfold",
]
