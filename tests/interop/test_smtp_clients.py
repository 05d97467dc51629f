"""Real clients: smtplib (SMTP and LMTP), swaks, curl."""

from __future__ import annotations

import shutil
import smtplib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from twisted_mail_kit.errors import Refused
from twisted_mail_kit.mail.outcome import Delayed, Status
from twisted_mail_kit.net.tls import self_signed
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.fakes import CollectingTarget, FakeAuthenticator

pytestmark = pytest.mark.interop


class Account:
    name = "joe"


@asynccontextmanager
async def serving(
    service: str, endpoint: str = "tcp:0:interface=127.0.0.1"
) -> AsyncIterator[tuple[int, CollectingTarget]]:
    target = CollectingTarget()
    target.refusals["nobody@example.org"] = Refused(Status("5.1.1", "Nobody here"))
    target.outcomes["late@example.org"] = Delayed(Status("4.2.2", "Full"))
    authenticator = FakeAuthenticator({"joe": ("secret", Account())})
    certificates = self_signed("localhost")
    factory = make_factory(service, "mx.example.org", target, authenticator, certificates, SMTPSettings(), reactor)
    port = await serverFromString(reactor, endpoint).listen(factory)
    try:
        yield getattr(port.getHost(), "port", 0), target
    finally:
        await port.stopListening()
        await factory.drain(1)


async def run(program: str, *args: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    out, err, code = await getProcessOutputAndValue(path, args, env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"})
    assert code == 0, (out + err).decode("utf-8", "replace")
    return (out + err).decode("utf-8", "replace")


async def test_smtplib_sends() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.net", "joe@example.org", "dots"
    message.set_content(".\n..\nhello\n.\n")

    def client(port: int) -> dict[str, Any]:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
            refused: dict[str, Any] = smtp.send_message(message, to_addrs=["joe@example.org", "nobody@example.org"])
            assert smtp.vrfy("joe")[0] == 252
            assert smtp.has_extn("pipelining")
            return refused

    async with serving("smtp") as (port, target):
        refused = await deferToThread(client, port)
        assert refused == {"nobody@example.org": (550, b"5.1.1 Nobody here")}
        (taken,) = target.messages
        assert taken.octets.endswith(b"\r\n\r\n.\r\n..\r\nhello\r\n.\r\n")


async def test_smtplib_sends_utf8() -> None:
    def client(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
            smtp.ehlo()
            smtp.sendmail(
                "änn@example.net", ["jö@exämple.org"], "Subject: grüße\r\n\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"]
            )

    async with serving("smtp") as (port, target):
        await deferToThread(client, port)
        (taken,) = target.messages
        assert taken.envelope.sender is not None
        assert taken.envelope.sender.local == "änn"
        assert taken.envelope.smtputf8


async def test_lmtp_over_a_unix_socket() -> None:
    folder = tempfile.mkdtemp()
    path = Path(folder) / "lmtp"

    def client() -> list[bytes]:
        with smtplib.LMTP(str(path)) as lmtp:
            lmtp.ehlo()
            assert lmtp.docmd("MAIL FROM:<ann@example.net>")[0] == 250
            for one in ("joe", "late", "jim"):
                assert lmtp.docmd(f"RCPT TO:<{one}@example.org>")[0] == 250
            assert lmtp.docmd("DATA")[0] == 354
            lmtp.send(b"hello\r\n.\r\n")
            return [b"%d %s" % lmtp.getreply() for _ in range(3)]

    try:
        async with serving("lmtp", f"unix:{path}") as (_, target):
            answers = await deferToThread(client)
            assert [answer[:9] for answer in answers] == [b"250 2.0.0", b"452 4.2.2", b"250 2.0.0"]
            assert len(target.messages) == 1
            assert target.messages[0].envelope.peer.is_local
    finally:
        shutil.rmtree(folder)


async def test_swaks_sends_plain_and_pipelined() -> None:
    async with serving("smtp") as (port, target):
        for more in ([], ["--pipeline"], ["--protocol", "SMTP"]):
            await run("swaks", "-s", f"127.0.0.1:{port}", "-f", "ann@example.net", "-t", "joe@example.org", *more)
        assert len(target.messages) == 3


async def test_swaks_submits_over_starttls_with_a_login() -> None:
    async with serving("submission") as (port, target):
        await run(
            "swaks", "-s", f"127.0.0.1:{port}", "-f", "joe@example.org", "-t", "ann@example.net",
            "-tls", "-a", "PLAIN", "-au", "joe", "-ap", "secret",
        )  # fmt: skip
        (taken,) = target.messages
        assert taken.envelope.peer.login == "joe"
        assert taken.envelope.peer.tls


async def test_swaks_speaks_lmtp() -> None:
    async with serving("lmtp") as (port, target):
        await run(
            "swaks", "-s", f"127.0.0.1:{port}", "--protocol", "LMTP", "-f", "ann@example.net", "-t", "joe@example.org"
        )
        assert len(target.messages) == 1


async def test_curl_submits(tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(b"From: joe@example.org\r\nSubject: hi\r\n\r\n.dot\r\n" + b"x" * 70_000 + b"\r\n")
    async with serving("submission") as (port, target):
        await run(
            "curl", "--silent", "--show-error", "--ssl-reqd", "--insecure", f"smtp://127.0.0.1:{port}",
            "--user", "joe:secret", "--mail-from", "joe@example.org", "--mail-rcpt", "ann@example.net",
            "--upload-file", str(mail),
        )  # fmt: skip
        (taken,) = target.messages
        assert taken.octets == mail.read_bytes()
