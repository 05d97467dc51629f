"""aiosmtpd and smtp-sink as the next server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import AuthResult, LoginPassword
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome
from twisted_mail_kit.mail.records import Answer
from twisted_mail_kit.net.tls import self_signed_pem
from twisted_mail_kit.smtp.client.settings import ClientTimes
from twisted_mail_kit.smtp.policies.settings import TLSPolicySettings
from twisted_mail_kit.smtp.relay import Relay, RelaySettings, RouteSettings

pytestmark = pytest.mark.interop

BODY = b"Subject: hi\r\n\r\n.\r\n..x\r\nlast\r\n"


class Names:
    async def lookup(self, name: str, kind: str) -> Answer:
        return Answer(("127.0.0.1",) if kind == "A" else (), name)


class Keeper:
    """aiosmtpd's handler."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("no"):
            return "550 5.1.1 nobody"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if b"later" in envelope.original_content:
            return "451 4.3.0 later"
        self.kept.append(envelope)
        return "250 2.0.0 kept"


class LMTPController(Controller):
    def factory(self) -> LMTP:
        return LMTP(self.handler, hostname="aio.example.net")


@contextlib.asynccontextmanager
async def aio(controller: type[Controller] = Controller, **options: Any) -> AsyncIterator[tuple[int, Keeper]]:
    keeper = Keeper()
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    made = controller(keeper, hostname="127.0.0.1", port=port, **options)
    await deferToThread(made.start)
    try:
        yield port, keeper
    finally:
        await deferToThread(made.stop)


def relay_to(port: int, trust: Path | None = None, **route: Any) -> Relay:
    one = RouteSettings(host="aio.example.net", port=port, **route)
    settings = RelaySettings(
        routes=(one,),
        tls=TLSPolicySettings(trust=trust),
        times=ClientTimes(greeting=20, hello=20, mail=20, rcpt=20, data=20, final=20),
    )
    return Relay(reactor, Names(), "our.example.com", settings)


async def send(relay: Relay, *to: str, octets: bytes = BODY) -> list[Outcome]:
    delivery = await relay.begin(Envelope(parse_address("ann@example.com"), Peer("", service="queue"), "trace"))
    for one in to:
        await delivery.add_recipient(Recipient(parse_address(one)))
    await delivery.write(octets)
    return list(await delivery.commit())


async def test_aiosmtpd_takes_it() -> None:
    async with aio() as (port, keeper):
        relay = relay_to(port)
        outcomes = await send(relay, "a@example.org", "no@example.org")
        assert isinstance(outcomes[0], Delivered)
        assert isinstance(outcomes[1], Failed)
        [outcome] = await send(relay, "a@example.org", octets=b"Subject: later\r\n\r\nx\r\n")
        assert isinstance(outcome, Delayed)
        assert outcome.status[:3] == ("4.3.0", "later", 451)
        [outcome] = await send(relay, "a@example.org", octets="Subject: x\r\n\r\nGrüße\r\n".encode())
        assert isinstance(outcome, Delivered)
        await relay.stop()
        assert [one.original_content for one in keeper.kept] == [BODY, "Subject: x\r\n\r\nGrüße\r\n".encode()]


async def test_aiosmtpd_as_a_smarthost_with_tls_and_a_login(tmp_path: Path) -> None:
    pem = self_signed_pem("aio.example.net")
    (tmp_path / "server.pem").write_bytes(pem)
    (tmp_path / "trust.pem").write_bytes(pem[: pem.index(b"-----BEGIN PRIVATE")])
    (tmp_path / "password").write_text("geheim\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data == LoginPassword(b"joe", b"geheim"), handled=False)

    async with aio(
        tls_context=context, require_starttls=True, auth_required=True, authenticator=check
    ) as (port, keeper):  # fmt: skip
        relay = relay_to(port, tmp_path / "trust.pem", user="joe", password_file=tmp_path / "password")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delivered), outcome
        await relay.stop()
        (tmp_path / "password").write_text("falsch\n")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delayed)
        assert outcome.status.code == "4.7.8"
        assert len(keeper.kept) == 1
        await relay.stop()


async def test_aiosmtpd_s_lmtp() -> None:
    async with aio(LMTPController) as (port, keeper):
        relay = relay_to(port, lmtp=True)
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delivered)
        await relay.stop()
        assert [one.original_content for one in keeper.kept] == [BODY]


@contextlib.contextmanager
def sink(*options: str) -> Iterator[int]:
    """Postfix's smtp-sink."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("smtp-sink is not installed")
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    as_user = ["-u", "postfix"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *as_user, *options, f"127.0.0.1:{port}", "100"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ((), Delivered, "2.0.0"),
        (("-8",), Delivered, "2.0.0"),
        (("-e",), Delivered, "2.0.0"),
        (("-p",), Delivered, "2.0.0"),
        (("-q", "data"), Delayed, "4.4.2"),
        (("-q", "mail"), Delayed, "4.4.2"),
        (("-q", "."), Delayed, "4.4.2"),
        (("-r", "rcpt"), Delayed, "4.3.0"),
        (("-r", "."), Delayed, "4.3.0"),
        (("-f", "mail"), Failed, "5.3.0"),
        (("-f", "data"), Failed, "5.3.0"),
        (("-f", "connect"), Failed, "5.3.0"),
        (("-r", "connect"), Delayed, "4.3.0"),
        (("-f", "ehlo"), Delivered, "2.0.0"),
    ],
    ids=str,
)
async def test_smtp_sink_in_all_its_moods(options: Any, kind: type, code: str) -> None:
    with sink(*options) as port:
        relay = relay_to(port, tls="none")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, kind), outcome
        assert outcome.status.code == code
        await relay.stop()


async def test_hundreds_of_messages_over_twenty_connections() -> None:
    with sink() as port:
        relay = relay_to(port, tls="none")

        async def some() -> None:
            for _ in range(30):
                [outcome] = await send(relay, "a@example.org")
                assert isinstance(outcome, Delivered)

        await gatherResults([Deferred.fromCoroutine(some()) for _ in range(20)])
        assert relay.pool.count() <= 20
        await relay.stop()
        assert relay.pool.count() == 0
