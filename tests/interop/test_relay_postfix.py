"""Postfix as the next server: it accepts, greylists, refuses, is cut off; what arrives behind it is what was sent."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver

from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome
from twisted_mail_kit.mail.records import MX, Answer
from twisted_mail_kit.net.tls import self_signed_pem
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.relay import Relay, RelaySettings, RouteSettings
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.fakes import CollectingTarget

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("postfix", path="/usr/sbin:/usr/bin") is None, reason="postfix is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="postfix can only be started by root"),
]

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
relay unix - - n - - smtp
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
myhostname = postfix.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = example.org
relay_transport = relay:[127.0.0.1]:{behind}
smtp_tls_security_level = none
smtp_discard_ehlo_keywords = dsn
smtputf8_enable = yes
message_size_limit = 20000000
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_chain_files = {folder}/server.pem
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{ nobody@example.org = 550 5.1.1 nobody here }}, {{ full@example.org = 452 4.2.2 no room }} }},
    check_policy_service inet:127.0.0.1:{policy}
smtpd_sender_restrictions = check_sender_access inline:{{ {{ evil@example.com = REJECT }} }}
smtpd_end_of_data_restrictions =
header_checks = regexp:{{{{ /^Subject: spam/ REJECT no spam }}}}
"""  # noqa: E501


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Postfix:
    """Postfix with a configuration, a queue and a log of its own."""

    def __init__(self) -> None:
        self.port, self.behind, self.policy = free_port(), free_port(), free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-", dir="/tmp"))
        self.folder.chmod(0o755)  # its daemons are not root
        for name in ("queue", "data", "conf"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        pem = self_signed_pem("postfix.example.org")
        key = pem.index(b"-----BEGIN PRIVATE")
        (self.folder / "server.pem").write_bytes(pem[key:] + pem[:key])  # Postfix wants the key first
        for name in ("dynamicmaps.cf", "postfix-files"):
            source = Path("/etc/postfix") / name
            if source.exists():
                shutil.copy(source, self.folder / "conf" / name)
        facts = {"folder": self.folder, "port": self.port, "behind": self.behind, "policy": self.policy}
        (self.folder / "conf" / "master.cf").write_text(MASTER.format(**facts))
        (self.folder / "conf" / "main.cf").write_text(MAIN.format(**facts))

    def run(self, command: str) -> None:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.folder / "conf"), command],
            capture_output=True,
            timeout=60,
            check=False,
        )
        if done.returncode and command == "start":
            pytest.fail(f"postfix {command}: {done.stdout.decode()}{done.stderr.decode()}{self.log()}")

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    def start(self) -> None:
        self.run("start")
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as one:
                    assert one.recv(100).startswith(b"220")
                return
            except OSError:
                if time.monotonic() > deadline:
                    pytest.fail(f"postfix does not answer: {self.log()}")
                time.sleep(0.1)

    def stop(self) -> None:
        self.run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    one = Postfix()
    try:
        one.start()
        yield one
    finally:
        one.stop()


class Policy(LineOnlyReceiver):
    """A policy service: the first time that it hears of a recipient named grey, it says: later."""

    delimiter = b"\n"
    seen: set[bytes] = set()

    def connectionMade(self) -> None:
        self.facts: dict[bytes, bytes] = {}

    def lineReceived(self, line: bytes) -> None:
        if line:
            name, _, value = line.partition(b"=")
            self.facts[name] = value
            return
        who = self.facts.get(b"recipient", b"")
        is_new = who.startswith(b"grey") and who not in self.seen
        self.seen.add(who)
        self.sendLine(b"action=DEFER_IF_PERMIT 4.7.1 greylisted, come again\n" if is_new else b"action=DUNNO\n")
        self.facts = {}


class Names:
    def __init__(self) -> None:
        self.host = "127.0.0.1"

    async def lookup(self, name: str, kind: str) -> Answer:
        if kind == "MX":
            return Answer((MX(10, "postfix.example.org"),), name)
        return Answer((self.host,) if kind == "A" else (), name)


