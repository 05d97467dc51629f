"""What `IMAPWire.next_event` gives: commands, and what stands around them.

A session's loop, in short (RFC 3501 2.2, RFC 7888)::

    wire = IMAPWire(limits)
    event = await inbox.next(...)
    Command             do it. After these, the session tells the wire how to go on:
      Append              `if wire.accept_literal(): send "+ Ready"`, or `wire.refuse_literal()` and a tagged NO;
                          accepted, there come Literal … Literal(last=True), AppendEnd (or BadCommand: drop it all)
      Authenticate        `wire.expect_response()` for each challenge that is sent: Response comes (or BadCommand)
      Idle                the next line is Done (or BadCommand, the IDLE being over); `wire.resume()` where refused
      StartTls            nothing is parsed any more: look at `wire.has_leftover`, take a new wire for TLS;
                          `wire.resume()` where refused
    ContinuationNeeded  send "+ Ready", flush
    BadCommand          send its `line()`; where it is fatal say BYE and end
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted_mail_kit.imap.wire.commands import Command


@dataclass(frozen=True, slots=True)
class BadCommand:
    """The client said something that cannot be done as it was said. Nothing of it is left in the wire."""

    tag: bytes | None
    """None where there was no valid tag: the answer is untagged."""
    text: str
    """For a person, printable ASCII; may be sent as it is."""
    code: bytes = b""
    """Response code without brackets: ``TOOBIG``, ``BADCHARSET (US-ASCII UTF-8)``, ``CANNOT``."""
    fatal: bool = False
    """What comes next cannot be understood: say this, then BYE, and end. The wire gives nothing more."""
    status: bytes = b"BAD"
    """``BAD``, or ``NO`` where the syntax was right (an unknown charset, a name that cannot be)."""
    limit: str = ""
    """Which of WireLimits was reached, by its name there; nothing: none."""

    def line(self) -> bytes:
        """The response, whole."""
        code = b"[%b] " % self.code if self.code else b""
        tag = b"*" if self.tag is None else self.tag
        return b"%b %b %b%b\r\n" % (tag, self.status, code, self.text.encode("ascii", "replace"))


@dataclass(frozen=True, slots=True)
class ContinuationNeeded:
    """A literal of a command was announced and is welcome; the client waits for ``+``. Not for APPEND's message."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A piece of APPEND's message, as big as it came in. Empty only where the message is empty."""

    octets: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class AppendEnd:
    """The APPEND command is whole."""

    more: bool = False
    """Another `Append` with the same tag follows (RFC 3502 MULTIAPPEND); never so far."""


@dataclass(frozen=True, slots=True)
class Done:
    """RFC 2177: the client ends IDLE."""


@dataclass(frozen=True, slots=True)
class Response:
    """A line of a SASL exchange, decoded from base64; None for ``*``: the client gives up (RFC 3501 6.2.2)."""

    octets: bytes | None


Event = Command | BadCommand | ContinuationNeeded | Literal | AppendEnd | Done | Response
