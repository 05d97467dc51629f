"""MailKit: embedded in an application, on every kind of endpoint, reloaded, and stopped."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import reactor
from twisted.internet.defer import FirstError
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.fittings import KitSettings
from twisted_mail_kit.kit import MailKit
from twisted_mail_kit.net.tls import Certificates, self_signed_pem
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.stores.memory import MemoryStore

MESSAGE = "From: ann@example.net\r\nSubject: hello\r\n\r\nHello.\r\n"


def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    return deferToThread(work, *arguments)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    file = tmp_path / "certificate.pem"
    file.write_bytes(self_signed_pem("localhost"))
    return Certificates(file)


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def new_kit(**more: Any) -> MailKit:
    passwords = InMemoryUsernamePasswordDatabaseDontUse(**{"joe@example.org": b"secret"})
    arguments = {"hostname": "mx.example.org", "domains": ["example.org"], "store": MemoryStore(), "auth": passwords}
    return MailKit(**{**arguments, **more})


def send(port: int, to: str = "joe@example.org") -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        return client.sendmail("ann@example.net", [to], MESSAGE)


def read_imap(port: int) -> list[bytes]:
    imap = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    imap.login("joe@example.org", "secret")
    imap.select("INBOX", readonly=True)
    _, rows = imap.fetch("1:*", "(BODY.PEEK[])")
    imap.logout()
    return [row[1] for row in rows if isinstance(row, tuple)]


async def test_ten_lines_make_a_mail_server(running: Any) -> None:
    kit = new_kit()
    kit.listen("smtp", "tcp:0:interface=127.0.0.1")
    kit.listen("imap", "tcp:0:interface=127.0.0.1")
    ports = await running(kit)
    assert await in_thread(send, ports["smtp"]) == {}
    (octets,) = await in_thread(read_imap, ports["imap"])
    assert octets.endswith(MESSAGE.encode())


async def test_implicit_tls_and_starttls_show_the_kits_certificate(running: Any, certificates: Certificates) -> None:
    kit = new_kit(certificates=certificates)
    kit.listen("imap", "tcp:0:interface=127.0.0.1", tls="implicit")
    kit.listen("pop3", "tcp:0:interface=127.0.0.1")
    kit.listen("submission", "tcp:0:interface=127.0.0.1")
    ports = await running(kit)
    assert {one.service: one.tls for one in kit.listeners} == {
        "imap": "implicit",
        "pop3": "starttls",
        "submission": "starttls",
    }

    def imap_login() -> tuple[str, ...]:
        imap = imaplib.IMAP4_SSL("127.0.0.1", ports["imap"], ssl_context=unverified(), timeout=20)
        capabilities = imap.capabilities
        imap.login("joe@example.org", "secret")
        imap.logout()
        return capabilities

    assert "STARTTLS" not in await in_thread(imap_login)

    def pop_login() -> bytes:
        pop = poplib.POP3("127.0.0.1", ports["pop3"], timeout=20)
        pop.stls(unverified())
        pop.user("joe@example.org")
        return pop.pass_("secret")

    assert (await in_thread(pop_login)).startswith(b"+OK")

    def submit() -> bytes:
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as client:
            client.starttls(context=unverified())
            client.login("joe@example.org", "secret")
            client.sendmail(
                "joe@example.org", ["joe@example.org"], MESSAGE.replace("ann@example.net", "joe@example.org")
            )
        return client.ehlo_resp or b""

    await in_thread(submit)


async def test_an_ssl_endpoint_brings_its_own_certificate(running: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    file.write_bytes(self_signed_pem("own.example.org"))
    kit = new_kit()
    kit.listen("imap", f"ssl:0:interface=127.0.0.1:privateKey={file}:certKey={file}")
    ports = await running(kit)
    assert kit.listeners[0].tls == "implicit"

    def login() -> str:
        imap = imaplib.IMAP4_SSL("127.0.0.1", ports["imap"], ssl_context=unverified(), timeout=20)
        return str(imap.login("joe@example.org", "secret")[0])

    assert await in_thread(login) == "OK"


async def test_behind_a_proxy_the_clients_own_address_counts(running: Any) -> None:
    kit = new_kit()
    kit.listen("smtp", "haproxy:tcp:0:interface=127.0.0.1")
    kit.listen("imap", "tcp:0:interface=127.0.0.1")
    ports = await running(kit)

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", ports["smtp"]), 20) as line:
            line.sendall(b"PROXY TCP4 192.0.2.77 127.0.0.1 40000 25\r\n")
            file = line.makefile("rwb")
            for command in (
                b"EHLO client.example.net",
                b"MAIL FROM:<>",
                b"RCPT TO:<joe@example.org>",
                b"DATA",
                b"Subject: x\r\n\r\nx\r\n.",
                b"QUIT",
            ):
                while file.readline()[3:4] == b"-":
                    pass
                file.write(command + b"\r\n")
                file.flush()
            return file.read()

    assert await in_thread(talk)
    (octets,) = await in_thread(read_imap, ports["imap"])
    assert b"[192.0.2.77]" in octets


async def test_without_the_proxys_header_there_is_no_session(running: Any) -> None:
    kit = new_kit()
    kit.listen("smtp", "haproxy:tcp:0:interface=127.0.0.1")
    ports = await running(kit)

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", ports["smtp"]), 20) as line:
            line.sendall(b"EHLO client.example.net\r\n")
            return line.recv(100)

    assert await in_thread(talk) == b""


async def test_lmtp_listens_on_a_unix_socket(running: Any, tmp_path: Path) -> None:
    kit = new_kit()
    kit.listen("lmtp", f"unix:{tmp_path}/lmtp")
    await running(kit)
    assert kit.listeners[0].host == f"{tmp_path}/lmtp"
    assert kit.listeners[0].port == 0

    def deliver() -> dict[str, tuple[int, bytes]]:
        with smtplib.LMTP(f"{tmp_path}/lmtp") as client:
            return client.sendmail("ann@example.net", ["joe@example.org"], MESSAGE)

    assert await in_thread(deliver) == {}


async def test_a_bare_factory_can_be_put_anywhere(running: Any) -> None:
    kit = new_kit()
    await running(kit)
    port = reactor.listenTCP(0, kit.factory("imap"), interface="127.0.0.1")  # type: ignore[attr-defined]
    try:
        await in_thread(
            lambda: imaplib.IMAP4("127.0.0.1", port.getHost().port, timeout=20).login("joe@example.org", "secret")
        )
    finally:
        await port.stopListening()


async def test_a_reload_serves_new_connections_and_leaves_the_old_ones(running: Any) -> None:
    kit = new_kit()
    kit.listen("smtp", "tcp:0:interface=127.0.0.1")
    ports = await running(kit)
    old = await in_thread(smtplib.SMTP, "127.0.0.1", ports["smtp"])
    smaller = KitSettings(smtp=SMTPSettings(message_size=4321))
    kit.reread = lambda: evolve(kit.fittings, settings=smaller)
    assert kit.reload()
    new = await in_thread(smtplib.SMTP, "127.0.0.1", ports["smtp"])
    await in_thread(old.ehlo)
    await in_thread(new.ehlo)
    assert new.esmtp_features["size"] == "4321"
    assert old.esmtp_features["size"] != "4321"
    await in_thread(old.quit)
    await in_thread(new.quit)


async def test_a_bare_factory_is_drained_after_a_reload_too(running: Any) -> None:
    kit = new_kit()
    await running(kit)
    factory = kit.factory("imap")
    kit.reread = lambda: kit.fittings
    assert kit.reload()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    imap = await in_thread(imaplib.IMAP4, "127.0.0.1", port.getHost().port, 5)
    await port.stopListening()
    await kit.stopService()
    assert (await in_thread(imap.readline)).startswith(b"* BYE")
    await in_thread(imap.shutdown)


async def test_a_reload_with_errors_changes_nothing(running: Any) -> None:
    kit = new_kit()
    before = kit.fittings, kit.parts

    def wrong() -> Any:
        raise ConfigurationError(["mailkit.toml: hostname: is missing"])

    kit.reread = wrong
    assert not kit.reload()
    assert (kit.fittings, kit.parts) == before


async def test_no_open_relay_for_strangers_and_none_without_a_way_out(running: Any) -> None:
    kit = new_kit(settings=KitSettings(smtp=SMTPSettings(unknown_recipient_delay=0)))
    kit.listen("smtp", "tcp:0:interface=127.0.0.1")
    ports = await running(kit)

    def codes() -> list[int]:
        with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=20) as client:
            client.ehlo("client.example.net")
            client.mail("ann@example.net")
            wanted = (
                "<joe@elsewhere.example>",
                "<@example.org:joe@elsewhere.example>",
                "<joe%elsewhere.example@example.org>",
                "<elsewhere.example!joe@example.org>",
                '<"joe@elsewhere.example"@example.org>',
                "<joe@[192.0.2.1]>",
            )
            return [client.docmd("RCPT", f"TO:{path}")[0] for path in wanted]

    assert await in_thread(codes) == [550] * 6


@pytest.mark.parametrize(
    ("service", "endpoint", "tls"),
    [
        ("smpt", "tcp:0", None),
        ("imap", "tcp:0", "sometimes"),
        ("imap", "tcp:0", "implicit"),
        ("imap", "tcp", None),
        ("imap", "tcp:imap4", None),
        ("imap", "pigeon:0", None),
        ("imap", "ssl:0:privateKey=/nowhere.pem", None),
    ],
)
async def test_what_cannot_be_listened_for_is_an_error_at_once(service: str, endpoint: str, tls: str | None) -> None:
    with pytest.raises(ConfigurationError):
        new_kit().listen(service, endpoint, tls)


async def test_a_port_that_is_taken_fails_the_start(running: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        kit = new_kit()
        kit.listen("smtp", f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        kit.startService()
        with pytest.raises(FirstError) as raised:
            await kit.ready
        assert raised.value.subFailure.check(CannotListenError)
        await kit.stopService()
