"""AUTH to a smarthost, client side: SCRAM-SHA-256 (RFC 5802), PLAIN, LOGIN, XOAUTH2."""

from __future__ import annotations

import binascii
from typing import Protocol

from attrs import field, frozen

from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.smtp.client.connection import ClientConnection
from twisted_mail_kit.smtp.client.outcomes import HostFailed, status_of
from twisted_mail_kit.smtp.wire import client as wire

_MOST_STEPS = 8


@frozen
class Login:
    """Who we are to a smarthost: a user with a password, or with an OAuth token."""

    user: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


async def log_in(connection: ClientConnection, login: Login) -> None:
    """Raises HostFailed: never permanently, for it is our own configuration, or the smarthost's, that is wrong and
    may be put right while the mail waits."""
    if not connection.is_tls:
        raise _cannot(connection, "4.7.11", "no password is sent without TLS")
    known = ("XOAUTH2",) if login.token else ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    mechanism = next((one for one in known if one in connection.offers.auth), None)
    if mechanism is None:
        offered = " ".join(sorted(connection.offers.auth)) or "none"
        raise _cannot(connection, "4.7.4", f"no SASL mechanism that we can use is offered (offered: {offered[:200]})")
    await _exchange(connection, login, mechanism)
    connection.login = login.user


async def _exchange(connection: ClientConnection, login: Login, mechanism: str) -> None:
    steps = _MECHANISMS[mechanism](login)
    connection.say(wire.auth(mechanism, _encoded(steps.first) if steps.first is not None else None))
    for _ in range(_MOST_STEPS):
        answer = await connection.hear(connection.times.hello, "AUTH")
        if answer.code != 334:
            break
        try:
            challenge = binascii.a2b_base64(answer.lines[-1].strip(), strict_mode=True)
            response = steps.respond(challenge)
        except Exception:  # scramp has more ways to fail on hostile input than its own exception
            connection.say(b"*\r\n")
            await connection.hear(connection.times.hello, "AUTH")
            raise _cannot(connection, "4.7.0", f"{mechanism}: the server's challenge makes no sense") from None
        connection.say(_encoded(response) + b"\r\n")
    if answer.code != 235:
        status = status_of(answer, connection.remote)
        code = "4.7.8" if status.code.endswith(".0.0") else f"4{status.code[1:]}"
        text = f"login as {login.user} refused: {answer.code} {status.text}"
        raise HostFailed(Status(code, text, 0, connection.remote))
    if not steps.is_proven:
        raise _cannot(connection, "4.7.0", f"{mechanism}: the server has not proved that it knows us")


class _Steps(Protocol):
    first: bytes | None
    """The initial response; None: the server speaks first."""
    is_proven: bool
    """The server has shown what it has to show."""

    def __init__(self, login: Login) -> None: ...

    def respond(self, challenge: bytes) -> bytes:
        """May raise anything."""


class _Plain:
    """RFC 4616."""

    is_proven = True

    def __init__(self, login: Login) -> None:
        self.first: bytes | None = f"\0{login.user}\0{login.password}".encode()

    def respond(self, challenge: bytes) -> bytes:
        assert self.first is not None
        return self.first


class _Login:
    """draft-murchison-sasl-login-00."""

    first: bytes | None = None
    is_proven = True

    def __init__(self, login: Login) -> None:
        self._left = [login.user.encode(), login.password.encode()]

    def respond(self, challenge: bytes) -> bytes:
        return self._left.pop(0)


class _XOAuth2:
    """Google's; a refused token is told of in a challenge that wants an empty response."""

    is_proven = True

    def __init__(self, login: Login) -> None:
        self.first: bytes | None = f"user={login.user}\x01auth=Bearer {login.token}\x01\x01".encode()

    def respond(self, challenge: bytes) -> bytes:
        return b""


class _Scram:
    """RFC 7677; the server proves itself too."""

    def __init__(self, login: Login) -> None:
        from scramp import ScramClient

        self._client = ScramClient(["SCRAM-SHA-256"], login.user, login.password)
        self.first: bytes | None = self._client.get_client_first().encode()
        self._has_first = False
        self.is_proven = False

    def respond(self, challenge: bytes) -> bytes:
        text = challenge.decode()
        if not self._has_first:
            self._client.set_server_first(text)
            final: str = self._client.get_client_final()
            self._has_first = True
            return final.encode()
        self._client.set_server_final(text)
        self.is_proven = True
        return b""


_MECHANISMS: dict[str, type[_Steps]] = {
    "SCRAM-SHA-256": _Scram,
    "PLAIN": _Plain,
    "LOGIN": _Login,
    "XOAUTH2": _XOAuth2,
}


def _encoded(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _cannot(connection: ClientConnection, code: str, text: str) -> HostFailed:
    return HostFailed(Status(code, text, 0, connection.remote))