class World:
    def __init__(self, postfix: Postfix, target: CollectingTarget) -> None:
        self.postfix = postfix
        self.target = target

    def relay(self, port: int | None = None, **settings: Any) -> Relay:
        settings = {"port": port or self.postfix.port, "allow_loopback": True, **settings}
        return Relay(reactor, Names(), "our.example.com", RelaySettings(**settings))

    async def send(
        self,
        relay: Relay,
        *to: str,
        octets: bytes = b"Subject: hi\r\n\r\nbody\r\n",
        sender: str = "ann@example.com",
        **envelope: Any,
    ) -> list[Outcome]:
        made = Envelope(parse_address(sender), Peer("", service="queue"), "trace", **envelope)
        delivery = await relay.begin(made)
        for one in to:
            await delivery.add_recipient(Recipient(parse_address(one)))
        await delivery.write(octets)
        return list(await delivery.commit())

    async def arrived(self, count: int = 1, seconds: float = 20.0) -> list[Any]:
        """What has come out behind Postfix."""
        deadline = time.monotonic() + seconds
        while len(self.target.messages) < count and time.monotonic() < deadline:
            await deferLater(reactor, 0.05, lambda: None)
        assert len(self.target.messages) == count, self.postfix.log()
        return self.target.messages


@asynccontextmanager
async def world(postfix: Postfix) -> AsyncIterator[World]:
    target = CollectingTarget()
    made = make_factory("smtp", "behind.example.org", target, None, None, SMTPSettings(), reactor)
    ports = [
        await TCP4ServerEndpoint(reactor, postfix.behind, interface="127.0.0.1").listen(made),
        await TCP4ServerEndpoint(reactor, postfix.policy, interface="127.0.0.1").listen(Factory.forProtocol(Policy)),
    ]
    try:
        yield World(postfix, target)
    finally:
        for port in ports:
            await port.stopListening()
        await made.drain(1)


async def test_postfix_takes_it_over_tls_and_passes_it_on(postfix: Postfix) -> None:
    octets = b"Subject: hi\r\nX-Test: 1\r\n\r\n.\r\n..x\r\nGr\xc3\xbc\xc3\x9fe\r\n.\r\n"
    async with world(postfix) as there:
        relay = there.relay()
        [outcome] = await there.send(relay, "a@example.org", octets=octets)
        assert isinstance(outcome, Delivered)
        assert "queued as" in outcome.status.text
        assert outcome.status.remote == "postfix.example.org [127.0.0.1]"
        [message] = await there.arrived()
        assert message.octets.endswith(octets[octets.index(b"\r\n\r\n") :])
        assert b"using TLSv1.3" in message.octets
        assert str(message.envelope.sender) == "ann@example.com"
        await relay.stop()


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
async def test_a_large_message_arrives_as_it_was(postfix: Postfix, chunking: bool) -> None:
    octets = b"Subject: large\r\nX-Test: 1\r\n\r\n" + b".123456789abcdef\r\n" * 60_000
    async with world(postfix) as there:
        relay = there.relay(chunking=chunking)
        [outcome] = await there.send(relay, "a@example.org", octets=octets)
        assert isinstance(outcome, Delivered)
        [message] = await there.arrived()
        assert message.octets.endswith(octets[octets.index(b"\r\n\r\n") :])
        await relay.stop()


async def test_each_recipient_has_postfix_s_own_words(postfix: Postfix) -> None:
    async with world(postfix) as there:
        relay = there.relay()
        outcomes = await there.send(relay, "a@example.org", "nobody@example.org", "full@example.org")
        assert isinstance(outcomes[0], Delivered)
        assert isinstance(outcomes[1], Failed)
        assert outcomes[1].status[:3] == (
            "5.1.1",
            "<nobody@example.org>: Recipient address rejected: nobody here",
            550,
        )
        assert isinstance(outcomes[2], Delayed)
        assert (outcomes[2].status.code, outcomes[2].status.reply) == ("4.2.2", 452)
        [message] = await there.arrived()
        assert len(message.recipients) == 1
        await relay.stop()


async def test_a_sender_and_a_relay_that_are_refused(postfix: Postfix) -> None:
    async with world(postfix) as there:
        relay = there.relay()
        outcomes = await there.send(relay, "a@example.org", "b@example.org", sender="evil@example.com")
        assert [type(one) for one in outcomes] == [Failed, Failed]
        [outcome] = await there.send(relay, "a@elsewhere.example")
        assert isinstance(outcome, Failed)
        assert "Relay access denied" in outcome.status.text
        [outcome] = await there.send(relay, "a@example.org", octets=b"Subject: spam\r\n\r\nx\r\n")
        assert isinstance(outcome, Failed)
        assert "no spam" in outcome.status.text
        [outcome] = await there.send(relay, "a@example.org", octets=b"Subject: x\r\n\r\n" + b"x" * 21_000_000)
        assert isinstance(outcome, Failed)
        assert outcome.status.code == "5.3.4"
        [outcome] = await there.send(relay, "a@example.org")
        assert isinstance(outcome, Delivered), "the connection was of use all the time"
        await there.arrived()
        await relay.stop()


