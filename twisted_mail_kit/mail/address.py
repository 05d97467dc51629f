"""One mail address: a local part, which only its own domain understands, and a domain."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import idna


class BadAddress(ValueError):
    """That is no mail address; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An RFC 5321 mailbox. Equal when the local parts are equal octet for octet and the domains are the same name.

    Make one from outside text with `parse_address`, `parse_path` or `make_address`, which check and normalise.
    """

    local: str
    """Without quoting: ``john doe`` for ``"john doe"@example.org``."""
    domain: str
    """Lower case; a U-label domain is kept as NFC U-labels; an address literal is kept as ``[192.0.2.1]``.
    Empty only for the bare ``postmaster`` of RFC 5321 4.5.1."""

    def __str__(self) -> str:
        """As in a path of RFC 5321 4.1.2, without the angle brackets: the local part is quoted where it has to be."""
        local = self.local
        if not local.isalnum() and not _DOT_STRING.fullmatch(local):
            local = '"' + _TO_ESCAPE.sub(r"\\\g<0>", local) + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def is_ascii(self) -> bool:
        """It can be sent without SMTPUTF8 (RFC 6531) as it is."""
        return self.local.isascii() and self.domain.isascii()

    def to_ascii(self) -> Address:
        """The same mailbox with A-labels for U-labels. Raises BadAddress where the local part is not ASCII."""
        if self.is_ascii:
            return self
        if not self.local.isascii():
            raise BadAddress("the local part is not ASCII")
        try:
            return Address(self.local, idna.encode(self.domain, uts46=True).decode("ascii"))
        except (idna.IDNAError, UnicodeError) as error:
            raise BadAddress("the domain is not a valid international name") from error


MAX_LOCAL: Final = 64  # octets, RFC 5321 4.5.3.1.1
MAX_DOMAIN: Final = 255  # octets, RFC 5321 4.5.3.1.2
MAX_PATH: Final = 256  # octets with its brackets, RFC 5321 4.5.3.1.3; source routes are not counted

_ATEXT: Final = "A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-\u0080-\U0010ffff"
_DOT_STRING: Final = re.compile(f"[{_ATEXT}]+(?:\\.[{_ATEXT}]+)*+")
# RFC 5321 4.1.2: qtextSMTP and quoted-pairSMTP; no control characters at all.
_QUOTED: Final = re.compile('"((?:[ !#-\\[\\]-~\u0080-\U0010ffff]|\\\\[ -~])*+)"')
_TO_ESCAPE: Final = re.compile(r'["\\]')
_ESCAPED: Final = re.compile(r"\\(.)")
_LABEL: Final = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_GENERAL_LITERAL: Final = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def make_address(local: str, domain: str) -> Address:
    """An address of an unquoted local part and a domain or literal, checked and normalised. Raises BadAddress."""
    if not local:
        raise BadAddress("the local part is missing")
    if _CONTROLS.search(local):
        raise BadAddress("the local part has control characters")
    if len(local.encode("utf-8")) > MAX_LOCAL:
        raise BadAddress(f"the local part is longer than {MAX_LOCAL} octets")
    return Address(local, _domain(domain))


def parse_address(text: str) -> Address:
    """Read ``local@domain``, the local part quoted or not (RFC 5321 4.1.2, RFC 6531 3.3). Raises BadAddress."""
    quoted = _QUOTED.match(text)
    if quoted:
        local, end = _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    else:
        plain = _DOT_STRING.match(text)
        if plain is None:
            raise BadAddress("the local part is missing or needs quotes")
        local, end = plain[0], plain.end()
    if text[end : end + 1] != "@":
        raise BadAddress("there is no @ after the local part")
    return make_address(local, text[end + 1 :])


def parse_path(octets: bytes, utf8: bool = False) -> tuple[Address | None, bytes]:
    """Read ``<…>`` at the start, and give what follows it too.

    ``<>`` gives None, ``<postmaster>`` in any case an Address without a domain (RFC 5321 4.5.1). A source route is
    accepted and dropped (RFC 5321 4.1.2, appendix C). UTF-8 is only read where `utf8` is said. Raises BadAddress.
    """
    if octets[:1] != b"<":
        raise BadAddress("the path does not begin with <")
    end = _path_end(octets)
    rest = octets[end + 1 :]
    try:
        text = octets[1:end].decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError as error:
        raise BadAddress("not UTF-8" if utf8 else "not ASCII, and SMTPUTF8 was not said") from error
    if not text:
        return None, rest
    if text[0] == "@":
        route, colon, text = text.partition(":")
        if not colon:
            raise BadAddress("the source route does not end")
        for hop in route.split(","):
            if hop[:1] != "@":
                raise BadAddress("the source route is malformed")
            _domain(hop[1:])
    if text.lower() == "postmaster":
        return Address("postmaster", ""), rest
    address = parse_address(text)
    if len(str(address).encode("utf-8")) + 2 > MAX_PATH:
        raise BadAddress(f"the path is longer than {MAX_PATH} octets")
    return address, rest


def _path_end(octets: bytes) -> int:
    """Where the > is that closes the path: not one within a quoted string."""
    quote = octets.find(b'"')
    end = octets.find(b">")
    if 0 <= quote < end:
        position = quote + 1
        while position < len(octets) and octets[position] != 0x22:
            position += 2 if octets[position] == 0x5C else 1
        end = octets.find(b">", position)
    if end < 0:
        raise BadAddress("the path does not end with >")
    return end


@lru_cache(maxsize=1024)
def _domain(text: str) -> str:
    """A domain or address literal in the form in which `Address` keeps it."""
    if text[:1] == "[":
        return _literal(text)
    name = text.lower()
    if not name:
        raise BadAddress("the domain is missing")
    if len(name) > MAX_DOMAIN:
        raise BadAddress(f"the domain is longer than {MAX_DOMAIN} octets")
    if name[-1] == ".":
        # RFC 5321 4.1.2 knows no trailing dot; taking it would give one mailbox two spellings.
        raise BadAddress("the domain ends with a dot")
    if not name.isascii() or "xn--" in name:
        return _international(name)
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise BadAddress("the domain is malformed")
    return name


def _international(name: str) -> str:
    """RFC 5891: A-labels and U-labels are the same name; U-labels are what we keep."""
    name = unicodedata.normalize("NFC", name)
    try:
        ascii_name = idna.encode(name, uts46=True).decode("ascii")
        if len(ascii_name) > MAX_DOMAIN:
            raise BadAddress(f"the domain is longer than {MAX_DOMAIN} octets")
        return idna.decode(ascii_name)
    except (idna.IDNAError, UnicodeError) as error:
        raise BadAddress("the domain is not a valid international name") from error


def _literal(text: str) -> str:
    """RFC 5321 4.1.3."""
    if len(text) > MAX_DOMAIN or text[-1] != "]" or not text.isascii():
        raise BadAddress("the address literal is malformed")
    inside = text[1:-1]
    try:
        if inside[:5].lower() == "ipv6:":
            address = inside[5:]
            if "%" in address:
                raise BadAddress("an address literal has no scope")
            return f"[IPv6:{ipaddress.IPv6Address(address)}]"
        if ":" not in inside:
            return f"[{ipaddress.IPv4Address(inside)}]"
    except ipaddress.AddressValueError as error:
        raise BadAddress("the address literal is malformed") from error
    if not _GENERAL_LITERAL.fullmatch(inside):
        raise BadAddress("the address literal is malformed")
    tag, _, content = inside.partition(":")
    return f"[{tag.lower()}:{content}]"
