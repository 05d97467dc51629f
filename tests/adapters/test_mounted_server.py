"""A whole twisted.mail deployment behind our servers, with real clients; by Python, and by a configuration."""

from __future__ import annotations

import imaplib
import os
import poplib
import smtplib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.mail.mail import MailService

from tests.adapters.deployment import PostOffice, mail_service
from tests.interop.helpers import needs, run_program
from twisted_mail_kit import MailKit
from twisted_mail_kit.adapters import MountedDelivery, MountedLogins, MountedMailboxes
from twisted_mail_kit.adapters.plugin import _named
from twisted_mail_kit.assembly import Configured, check_configuration
from twisted_mail_kit.checks import Check
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.stores.memory import MemoryStore

MESSAGE = "From: ann@example.net\r\nSubject: hello\r\n\r\nHello.\r\n.dot\r\n"
LOOPBACK = "tcp:0:interface=127.0.0.1"


def mounted(service: MailService, **more: Any) -> MailKit:
    """The embedder's part of it, whole."""
    kit = MailKit(
        hostname="mx.example.org",
        store=MountedMailboxes(service.portals, reactor),
        auth=MountedLogins(service.portals, reactor),
        reception=MountedDelivery(service.smtpPortal, reactor, hostname="mx.example.org"),
        **more,
    )
    kit.listen("smtp", LOOPBACK)
    kit.listen("pop3", LOOPBACK)
    return kit


def send(port: int, *to: str, message: str | bytes = MESSAGE) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        return client.sendmail("ann@example.net", to, message)


def take(port: int, user: str = "joe@example.org", password: str = "secret", delete: bool = False) -> list[bytes]:
    client = poplib.POP3("127.0.0.1", port, timeout=20)
    client.user(user)
    client.pass_(password)
    messages = []
    for number in range(1, len(client.list()[1]) + 1):
        messages.append(b"".join(line + b"\r\n" for line in client.retr(number)[1]))
        if delete:
            client.dele(number)
    client.quit()
    return messages


async def test_mail_goes_into_a_twisted_mail_service_and_out_of_it(running: Any, tmp_path: Path) -> None:
    ports = await running(mounted(mail_service(tmp_path / "mail", joe="secret")))
    assert await deferToThread(send, ports["smtp"], "joe@example.org") == {}
    refused = await deferToThread(send, ports["smtp"], "joe@example.org", "nobody@example.org")
    assert refused == {"nobody@example.org": (550, b"5.1.0 Cannot receive for specified address")}
    first, second = await deferToThread(take, ports["pop3"], delete=True)
    assert first.endswith(b"Hello.\r\n.dot\r\n") and second.endswith(b"Hello.\r\n.dot\r\n")
    assert b"by mx.example.org (twisted_mail_kit) with ESMTP" in first
    assert await deferToThread(take, ports["pop3"]) == []


async def test_a_wrong_password_and_another_domain_are_refused(running: Any, tmp_path: Path) -> None:
    ports = await running(mounted(mail_service(tmp_path / "mail", joe="secret")))
    for user, password in [("joe@example.org", "Secret"), ("joe@example.net", "secret"), ("joe", "secret")]:
        with pytest.raises(poplib.error_proto, match="AUTH"):
            await deferToThread(take, ports["pop3"], user, password)


async def test_a_login_at_submission_has_the_delivery_of_that_name(running: Any, tmp_path: Path) -> None:
    service = mail_service(tmp_path / "mail", joe="secret")
    asked: list[bytes] = []
    request = service.requestAvatar

    def noted(avatar_id: Any, mind: object, *interfaces: Any) -> Any:
        asked.append(avatar_id)
        return request(None, mind, *interfaces)  # Twisted 26.10 breaks on names, at `user.encode("xtext")`

    service.requestAvatar = noted
    kit = mounted(service)
    kit.listen("submission", LOOPBACK)
    ports = await running(kit)

    def submit() -> None:
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as client:
            client.login("joe@example.org", "secret")
            client.sendmail("joe@example.org", ["joe@example.org"], MESSAGE)

    await deferToThread(submit)
    assert asked == [b"joe@example.org"]
    assert len(await deferToThread(take, ports["pop3"])) == 1


