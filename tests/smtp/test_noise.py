"""Whatever a client says, and however it is cut: an answer, the same answer, and nothing unexpected in the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

WORDS = [
    b"EHLO me\r\n", b"HELO me\r\n", b"MAIL FROM:<ann@example.net>\r\n", b"MAIL FROM:<> BODY=BINARYMIME\r\n",
    b"RCPT TO:<joe@example.org>\r\n", b"RCPT TO:<nobody@example.org>\r\n", b"RCPT TO:<late@example.org>\r\n",
    b"DATA\r\n", b"hello\r\n", b".\r\n", b"\r\n.\r\n", b"\n.\n", b"BDAT 5\r\n", b"12345", b"BDAT 3 LAST\r\n", b"a\r\n",
    b"BDAT 0 LAST\r\n", b"RSET\r\n", b"NOOP\r\n", b"AUTH PLAIN\r\n", b"AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", b"*\r\n",
    b"AGpvZQBzZWNyZXQ=\r\n", b"QUIT\r\n", b"\r", b"\n", b"\0", b"\xff\xfe", b"VRFY x\r\n", b"x" * 3000, b"HELP\r\n",
]  # fmt: skip
TRACE = re.compile(rb"\b[0-9a-z]{16}\b")


def answers(listen: Callable[..., Any], service: str, octets: bytes, chop: int | None) -> tuple[bytes, bool, int]:
    listener = listen(service, reject_unauth_pipelining=False, unknown_recipient_delay=0)
    client = listener.connect(peer="127.0.0.1")
    client.transport.send(octets, chop)
    heard = client.transport.take()
    closed = client.is_closed()
    client.transport.drop()
    client.transport.turn()
    assert listener.target.open == 0
    return TRACE.sub(b"TRACE", heard), closed, len(listener.target.messages)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["smtp", "submission", "lmtp"]),
    st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=25).map(b"".join),
    st.integers(1, 9),
)
def test_noise(listen: Callable[..., Any], service: str, octets: bytes, chop: int) -> None:
    failures: list[Any] = []

    def watch(event: Any) -> None:
        if "log_failure" in event:
            failures.append(event)

    globalLogPublisher.addObserver(watch)
    try:
        prefix = b"LHLO me\r\n" if service == "lmtp" else b"EHLO me\r\n"
        whole = answers(listen, service, prefix + octets, None)
        assert whole == answers(listen, service, prefix + octets, chop)
        assert all(re.match(rb"[2345][0-9][0-9][ -]", line) for line in whole[0].splitlines())
    finally:
        globalLogPublisher.removeObserver(watch)
    assert not failures, failures
