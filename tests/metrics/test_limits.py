"""Each limit is counted when it bites, once, and no other one is: connections, SMTP, messages."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.imap.conftest import Client as IMAPClient
from tests.imap.conftest import World as IMAPWorld
from tests.metrics.counting import bites, counting, reached
from tests.smtp.conftest import Client, Listener
from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.checks.low_disk import LowDisk
from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.delivery.pipeline import Pipeline
from twisted_mail_kit.delivery.routing import Router
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import Refused
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.metrics.limits import LIMITS, REACHED
from twisted_mail_kit.net.factory import ConnectionLimits
from twisted_mail_kit.stores.memory import MemoryStore

PACKAGE = Path(__file__).parents[2] / "twisted_mail_kit"


def test_every_limit_that_is_named_is_counted_somewhere() -> None:
    used: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        used.update(name.lower() for name in re.findall(r"\blimits\.([A-Z][A-Z0-9_]+)", path.read_text()))
    assert set(LIMITS) - used == set()


def test_every_limit_is_told_from_the_beginning() -> None:
    assert set(LIMITS) == set(REACHED)


def test_every_limit_has_a_test_here() -> None:
    named: set[object] = set()
    for path in Path(__file__).parent.glob("test_limits*.py"):
        named.update(node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    assert set(LIMITS) - named == set()


# --- connections ---------------------------------------------------------------------------------------------------


def listener_with(**limits: int) -> Listener:
    return Listener(connections=ConnectionLimits(**limits))


def test_connections_of_an_address() -> None:
    listener = listener_with(per_address=1)
    listener.connect()
    with bites("connections_per_address"):
        listener.connect()


def test_connections_of_an_address_within_a_minute() -> None:
    listener = listener_with(per_minute=1)
    listener.connect()
    with bites("connections_per_minute"):
        listener.connect()


def test_connections_of_a_listener() -> None:
    listener = listener_with(per_listener=1)
    with bites("connections_per_listener"):
        listener.connect()
        listener.connect("192.0.2.8")


def test_output_that_nobody_reads() -> None:
    world = IMAPWorld()
    for number in range(20):
        world.deliver(b"Subject: %d\r\n\r\n" % number + b"x" * 10_000)
    client = IMAPClient(world)
    client.ok("SELECT INBOX")
    with counting() as change:
        client.transport.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
        world.clock.advance(0)
    assert reached(change) == {"output_waiting"}


# --- SMTP ----------------------------------------------------------------------------------------------------------

MAIL, RCPT = "MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>"


def greeted(service: str = "smtp", **settings: Any) -> Client:
    client = Listener(service, **settings).connect()
    client.hears()
    client.says("LHLO there" if service == "lmtp" else "EHLO there")
    return client


def in_data(client: Client) -> Client:
    for line in (MAIL, RCPT):
        assert client.says(line)[0].startswith("250")
    assert client.says("DATA")[0].startswith("354")
    return client


def advance(client: Client, seconds: float) -> None:
    client.session.clock.advance(seconds)


def test_a_command_line() -> None:
    client = greeted()
    with bites("smtp_line"):
        client.says("NOOP " + "x" * 3000)


def test_errors() -> None:
    client = greeted(errors=1)
    with bites("smtp_errors"):
        client.says("RCPT TO:<x@y.example>")
        client.says("RCPT TO:<x@y.example>")


def test_unknown_commands() -> None:
    client = greeted(unknown_commands=1)
    with bites("smtp_unknown_commands"):
        client.says("HELLO")
        client.says("HELLO")


def test_junk_commands() -> None:
    client = greeted(junk_commands=2)
    with bites("smtp_junk_commands"):
        client.says("NOOP")
        client.says("NOOP")


def test_messages_of_a_connection() -> None:
    client = in_data(greeted(messages=1))
    client.says("Subject: x", "", ".")
    with bites("smtp_messages"):
        client.says(MAIL)


def test_messages_within_a_minute() -> None:
    client = in_data(greeted(messages_per_minute=1))
    client.says("Subject: x", "", ".")
    with bites("smtp_messages_per_minute"):
        client.says(MAIL)


def test_recipients_within_a_minute() -> None:
    client = greeted(recipients_per_minute=1)
    client.says(MAIL)
    client.says(RCPT)
    with bites("smtp_recipients_per_minute"):
        client.says(RCPT)


def test_recipients_of_a_message() -> None:
    client = greeted(recipients=100)
    client.says(MAIL)
    for _ in range(100):
        client.says(RCPT)
    with bites("smtp_recipients"):
        client.says(RCPT)


def test_the_size_of_a_message_as_it_is_announced_and_as_it_is() -> None:
    client = greeted(message_size=1000)
    with bites("smtp_message_size"):
        client.says(f"{MAIL} SIZE=1001")
    in_data(client)
    with bites("smtp_message_size"):
        client.says("x" * 999, ".")


def test_the_time_to_greet() -> None:
    client = Listener().connect()
    client.hears()
    with bites("smtp_time_to_greet"):
        advance(client, 31)


def test_the_time_between_commands() -> None:
    client = greeted()
    with bites("smtp_time_between_commands"):
        advance(client, 301)


def test_the_time_in_data() -> None:
    client = in_data(greeted())
    with bites("smtp_time_in_data"):
        advance(client, 181)


def test_the_time_for_a_message() -> None:
    client = in_data(greeted(time_for_message=100))
    with bites("smtp_time_for_message"):
        advance(client, 99)
        client.says("a line")
        advance(client, 2)


# --- messages ------------------------------------------------------------------------------------------------------


async def receive(octets: bytes, service: str = "smtp", **settings: Any) -> None:
    """By a pipeline over a store in memory."""
    given = DeliverySettings(**settings)
    store, accounts = MemoryStore(), Directory(["example.org"], ["joe@example.org"])
    router = Router(["example.org"], accounts, given)
    local = LocalDelivery(store, reactor, given, accounts)
    pipeline = Pipeline(hostname="mx", router=router, local=local, reactor=reactor, settings=given)
    peer = Peer("192.0.2.7", service=service, login="joe@example.org" if service == "submission" else "")
    delivery = await pipeline.begin(Envelope(Address("ann", "example.net"), peer, "id"))
    await delivery.add_recipient(Recipient(Address("joe", "example.org")))
    await delivery.write(octets)
    await delivery.commit()


FIELDS = b"From: ann@example.net\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <1@x.example>\r\n"


async def test_a_line_of_a_submitted_message() -> None:
    with bites("smtp_text_line"), pytest.raises(Refused):
        await receive(FIELDS + b"\r\n" + b"x" * 999 + b"\r\n", "submission")


async def test_a_header_section() -> None:
    with bites("header_section"), pytest.raises(Refused):
        await receive(FIELDS + b"X: y\r\n" * 1000 + b"\r\n")


async def test_hops() -> None:
    with bites("hops"), pytest.raises(Refused):
        await receive(b"Received: from there\r\n" * 30 + FIELDS + b"\r\n")


def nested(depth: int) -> bytes:
    octets = FIELDS
    for level in range(depth):
        octets += b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (level, level)
    return octets + b"\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(
            FIELDS + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 1000, id="parts"
        ),
        pytest.param(nested(60), id="depth"),
        pytest.param(
            FIELDS + b"Content-Type: text/plain" + b"".join(b"; p%d=1" % n for n in range(100)) + b"\r\n\r\n",
            id="parameters",
        ),
        pytest.param(
            FIELDS + b"Content-Type: multipart/mixed" + b"".join(b"; p%d=1" % n for n in range(100)) + b"\r\n\r\n",
            id="parameters of many parts",
        ),
    ],
)
async def test_the_structure_of_a_message(octets: bytes) -> None:
    with bites("mime"):
        await receive(octets)


async def test_the_structure_of_usual_messages_reaches_no_limit() -> None:
    with bites():
        await receive(nested(3))
        await receive(FIELDS + b"\r\nHello\r\n")


async def test_a_disk_without_room(tmp_path: Path) -> None:
    disk = SimpleNamespace(f_bavail=1, f_blocks=100)
    clock = Clock()
    check = LowDisk(tmp_path, clock, statvfs=lambda path: disk)
    with bites("low_disk"):
        assert check.is_low()
        clock.advance(1000)
        assert check.is_low()
    disk.f_bavail = 50
    with bites():
        clock.advance(1000)
        assert not check.is_low()
