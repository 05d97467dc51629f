"""docs/embedding.md: each program on the page runs, and does what the page says."""

from __future__ import annotations

import imaplib
import poplib
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IServiceCollection
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

PAGE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()
PROGRAMS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
MESSAGE = "Subject: hello\r\n\r\nHello.\r\n"
TESTED: set[str] = set()


def program(name: str, home: str = "") -> dict[str, Any]:
    """Run a program of the page, on free ports of this machine."""
    code = re.sub(r'"tcp:\d+[^"]*"', '"tcp:0:interface=127.0.0.1"', PROGRAMS[name])
    if home:
        code = code.replace("/var/lib/shop", home)
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, name, "exec"), namespace)
    TESTED.add(name)
    return namespace


def send(port: int, *to: str, client: type[smtplib.SMTP] = smtplib.SMTP, message: str = MESSAGE) -> Any:
    with client("127.0.0.1", port, timeout=20) as session:
        return session.sendmail("bob@example.net", to, message)


def imap_messages(port: int, user: str, password: str) -> list[bytes]:
    session = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    session.login(user, password)
    session.select("INBOX", readonly=True)
    _, rows = session.fetch("1:*", "(BODY.PEEK[])")
    session.logout()
    return [row[1] for row in rows if isinstance(row, tuple)]


def pop3_messages(port: int) -> list[bytes]:
    session = poplib.POP3("127.0.0.1", port, timeout=20)
    session.user("joe@example.org")
    session.pass_("secret")
    messages = [b"\r\n".join(session.retr(number + 1)[1]) for number in range(session.stat()[0])]
    session.quit()
    return messages


async def test_in_ten_lines(running: Any) -> None:
    page = program("shop.tac")
    assert list(IServiceCollection(page["application"])) == [page["kit"]]
    ports = await running(page["kit"])
    assert await deferToThread(send, ports["smtp"], "joe@example.org") == {}
    (octets,) = await deferToThread(imap_messages, ports["imap"], "joe@example.org", "secret")
    assert octets.endswith(MESSAGE.encode())


async def test_mail_into_a_function(running: Any) -> None:
    page = program("tickets.py")
    ports = await running(page["kit"])
    await deferToThread(send, ports["smtp"], "help@example.org", "more@example.org")
    ((sender, names, octets),) = page["tickets"]
    assert (sender, names) == ("bob@example.net", ["help@example.org", "more@example.org"])
    assert octets.endswith(MESSAGE.encode())
    with pytest.raises(smtplib.SMTPDataError, match="A ticket is shorter"):
        await deferToThread(lambda: send(ports["smtp"], "help@example.org", message="A: 1\r\n\r\n" + "x\r\n" * 40_000))


async def test_a_target_that_says_no_to_a_recipient(running: Any) -> None:
    page = program("rooms.py")
    ports = await running(page["kit"])
    refused = await deferToThread(
        lambda: send(ports["lmtp"], "kitchen@house.example.org", "attic@house.example.org", client=smtplib.LMTP)
    )
    assert list(refused) == ["attic@house.example.org"]
    assert page["rooms"].rooms["kitchen"][0].endswith(MESSAGE.encode())
    assert page["rooms"].rooms["hall"] == []


async def test_in_a_reactor_of_your_own(capsys: pytest.CaptureFixture[str]) -> None:
    page = program("inside.py")
    over = ensureDeferred(page["main"](reactor))
    while (printed := capsys.readouterr().out).count("\n") < 2:
        await pause()
    smtp, pop3 = [int(port) for port in re.findall(r"127\.0\.0\.1 (\d+)", printed)]
    await deferToThread(send, smtp, "joe@example.org")
    (octets,) = await deferToThread(pop3_messages, pop3)
    assert octets.endswith(b"Hello.")
    page["enough"].callback(None)
    await over
    with pytest.raises(ConnectionRefusedError):
        await deferToThread(send, smtp, "joe@example.org")


async def test_accounts_and_logins_of_your_own(running: Any) -> None:
    page = program("customers.py")
    ports = await running(page["kit"])
    refused = await deferToThread(send, ports["smtp"], "sales@example.org", "joe@example.org", "nobody@example.org")
    assert list(refused) == ["nobody@example.org"]
    assert len(await deferToThread(imap_messages, ports["imap"], "Ann@example.org", "Geheim")) == 1
    with pytest.raises(imaplib.IMAP4.error):
        await deferToThread(imap_messages, ports["imap"], "joe@example.org", "Geheim")


async def test_what_you_have_from_twisted_mail(running: Any) -> None:
    ports = await running(program("mounted.py")["kit"])
    refused = await deferToThread(send, ports["smtp"], "joe@example.org", "ann@example.org")
    assert list(refused) == ["ann@example.org"]
    (octets,) = await deferToThread(pop3_messages, ports["pop3"])
    assert octets.endswith(b"Subject: hello\r\n\r\nHello.")


async def test_mail_to_other_servers(running: Any, tmp_path: Path) -> None:
    page = program("sending.py", str(tmp_path))
    await page["kit"].fittings.auth[0].set_password("joe@example.org", "secret")
    ports = await running(page["kit"])

    def submit() -> None:
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as session:
            session.login("joe@example.org", "secret")
            session.sendmail("joe@example.org", ["ann@example.invalid"], "From: joe@example.org\r\n" + MESSAGE)

    await deferToThread(submit)
    ((message, recipients),) = await page["outgoing"].desk.spool.messages()
    assert [str(one.recipient.address) for one in recipients] == ["ann@example.invalid"]
    assert str(message.envelope.sender) == "joe@example.org"


@pytest.fixture
def counting() -> Iterator[dict[str, Any]]:
    page = program("counting.py")
    yield page
    globalLogPublisher.removeObserver(page["count"])


async def test_logging(running: Any, counting: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    ports = await running(program("shop.tac")["kit"])
    await deferToThread(send, ports["smtp"], "joe@example.org")
    assert counting["outcomes"] == {"250 2.0.0": 1}
    assert re.fullmatch(r"\w{16} bob@example.net 1 26 250 2.0.0\n", capsys.readouterr().out)


async def test_testing() -> None:
    await program("test_shop.py")["test_a_ticket_comes_in"]()


def test_the_public_names_are_there() -> None:
    table = PAGE.partition("## What is public")[2]
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|$", table, re.MULTILINE):
        modules = re.findall(r"`([\w.]+)`", row[0])
        names = re.findall(r"`(\w+)`", row[1])
        for name in names:
            found = [module for module in modules if hasattr(imported(module), name)]
            assert found, f"{name} is in none of {modules}"


def test_every_program_of_the_page_was_run() -> None:
    if not TESTED:
        pytest.skip("only when all of this file runs")
    assert set(PROGRAMS) == TESTED
    assert PAGE.count("```python") == len(PROGRAMS)


def imported(module: str) -> Any:
    from importlib import import_module

    return import_module(f"twisted_mail_kit{module}" if module.startswith(".") else module)


def pause() -> Deferred[None]:
    from twisted.internet.task import deferLater

    return deferLater(reactor, 0.01)
