"""Noise: whatever a client says, in whatever pieces, nothing breaks, and what was not asked for stays."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from tests.pop3.kit import inbox_of, make_world
from twisted_mail_kit.testing.fakes import MemoryTransport

words = st.sampled_from(
    [b"USER joe", b"PASS secret", b"PASS no", b"AUTH PLAIN", b"AUTH LOGIN am9l", b"*", b"c2VjcmV0", b"CAPA", b"STLS"]  # noqa: RUF005
    + [b"STAT", b"LIST", b"LIST 1", b"RETR 1", b"RETR 2", b"TOP 1 1", b"TOP 2 99", b"UIDL", b"DELE 2", b"RSET", b"NOOP"]
    + [b"UTF8", b"LANG", b"", b"\0", b"x" * 600, b"RETR", b"DELE 9", b"AUTH"]
)
lines = st.one_of(words, st.binary(max_size=30).filter(lambda octets: b"\n" not in octets))


@settings(max_examples=100, deadline=None)
@given(st.lists(lines, max_size=40), st.booleans(), st.booleans(), st.sampled_from([None, 1, 7]))
def test_noise_is_answered_line_by_line(said: list[bytes], login: bool, leave: bool, chop: int | None) -> None:
    problems: list[object] = []

    def observe(event: dict[str, object]) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            problems.append(event)

    async def story() -> None:
        world = await make_world(certificates=object())
        transport = MemoryTransport()
        transport.connect(world.factory.buildProtocol(transport.peer))
        octets = (b"USER joe\r\nPASS secret\r\n" if login else b"") + b"".join(line + b"\r\n" for line in said)
        transport.send(octets, chop)
        heard = transport.take()
        for _ in range(5):
            world.clock.advance(0)
            heard += transport.take()
        assert heard.startswith(b"+OK mx.example.org POP3 ready\r\n")
        assert heard.endswith(b"\r\n")
        if leave:
            transport.drop()
        else:
            world.clock.advance(100_000)
        transport.take()
        transport.turn()
        world.clock.advance(0)
        assert transport.is_closed()
        assert not world.factory.sessions
        assert not world.clock.getDelayedCalls()
        assert [row.uid for row in await inbox_of(world.joe)] == [1, 2, 3]

    globalLogPublisher.addObserver(observe)
    try:
        told = Deferred.fromCoroutine(story())
        assert told.called
        told.addErrback(problems.append)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not problems