@pytest.mark.interop
@needs("swaks")
@needs("curl")
@needs("fetchmail")
async def test_swaks_curl_and_fetchmail_meet_in_a_maildir(running: Any, tmp_path: Path) -> None:
    ports = await running(mounted(mail_service(tmp_path / "mail", joe="secret")))
    server = f"--server=127.0.0.1:{ports['smtp']}"
    for number in range(2):
        await run_program(
            ["swaks", server, "--from=ann@example.net", "--to=joe@example.org", f"--header=Subject: swaks {number}"]
        )
    url = f"pop3://127.0.0.1:{ports['pop3']}/"
    listing = await run_program(["curl", "-s", "-u", "joe@example.org:secret", url])
    assert len(listing.output.splitlines()) == 2
    message = await run_program(["curl", "-s", "-u", "joe@example.org:secret", url + "2"])
    assert "Subject: swaks 1" in message.output
    box, rc = tmp_path / "box", tmp_path / "fetchmailrc"
    rc.write_text(
        f"poll 127.0.0.1 protocol POP3 port {ports['pop3']} uidl\n"
        f'  user "joe@example.org" password "secret" is "{tmp_path.owner()}" here no keep sslproto ""\n'
        f'  mda "/bin/cat >> {box}"\n'
    )
    rc.chmod(0o600)
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)}
    await run_program(["fetchmail", "--nosyslog", "-v", "-f", str(rc)], env=home)
    assert box.read_text().count("Subject: swaks") == 2
    assert not list((tmp_path / "mail" / "joe" / "new").iterdir())


async def test_a_message_of_twenty_megabytes_passes_both_ways(running: Any, tmp_path: Path) -> None:
    ports = await running(mounted(mail_service(tmp_path / "mail", joe="secret")))
    big = b"Subject: big\r\n\r\n" + (b"x" * 998 + b"\r\n") * 20_000
    assert await deferToThread(lambda: send(ports["smtp"], "joe@example.org", message=big)) == {}
    (octets,) = await deferToThread(take, ports["pop3"])
    assert octets.endswith(big)


async def test_any_delivery_target_can_be_the_reception(running: Any) -> None:
    from twisted_mail_kit.delivery.callable import FunctionTarget

    came: list[tuple[str, list[str], bytes]] = []

    async def take_in(envelope: Any, recipients: Any, content: Any) -> None:
        came.append((str(envelope.sender), [str(one.address) for one in recipients], content.read(0, content.size)))

    kit = MailKit(hostname="mx.example.org", store=MemoryStore(), reception=FunctionTarget(take_in, reactor))
    kit.listen("smtp", LOOPBACK)
    ports = await running(kit)
    assert await deferToThread(send, ports["smtp"], "anybody@anywhere.example") == {}
    ((sender, recipients, octets),) = came
    assert (sender, recipients) == ("ann@example.net", ["anybody@anywhere.example"])
    assert octets.startswith(b"Received: from ") and octets.endswith(MESSAGE.encode())


async def test_real_clients_log_in_by_cram_md5(running: Any, tmp_path: Path) -> None:
    service = mail_service(tmp_path / "mail", joe="secret")
    kit = MailKit(
        hostname="mx.example.org",
        store=MemoryStore(),
        domains=["example.org"],
        auth=MountedLogins(service.portals, reactor, cram_md5=True),
    )
    for name in ("submission", "imap", "pop3"):
        kit.listen(name, LOOPBACK)
    ports = await running(kit)

    def submission() -> None:
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as client:
            client.ehlo()
            client.user, client.password = "joe@example.org", "secret"
            assert client.auth("CRAM-MD5", client.auth_cram_md5)[0] == 235

    def imap() -> None:
        client = imaplib.IMAP4("127.0.0.1", ports["imap"], timeout=20)
        assert client.login_cram_md5("joe@example.org", "secret")[0] == "OK"
        client.logout()

    await deferToThread(submission)
    await deferToThread(imap)


@pytest.mark.interop
@needs("curl")
async def test_curl_logs_in_by_cram_md5(running: Any, tmp_path: Path) -> None:
    service = mail_service(tmp_path / "mail", joe="secret")
    kit = MailKit(
        hostname="mx.example.org",
        store=MountedMailboxes(service.portals, reactor),
        auth=MountedLogins(service.portals, reactor, cram_md5=True),
    )
    kit.listen("pop3", LOOPBACK)
    ports = await running(kit)
    options = ["--login-options", "AUTH=CRAM-MD5", "-u", "joe@example.org:secret"]
    await run_program(["curl", "-sS", *options, f"pop3://127.0.0.1:{ports['pop3']}/"])


