"""The first words over a connection: greeting, EHLO, STARTTLS, AUTH."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.smtp.client.connection import ClientConnection
from twisted_mail_kit.smtp.client.login import Login, log_in
from twisted_mail_kit.smtp.client.outcomes import HostFailed, host_failed
from twisted_mail_kit.smtp.tlspolicy import REQUIRETLS_NOT_OFFERED, TLS_NOT_OFFERED, HostTLS
from twisted_mail_kit.smtp.wire import client as wire
from twisted_mail_kit.smtp.wire.client import Offers, read_offers


class Security(NamedTuple):
    """How a connection is to be protected."""

    when: Literal["never", "starttls", "at once"]
    """Not at all, after STARTTLS where it is offered (or must be), or before the greeting."""
    tls: HostTLS | None = None


PLAIN = Security("never")


async def open_session(connection: ClientConnection, security: Security, login: Login | None = None) -> None:
    """From the connection to where MAIL may be said. Raises HostFailed."""
    if security.when == "at once":
        assert security.tls is not None
        connection.start_tls(security.tls.context)
    greeting = await connection.hear(connection.times.greeting, "the connection")
    if greeting.code != 220:
        raise host_failed(greeting, connection.remote)
    if security.when == "at once":
        _verify(connection, security.tls)
    await hello(connection)
    if security.when == "starttls":
        assert security.tls is not None
        await _start_tls(connection, security.tls)
    if security.tls is not None and security.tls.needs_requiretls and not connection.offers.requiretls:
        raise HostFailed(REQUIRETLS_NOT_OFFERED._replace(remote=connection.remote), is_permanent=True, is_tls=True)
    if login is not None:
        await log_in(connection, login)


async def hello(connection: ClientConnection) -> None:
    """EHLO; HELO where that is not known (RFC 5321 3.2). LHLO has no older form (RFC 2033 4.1)."""
    verb = "LHLO" if connection.is_lmtp else "EHLO"
    connection.say(wire.hello(verb, connection.hostname))
    answer = await connection.hear(connection.times.hello, verb)
    if answer.code == 250:
        connection.offers = read_offers(answer)
        connection.esmtp = True
        return
    if connection.is_lmtp or answer.code < 500 or connection.is_tls:
        # One that offers STARTTLS knows EHLO: under TLS there is nothing to fall back to.
        raise host_failed(answer, connection.remote)
    connection.say(wire.hello("HELO", connection.hostname))
    answer = await connection.hear(connection.times.hello, "HELO")
    if answer.code != 250:
        raise host_failed(answer, connection.remote)
    connection.offers = Offers()
    connection.esmtp = False


async def _start_tls(connection: ClientConnection, tls: HostTLS) -> None:
    if not connection.offers.starttls:
        if tls.must_encrypt:
            raise HostFailed(TLS_NOT_OFFERED._replace(remote=connection.remote), is_tls=True)
        return
    # Behind the go-ahead nothing may come but the handshake; `start_tls` throws away what does.
    connection.say(wire.STARTTLS)
    answer = await connection.hear(connection.times.hello, "STARTTLS")
    if answer.code != 220:
        if tls.must_encrypt:
            text = f"STARTTLS was refused: {answer.code} {' '.join(answer.lines)}"[:500]
            raise HostFailed(Status("4.7.4", text, 0, connection.remote), is_tls=True)
        return
    connection.start_tls(tls.context)
    # RFC 3207 4.2: what was said before does not count, so it is said again. Only the name is told to whom we have
    # not looked at yet.
    await hello(connection)
    _verify(connection, tls)


def _verify(connection: ClientConnection, tls: HostTLS | None) -> None:
    assert tls is not None
    handle: Any = connection.transport.getHandle()  # type: ignore[union-attr]
    problem = tls.verify(handle)
    if problem is not None:
        status = tls.status(problem)._replace(remote=connection.remote)
        raise HostFailed(status, is_permanent=status.code.startswith("5"), is_tls=True)
