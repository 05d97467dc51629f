"""What a message has to become for a server that does not take all of it: itself, or 7-bit, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.outcome import Failed, Status
from twisted_mail_kit.smtp.client.message import OutgoingMessage
from twisted_mail_kit.smtp.client.sevenbit import CannotDowngrade, check_downgrade, downgrade
from twisted_mail_kit.smtp.wire.client import Offers


class Form(NamedTuple):
    """How a message goes to one server."""

    body: str
    """The BODY parameter; empty: none."""
    smtputf8: bool
    size: int
    """As it is told with SIZE; a little less than what a downgrade makes of it."""
    by_chunks: bool
    """With BDAT, not DATA."""
    is_binary: bool
    """No line end is touched."""
    chunks: Callable[[], Iterator[bytes]]
    """The octets, as often as they are asked for."""


def fit(message: OutgoingMessage, offers: Offers, chunking: bool, remote: str) -> Form | Failed:
    """The message for a server that offers this; Failed where it cannot get there without being broken."""
    if offers.size and message.size > offers.size:
        text = f"message of {message.size} octets; the server takes {offers.size}"
        return Failed(Status("5.3.4", text, 552, remote))
    by_chunks = chunking and offers.chunking
    smtputf8 = False
    if message.envelope.smtputf8:
        if offers.smtputf8:
            smtputf8 = True
        elif message.header_8bit:
            return Failed(Status("5.6.9", "the header has text in UTF-8, and the server takes none", 0, remote))
    if message.is_binary:
        if by_chunks and offers.binary:
            return Form("BINARYMIME", smtputf8, message.size, True, True, message.chunks)
        return _downgraded(message, offers.eightbit, smtputf8, by_chunks, remote)
    if message.has_8bit and not offers.eightbit:
        return _downgraded(message, False, smtputf8, by_chunks, remote)
    body = "8BITMIME" if offers.eightbit and (message.has_8bit or message.envelope.body == "8BITMIME") else ""
    return Form(body, smtputf8, message.size, by_chunks, False, message.chunks)


def ascii_path(address: Address, offers: Offers, smtputf8: bool) -> Address | None:
    """The address as that server can read it; None: it cannot (RFC 6531 3.2)."""
    if address.is_ascii or (smtputf8 and offers.smtputf8):
        return address
    try:
        return address.to_ascii()
    except ValueError:
        return None


def not_ascii(address: Address, remote: str) -> Failed:
    """For an address that only a server with SMTPUTF8 can read."""
    return Failed(Status("5.6.7", f"{address} is not ASCII, and the server takes no other address", 553, remote))


def _downgraded(message: OutgoingMessage, to_8bit: bool, smtputf8: bool, by_chunks: bool, remote: str) -> Form | Failed:
    try:
        check_downgrade(message)
    except CannotDowngrade as why:
        kind = "binary" if message.is_binary else "8-bit"
        text = f"the message is {kind}, the server does not take that, and it cannot be converted: {why}"
        return Failed(Status("5.6.3", text, 554, remote))
    body = "8BITMIME" if to_8bit else ""
    return Form(body, smtputf8, message.size, by_chunks, False, lambda: downgrade(message, to_8bit))