async def test_a_mounted_delivery_can_be_the_way_out_behind_the_pipeline(running: Any) -> None:
    office = PostOffice("ann")
    kit = MailKit(
        hostname="mx.example.org",
        domains=["example.org"],
        store=MemoryStore(),
        auth=InMemoryUsernamePasswordDatabaseDontUse(**{"joe@example.org": b"secret"}),
        outbound=MountedDelivery(office, reactor),
    )
    kit.listen("submission", LOOPBACK)
    ports = await running(kit)

    def submit(*to: str) -> Any:
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as client:
            client.login("joe@example.org", "secret")
            return client.sendmail("joe@example.org", to, "From: joe@example.org\r\n\r\nHello.\r\n")

    assert await deferToThread(submit, "ann@example.net") == {}
    (printed,) = office.printed
    assert sum(line.startswith(b"Received: from ") for line in printed.lines) == 1
    with pytest.raises(smtplib.SMTPDataError, match=r"5\.1\.0"):
        await deferToThread(submit, "nobody@example.net")


# --- what cannot be ------------------------------------------------------------------------------------------------


def test_a_store_of_maildrops_serves_pop3_and_nothing_else(tmp_path: Path) -> None:
    service = mail_service(tmp_path / "mail", joe="secret")
    parts = {"store": MountedMailboxes(service.portals, reactor), "auth": MountedLogins(service.portals, reactor)}
    kit = MailKit(hostname="mx.example.org", **parts)  # type: ignore[arg-type]
    kit.listen("pop3", LOOPBACK)
    for what in (kit.listen, lambda service, _: kit.factory(service)):
        with pytest.raises(ConfigurationError, match="maildrops only"):
            what("imap", LOOPBACK)
        for name in ("smtp", "submission", "lmtp"):
            with pytest.raises(ConfigurationError, match="reception"):
                what(name, LOOPBACK)


def test_checks_that_nobody_would_ask_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="checks"):
        MailKit(
            hostname="mx.example.org",
            store=MemoryStore(),
            reception=MountedDelivery(PostOffice("joe"), reactor),
            checks=[Check()],
        )


# --- by a configuration --------------------------------------------------------------------------------------------

CONFIGURATION = """
hostname = "mx.example.org"
state = "state"

[store]
plugin = "twisted-mail"
object = "{module}:service.portals"

[auth]
plugin = "twisted-cred"
object = "{module}:service.portals"

[reception]
plugin = "twisted-mail"
object = "{module}:service.smtpPortal"

[[listen]]
service = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
service = "pop3"
endpoint = "tcp:0:interface=127.0.0.1"
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Callable[..., Path]:
    """Writes a configuration, and the application's module that it names."""
    module = f"shop_{abs(hash(request.node.name))}"
    code = f"""
        from pathlib import Path
        from tests.adapters.deployment import mail_service

        service = mail_service(Path({str(tmp_path / "mail")!r}), joe="secret")
    """
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)

    def write(more: str = "", top: str = "", **replaced: str) -> Path:
        text = top + CONFIGURATION.format(module=module) + more
        for old, new in replaced.items():
            text = text.replace(old, new)
        file = tmp_path / "mailkit.toml"
        file.write_text(text)
        return file

    yield write
    _named.cache_clear()


async def test_a_configuration_mounts_what_a_module_has(running: Any, configured: Callable[..., Path]) -> None:
    file = configured()
    assert check_configuration(file) == []
    server = Configured(file, reactor)
    try:
        ports = await running(server.open())
        assert await deferToThread(send, ports["smtp"], "joe@example.org") == {}
        assert server.kit.reload()
        (octets,) = await deferToThread(take, ports["pop3"])
        assert octets.endswith(MESSAGE.encode())
    finally:
        server.leave()


@pytest.mark.parametrize(
    ("more", "top", "replaced", "told"),
    [
        ("", "", {":service.smtpPortal": ":nothing"}, "AttributeError"),
        ("", "", {":service.smtpPortal": ""}, "object"),
        ("", "", {"[reception]": "[outbound]", 'object = "shop': 'object = "shoq'}, "PYTHONPATH"),
        ("", "", {":service.smtpPortal": ":Path.cwd"}, "expected, not"),
        ("[[check]]\nplugin = 'low-disk'\n", "", {}, "nobody asks the checks"),
    ],
)
def test_what_is_wrong_is_told_before_the_start(
    configured: Callable[..., Path], more: str, top: str, replaced: dict[str, str], told: str
) -> None:
    (problem,) = check_configuration(configured(more, top, **replaced))
    assert told in problem


@pytest.mark.parametrize(
    ("more", "top", "told"),
    [
        ("[[listen]]\nservice = 'imap'\nendpoint = 'tcp:0:interface=127.0.0.1'\n", "", "maildrops only"),
        ("", "workers = 2\n", "workers = 0"),
    ],
)
def test_what_cannot_go_together_does_not_start(
    configured: Callable[..., Path], more: str, top: str, told: str
) -> None:
    server = Configured(configured(more, top), reactor)
    try:
        with pytest.raises(ConfigurationError, match=told):
            server.open()
    finally:
        server.leave()