async def test_greylisting_is_a_delay_and_the_next_attempt_gets_through(postfix: Postfix) -> None:
    Policy.seen.clear()
    async with world(postfix) as there:
        relay = there.relay()
        outcomes = await there.send(relay, "grey@example.org", "a@example.org")
        assert isinstance(outcomes[0], Delayed)
        assert (outcomes[0].status.code, outcomes[0].status.reply) == ("4.7.1", 450)
        assert "greylisted" in outcomes[0].status.text
        assert isinstance(outcomes[1], Delivered)
        [outcome] = await there.send(relay, "grey@example.org")
        assert isinstance(outcome, Delivered)
        await there.arrived(2)
        await relay.stop()


async def test_international_mail(postfix: Postfix) -> None:
    octets = "Subject: Grüße\r\n\r\nhi\r\n".encode()
    async with world(postfix) as there:
        relay = there.relay()
        [outcome] = await there.send(relay, "jürgen@example.org", octets=octets, smtputf8=True)
        assert isinstance(outcome, Delivered)
        [message] = await there.arrived()
        assert str(message.recipients[0].address) == "jürgen@example.org"
        await relay.stop()


async def test_many_messages_over_few_connections(postfix: Postfix) -> None:
    async with world(postfix) as there:
        relay = there.relay()
        before = len(re.findall(r" connect from", postfix.log()))
        for _ in range(10):
            [outcome] = await there.send(relay, "a@example.org")
            assert isinstance(outcome, Delivered)
        await there.arrived(10)
        await relay.stop()
        await deferLater(reactor, 0.2, lambda: None)
        assert len(re.findall(r" connect from", postfix.log())) == before + 1


class Cutter(Protocol):
    """Passes on octets both ways, until the connection is to be cut: both ends at once."""

    port = 0
    said_cut: bytes | None = None
    """Cut when the server says this; it is not passed on."""
    sent_cut: int | None = None
    """Cut when the client has sent so many octets."""
    cuts = 0

    def connectionMade(self) -> None:
        self.sent = 0
        self.server: Protocol | None = None
        self.waiting: list[bytes] = []
        client = self

        class Onward(Protocol):
            def connectionMade(self) -> None:
                client.server = self
                for octets in client.waiting:
                    self.transport.write(octets)

            def dataReceived(self, octets: bytes) -> None:
                if client.said_cut is not None and client.said_cut in octets:
                    client.cut()
                else:
                    client.transport.write(octets)

            def connectionLost(self, reason: Any = None) -> None:
                client.transport.loseConnection()

        connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.port), Onward()).addErrback(lambda _: None)

    def dataReceived(self, octets: bytes) -> None:
        self.sent += len(octets)
        if self.sent_cut is not None and self.sent > self.sent_cut:
            self.cut()
        elif self.server is None:
            self.waiting.append(octets)
        else:
            self.server.transport.write(octets)

    def connectionLost(self, reason: Any = None) -> None:
        if self.server is not None:
            self.server.transport.loseConnection()

    def cut(self) -> None:
        type(self).cuts += 1
        self.transport.abortConnection()
        if self.server is not None:
            self.server.transport.abortConnection()


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
@pytest.mark.parametrize("when", ["reply lost", "within the message"])
async def test_a_connection_that_is_cut(postfix: Postfix, when: str, chunking: bool) -> None:
    class Cutting(Cutter):
        port = postfix.port
        said_cut = b"queued as" if when == "reply lost" else None
        sent_cut = 200_000 if when == "within the message" else None

    async with world(postfix) as there:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Cutting))
        try:
            # Without TLS, so that the one in the middle can read along.
            route = RouteSettings(host="127.0.0.1", port=port.getHost().port, tls="none")
            relay = there.relay(routes=(route,), chunking=chunking)
            octets = b"Subject: cut\r\n\r\n" + b"0123456789abcdef\r\n" * 800_000
            [outcome] = await there.send(relay, "a@example.org", octets=octets)
            assert isinstance(outcome, Delayed)
            assert outcome.status.code == "4.4.2"
            if when == "reply lost":
                assert Cutting.cuts == 1, "nobody is sent it twice in one attempt"
                assert "may have been delivered" in outcome.status.text
                await there.arrived()
            else:
                assert "lost within the message" in outcome.status.text
                await deferLater(reactor, 0.5, lambda: None)
                assert there.target.messages == []
            await relay.stop()
        finally:
            await port.stopListening()
