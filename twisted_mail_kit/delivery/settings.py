"""What can be set about the way of a message from the door to the mailbox."""

from __future__ import annotations

import ipaddress
from typing import Any

from attrs import field, frozen
from attrs.validators import ge, in_

from twisted_mail_kit.mail.structure import ScanLimits

_WIDEST = {4: 8, 6: 16}


def _networks(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for text in value:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as problem:
            raise ValueError(f"{attribute.name}: {text!r} is not a network: {problem}") from None
        if network.prefixlen < _WIDEST[network.version]:
            raise ValueError(f"{attribute.name}: {text!r} trusts far too many; that would be an open relay")


@frozen(kw_only=True)
class DeliverySettings:
    """Reception and delivery: limits, what is made right at submission, whom we relay for."""

    hops: int = field(default=30, validator=ge(1))
    """Received fields that a message may have; one with as many or more is in a loop (554 5.4.6)."""
    memory: int = field(default=256 * 1024, validator=ge(0))
    """Octets of a message that are kept in memory while it is received; a larger one goes to the spool directory,
    unless there is room in `memory_shared`."""
    memory_shared: int = field(default=32 * 1024 * 1024, validator=ge(0))
    """Octets of all messages together that are being received: until there are more, larger ones stay in memory too,
    each of up to an eighth of it."""
    header_size: int = field(default=256 * 1024, validator=ge(1024))
    """Octets of a message's header section; one with more is refused (552)."""
    header_fields: int = field(default=1000, validator=ge(50))
    """Header fields of a message; one with more is refused (552)."""
    mime_parts: int = field(default=1000, validator=ge(1))
    """Parts that are looked into; the rest of a message with more is one opaque part."""
    mime_depth: int = field(default=50, validator=ge(1))
    """Multiparts and embedded messages within each other; what lies deeper is opaque."""
    mime_parameters: int = field(default=100, validator=ge(1))
    """Parameters of one MIME field; the others are left out."""
    aliases_deep: int = field(default=10, validator=ge(1))
    """An alias may lead to an alias, so many times."""
    aliases_wide: int = field(default=1000, validator=ge(1))
    """Addresses that one recipient may lead to."""
    trusted_networks: tuple[str, ...] = field(default=(), converter=tuple, validator=_networks)
    """Whoever connects from these (``192.0.2.0/24``) may send to other domains without a login. None by default."""
    detail_folders: bool = False
    """Mail for ``joe+lists`` goes to the folder ``lists`` of joe, where he has one; else all goes to the inbox."""
    retries: tuple[float, ...] = field(default=(0.5, 2.0, 5.0), converter=tuple)
    """Seconds before each further try, when some recipients of a message have it and others could not get it yet."""
    add_date: bool = True
    """At submission: add Date where it is missing (RFC 6409 8.2); else such a message is refused."""
    add_message_id: bool = True
    """At submission: add Message-ID where it is missing (RFC 6409 8.3); else such a message is refused."""
    missing_from: str = field(default="refuse", validator=in_(("refuse", "add")))
    """At submission: what happens to a message without a From field: ``refuse``, or ``add`` one of the return path."""
    drop_bcc: bool = True
    """At submission: leave Bcc fields out, as clients that write them expect."""
    longest_line: int = field(default=998, validator=ge(998))
    """At submission: octets in a line, without its end (RFC 5322 2.1.1); a message with a longer one is refused."""
    undeclared_8bit: str = field(default="accept", validator=in_(("accept", "refuse")))
    """At submission: 8-bit content without BODY=8BITMIME: ``accept``, and declare it from here on, or ``refuse``."""

    def scan_limits(self) -> ScanLimits:
        """The limits that the MIME scanner keeps."""
        return ScanLimits(
            parts=self.mime_parts,
            depth=self.mime_depth,
            header_size=self.header_size,
            header_fields=self.header_fields,
            parameters=self.mime_parameters,
        )
