"""TLS on real sockets: STARTTLS, implicit TLS, and what is slipped in between."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread

from twisted_mail_kit.net.tls import self_signed
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.fakes import CollectingTarget, FakeAuthenticator


class Account:
    name = "joe"


@asynccontextmanager
async def serving(service: str, implicit: bool = False) -> AsyncIterator[tuple[int, CollectingTarget]]:
    target = CollectingTarget()
    authenticator = FakeAuthenticator({"joe": ("secret", Account())})
    certificate = self_signed("localhost")
    factory = make_factory(
        service, "mx.example.org", target, authenticator, None if implicit else certificate, SMTPSettings(), reactor
    )
    if implicit:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        served: Any = TLSMemoryBIOFactory(certificate, False, factory, reactor)
    else:
        served = factory
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(served)
    try:
        yield port.getHost().port, target
    finally:
        await port.stopListening()
        await factory.drain(1)


def context() -> ssl.SSLContext:
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return trusting


async def in_thread(does: Callable[..., Any], *args: Any) -> Any:
    return await deferToThread(does, *args)


async def test_starttls_login_and_a_large_message() -> None:
    body = b"Subject: large\r\n\r\n" + b"0123456789" * 7 * 30_000 + b"\r\n"

    def client(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
            smtp.starttls(context=context())
            smtp.ehlo()
            assert not smtp.has_extn("starttls")
            smtp.login("joe", "secret")
            smtp.sendmail("joe@example.org", ["ann@example.net"], body)

    async with serving("submission") as (port, target):
        await in_thread(client, port)
        (message,) = target.messages
        assert message.octets == body
        assert message.envelope.peer.tls.startswith("TLSv1.")
        assert message.envelope.peer.login == "joe"


async def test_implicit_tls() -> None:
    def client(port: int) -> None:
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=context()) as smtp:
            smtp.ehlo()
            assert not smtp.has_extn("starttls")
            smtp.login("joe", "secret")
            smtp.sendmail("joe@example.org", ["ann@example.net"], b"hello\r\n")

    async with serving("submissions", implicit=True) as (port, target):
        await in_thread(client, port)
        (message,) = target.messages
        assert message.envelope.peer.tls.startswith("TLSv1.")


async def test_a_command_slipped_in_before_the_handshake_is_never_done() -> None:
    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.recv(1000)
            line.sendall(b"EHLO me\r\n")
            line.recv(4000)
            line.sendall(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<joe@example.org>\r\n")
            heard = b""
            while octets := line.recv(4000):
                heard += octets
            return heard

    async with serving("smtp") as (port, target):
        assert (await in_thread(client, port)).startswith(b"554 5.5.0 ")
        assert target.open == 0


async def test_a_broken_handshake_ends_the_session_only() -> None:
    def client(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.recv(1000)
            line.sendall(b"EHLO me\r\n")
            line.recv(4000)
            line.sendall(b"STARTTLS\r\n")
            assert line.recv(1000).startswith(b"220 ")
            line.sendall(b"MAIL FROM:<evil@example.org>\r\n" * 10)
            try:
                while line.recv(1000):
                    pass
            except ConnectionResetError:
                pass
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
            assert smtp.noop()[0] == 250

    async with serving("smtp") as (port, target):
        await in_thread(client, port)
        assert target.open == 0
