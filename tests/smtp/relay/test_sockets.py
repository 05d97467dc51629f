"""The relay against our own server, on real sockets: TLS, logins, large messages, many at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory

from twisted_mail_kit.errors import Refused
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.records import Answer
from twisted_mail_kit.net.tls import Certificates, self_signed_pem
from twisted_mail_kit.sasl import ScramSha256, make_scram_keys
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.policies.settings import TLSPolicySettings
from twisted_mail_kit.smtp.relay import Relay, RelaySettings, RouteSettings
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.fakes import CollectingTarget, FakeAuthenticator

HOST = "smart.example.net"
PEM = self_signed_pem(HOST)


class Account:
    name = "joe"


class ScramToo(FakeAuthenticator):
    """SCRAM-SHA-256 besides."""

    keys = make_scram_keys("secret", 4096)

    def begin(self, mechanism: str, peer: Peer) -> Any:
        if mechanism != "SCRAM-SHA-256":
            return super().begin(mechanism, peer)

        async def find(user: str) -> Any:
            return self.keys

        async def enter(user: str) -> Any:
            self.entered = user
            return Account()

        async def refuse(user: str) -> None:
            self.failures += 1

        return ScramSha256(find, enter, refuse)


class Names:
    async def lookup(self, name: str, kind: str) -> Answer:
        return Answer(("127.0.0.1",) if kind == "A" else (), name)


@asynccontextmanager
async def serving(
    service: Any, tmp_path: Path, mechanisms: Any = ("PLAIN", "LOGIN"), implicit: bool = False, tls: bool = True,
    **settings: Any,
) -> AsyncIterator[tuple[int, CollectingTarget, ScramToo]]:  # fmt: skip
    target = CollectingTarget()
    target.refusals["nobody@example.org"] = Refused(Status("5.1.1", "Nobody here"))
    target.outcomes["late@example.org"] = Delayed(Status("4.2.2", "Full"))
    authenticator = ScramToo({"joe": ("secret", Account())}, mechanisms)
    (tmp_path / "server.pem").write_bytes(PEM)
    (tmp_path / "trust.pem").write_bytes(PEM[: PEM.index(b"-----BEGIN PRIVATE")])
    certificates = Certificates(tmp_path / "server.pem") if tls else None
    made = make_factory(
        *(service, HOST, target, authenticator, None if implicit else certificates, SMTPSettings(**settings), reactor)
    )
    served: Any = TLSMemoryBIOFactory(certificates, False, made, reactor) if implicit else made
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(served)
    try:
        yield port.getHost().port, target, authenticator
    finally:
        await port.stopListening()
        await made.drain(1)


def relay_to(port: int, tmp_path: Path, tls: Any = None, trust: str = "trust.pem", **route: Any) -> Relay:
    one = RouteSettings(host=HOST, port=port, tls=tls, **route)
    return Relay(
        reactor,
        Names(),
        "our.example.com",
        RelaySettings(routes=(one,), tls=TLSPolicySettings(trust=tmp_path / trust)),
    )


async def send(
    relay: Relay, *to: str, octets: bytes = b"Subject: hi\r\n\r\nbody\r\n", **envelope: Any
) -> list[Outcome]:
    made = Envelope(parse_address("ann@example.com"), Peer("", service="queue"), "trace", **envelope)
    delivery = await relay.begin(made)
    for one in to:
        await delivery.add_recipient(Recipient(parse_address(one)))
    for at in range(0, len(octets), 100_000):
        await delivery.write(octets[at : at + 100_000])
    return list(await delivery.commit())


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", ["verify", "implicit"])
async def test_login_under_verified_tls(tmp_path: Path, mechanism: str, tls: Any) -> None:
    (tmp_path / "password").write_text("secret\n")
    async with serving("submission", tmp_path, (mechanism,), implicit=tls == "implicit") as (port, target, who):
        relay = relay_to(port, tmp_path, tls, user="joe", password_file=tmp_path / "password")
        for _ in range(2):
            [outcome] = await send(relay, "a@example.org")
            assert isinstance(outcome, Delivered), outcome
        await relay.stop()
        assert [one.envelope.peer.login for one in target.messages] == ["joe", "joe"]
        assert target.messages[0].envelope.peer.tls
        assert who.failures == 0


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
async def test_a_wrong_password_is_a_delay(tmp_path: Path, mechanism: str) -> None:
    (tmp_path / "password").write_text("wrong\n")
    async with serving("submission", tmp_path, (mechanism,)) as (port, _, who):
        relay = relay_to(port, tmp_path, "verify", user="joe", password_file=tmp_path / "password")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delayed)
        assert outcome.status.code == "4.7.8"
        assert who.failures == 1
        await relay.stop()


async def test_a_server_that_does_not_know_the_password_cannot_pretend_to(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    async with serving("submission", tmp_path, ("SCRAM-SHA-256",)) as (port, target, who):

        class Liar:
            def __init__(self) -> None:
                self.count = 0

            async def respond(self, response: bytes | None) -> Any:
                self.count += 1
                if self.count == 1:
                    nonce = (response or b"").split(b"r=")[1]
                    return b"r=" + nonce + b"x,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096"
                return Account()

        who.begin = lambda mechanism, peer: Liar()  # type: ignore[method-assign]
        relay = relay_to(port, tmp_path, "verify", user="joe", password_file=tmp_path / "password")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delayed)
        assert "not proved" in outcome.status.text
        assert target.messages == []
        await relay.stop()


async def test_a_certificate_of_somebody_else_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(self_signed_pem("other.example.net").split(b"-----BEGIN PRIVATE")[0])
    async with serving("smtp", tmp_path) as (port, target, _):
        relay = relay_to(port, tmp_path, "verify", trust="other.pem")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delayed)
        assert outcome.status.code == "4.7.5"
        assert target.messages == []
        relay = relay_to(port, tmp_path, "may", trust="other.pem")
        [outcome] = await send(relay, "a@example.org")
        assert isinstance(outcome, Delivered)
        assert target.messages[0].envelope.peer.tls, "TLS with whomever is better than none"
        await relay.stop()


async def test_a_handshake_that_fails_is_followed_by_clear_text_only_where_it_may(tmp_path: Path) -> None:
    async with serving("smtp", tmp_path) as (port, target, _):
        from OpenSSL import SSL

        class OldTLS(Certificates):
            """No version of TLS that the client speaks."""

            def getContext(self) -> SSL.Context:
                context = SSL.Context(SSL.TLS_METHOD)
                context.set_max_proto_version(SSL.TLS1_VERSION)
                return context

        made = make_factory("smtp", HOST, target, None, OldTLS(tmp_path / "server.pem"), SMTPSettings(), reactor)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(made)
        try:
            relay = relay_to(port.getHost().port, tmp_path, "encrypt")
            [outcome] = await send(relay, "a@example.org")
            assert isinstance(outcome, Delayed)
            assert outcome.status.code == "4.7.5"
            relay = relay_to(port.getHost().port, tmp_path, "may")
            [outcome] = await send(relay, "a@example.org")
            assert isinstance(outcome, Delivered)
            assert not target.messages[0].envelope.peer.tls
            await relay.stop()
        finally:
            await port.stopListening()
            await made.drain(1)


@pytest.mark.parametrize("tls", ["none", "may"])
@pytest.mark.parametrize("chunking", [True, False])
async def test_a_large_message_arrives_as_it_was(tmp_path: Path, tls: Any, chunking: bool) -> None:
    octets = b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 500_000
    async with serving("smtp", tmp_path) as (port, target, _):
        relay = relay_to(port, tmp_path, tls)
        from attrs import evolve

        relay._means = relay._means._replace(settings=evolve(relay.settings, chunking=chunking))
        outcomes = await send(relay, "a@example.org", "nobody@example.org", octets=octets)
        assert isinstance(outcomes[0], Delivered)
        assert isinstance(outcomes[1], Failed)
        assert outcomes[1].status == ("5.1.1", "Nobody here", 550, f"{HOST} [127.0.0.1]")
        assert target.messages[0].octets == octets
        await relay.stop()


async def test_lmtp(tmp_path: Path) -> None:
    async with serving("lmtp", tmp_path) as (port, _, _):
        relay = relay_to(port, tmp_path, "none", lmtp=True)
        outcomes = await send(relay, "a@example.org", "nobody@example.org", "late@example.org", "b@example.org")
        assert [type(one) for one in outcomes] == [Delivered, Failed, Delayed, Delivered]
        await relay.stop()


async def test_many_at_the_same_time(tmp_path: Path) -> None:
    async with serving("smtp", tmp_path, tls=False, messages=20) as (port, target, _):
        relay = relay_to(port, tmp_path, "none")

        async def some(number: int) -> None:
            for one in range(25):
                text = f"Subject: {number}.{one}\r\n\r\nbody\r\n".encode()
                [outcome] = await send(relay, "a@example.org", octets=text)
                assert isinstance(outcome, Delivered), outcome

        await gatherResults([Deferred.fromCoroutine(some(number)) for number in range(10)])
        await relay.stop()
        assert len({one.octets for one in target.messages}) == len(target.messages) == 250
