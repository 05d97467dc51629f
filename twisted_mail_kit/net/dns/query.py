"""A question in octets, and whether octets that came are its answer."""

from __future__ import annotations

import random
import struct
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

_HEADER: Final = struct.Struct("!HHHHHH")
_MOST_RECORDS: Final = 1000
"""In one answer: more are not worth the time that they take."""


class NotOurs(Exception):
    """Not the answer to this question: forged, late, or garbage. To be passed over."""


class CaseLost(Exception):
    """It would be the answer, but for the case of the name: forged, or the server is careless."""


def read_name(text: str) -> dns.name.Name | None:
    """A name as it can be asked for; None: no such name can be in DNS (too long, an empty label, not ASCII)."""
    if not text or not text.isascii():
        return None
    try:
        name = dns.name.from_text(text, idna_codec=None)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    return name if len(name.labels) > 1 else None


def name_text(name: dns.name.Name) -> str:
    """Without the last dot, in lower case (ours is mixed, and answers point back to it); the root is ``""``."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


class Query:
    """One question with its own id, and its own way of writing the name."""

    def __init__(
        self,
        name: dns.name.Name,
        kind: str,
        random: random.Random,
        *,
        mixed_case: bool = True,
        edns: bool = True,
        payload: int = 1232,
        dnssec: bool = False,
    ) -> None:
        self.id = random.getrandbits(16)
        written = _mixed(name, random) if mixed_case else name
        message = dns.message.make_query(
            written,
            kind,
            use_edns=0 if edns else None,
            payload=payload if edns else None,
            # RFC 6840 5.7: AD in a query says that we would like to hear it; DO helps with older servers.
            want_dnssec=edns and dnssec,
            flags=dns.flags.RD | (dns.flags.AD if dnssec else 0),
            id=self.id,
        )
        self.octets = message.to_wire()
        wire = written.to_wire()
        assert wire is not None
        self._question = wire + struct.pack("!HH", message.question[0].rdtype, dns.rdataclass.IN)

    def read(self, octets: bytes, any_case: bool = False) -> dns.message.Message:
        """The answer. Raises NotOurs, CaseLost (not with `any_case`), and nothing else, whatever the octets."""
        if len(octets) < _HEADER.size:
            raise NotOurs("too short")
        number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(octets)
        if number != self.id:
            raise NotOurs("another id")
        if not flags & dns.flags.QR or flags & 0x7800:
            raise NotOurs("not an answer")
        if answers + authorities + additional > _MOST_RECORDS:
            raise NotOurs("too many records")
        if questions == 0 and flags & 0xF in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and not answers:
            return _header_only(octets)  # a server that did not even understand the question
        start, end = _HEADER.size, _HEADER.size + len(self._question)
        asked = octets[start:end]
        if questions != 1 or asked.lower() != self._question.lower() or asked[-4:] != self._question[-4:]:
            raise NotOurs("another question")
        if asked != self._question and not any_case:
            raise CaseLost
        return _parsed(octets)

    def is_repeated_by(self, message: dns.message.Message) -> bool:
        """Whether an answer writes the name as we did."""
        return len(message.question) == 1 and message.question[0].name.to_wire() == self._question[:-4]


def _parsed(octets: bytes) -> dns.message.Message:
    try:
        return dns.message.from_wire(octets, ignore_trailing=True)
    except Exception as problem:  # the codec has many ways to say no
        if dns.flags.TC & int.from_bytes(octets[2:4], "big"):
            return _header_only(octets)
        raise NotOurs(type(problem).__name__) from problem


def _header_only(octets: bytes) -> dns.message.Message:
    """Of a message that was cut anywhere nothing counts but that it was."""
    message = dns.message.Message(id=int.from_bytes(octets[:2], "big"))
    message.flags = dns.flags.Flag(int.from_bytes(octets[2:4], "big"))
    return message


def _mixed(name: dns.name.Name, random: random.Random) -> dns.name.Name:
    """0x20: each letter in a case of its own."""
    bits = random.getrandbits(8 * 256)
    labels = []
    for label in name.labels:
        octets = bytearray(label.lower())
        for index, octet in enumerate(octets):
            if 0x61 <= octet <= 0x7A and bits & 1:
                octets[index] = octet & ~0x20
            bits >>= 1
        labels.append(bytes(octets))
    return dns.name.Name(labels)
