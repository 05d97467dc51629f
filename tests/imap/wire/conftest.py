"""A listener that plays the simplest session, and hears everything in three ways of cutting."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from twisted_mail_kit.imap.wire.commands import Append, Authenticate
from twisted_mail_kit.imap.wire.connection import IMAPWire
from twisted_mail_kit.imap.wire.events import BadCommand, Literal, Response
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.net.inbox import NEED_DATA

Hear = Callable[..., list[object]]


def listen(
    pieces: Iterable[bytes], limits: WireLimits | None = None, utf8: bool = False, accept: bool = True
) -> list[object]:
    """All events of `pieces`, with the literals of APPEND put together."""
    wire = IMAPWire(limits, utf8)
    events: list[object] = []
    for piece in pieces:
        wire.receive(piece)
        while (event := wire.next_event()) is not NEED_DATA:
            if isinstance(event, Literal) and events and isinstance(events[-1], Literal) and not events[-1].last:
                event = Literal(events.pop().octets + event.octets, event.last)  # type: ignore[attr-defined]
            events.append(event)
            if isinstance(event, Append):
                wire.accept_literal() if accept else wire.refuse_literal()
            elif isinstance(event, Authenticate) or (isinstance(event, Response) and event.octets is not None):
                wire.expect_response()
            elif isinstance(event, BadCommand):
                assert event.line().isascii()
                assert event.line().count(b"\n") == 1
    return events


def hear_in_every_cut(octets: bytes, **more: object) -> list[object]:
    """The same events must come whole, octet by octet, and cut in two anywhere."""
    whole = listen([octets], **more)  # type: ignore[arg-type]
    assert listen([octets[at : at + 1] for at in range(len(octets))], **more) == whole  # type: ignore[arg-type]
    for at in range(1, min(len(octets), 200)):
        assert listen([octets[:at], octets[at:]], **more) == whole  # type: ignore[arg-type]
    return whole


@pytest.fixture
def hear() -> Hear:
    return hear_in_every_cut
