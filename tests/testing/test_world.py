"""The world: hosts, faults, DNS, crashes, and one story a seed."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, TimeoutError

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.mail.records import MX, TLSA
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.world import Behaviour, Caller, Fault, Host, NoAnswer, TooLate, World

ONE = "192.0.2.1"
MESSAGE = b"Message-ID: <1@home.example>\r\nSubject: hello\r\n\r\n" + b"line\r\n" * 20


def make(behaviour: Behaviour | None = None, seed: int = 1) -> tuple[World, Host]:
    world = World(seed)
    return world, world.add_host("mx.there.example", [ONE], behaviour, domains=["there.example"])


def begin(world: World, *recipients: str) -> Caller:
    caller = world.call(ONE)
    assert caller.hear() == "220 mx.there.example ESMTP"
    caller.ask("EHLO mx.home.example")
    assert caller.ask("MAIL FROM:<ann@home.example>").startswith("250")
    for recipient in recipients:
        assert caller.ask(f"RCPT TO:<{recipient}>").startswith("250")
    return caller


def send(world: World, *recipients: str) -> str:
    """One message, whole; the last reply."""
    caller = begin(world, *(recipients or ["joe@there.example"]))
    assert caller.ask("DATA").startswith("354")
    answer = caller.ask(MESSAGE + b".\r\n")
    caller.ask("QUIT")
    return answer


def test_a_host_records_each_message_once_a_recipient() -> None:
    world, host = make()
    assert send(world, "joe@there.example", "sue@there.example").startswith("250 2.0.0")
    assert [one.recipient for one in host.received] == ["joe@there.example", "sue@there.example"]
    [joe, sue] = world.receipts
    assert joe.sender == "ann@home.example" and joe.octets == sue.octets == MESSAGE
    assert joe.message_id == "<1@home.example>" and joe.host == "mx.there.example"
    assert not joe.is_doubtful and joe.heard_at == sue.heard_at > joe.time
    assert world.story[-1].endswith("mx.there.example: took <1@home.example> for sue@there.example")
    assert not world.failures


def test_nothing_happens_while_the_world_does_not_run() -> None:
    world, _ = make()
    caller = world.call(ONE)
    assert caller.octets == b"" and caller.transport is None
    assert world.now == 0
    world.run(1)
    assert caller.octets.startswith(b"220 ") and world.now == 1


# --- faults -------------------------------------------------------------------------------------------------------


def faulty(kind: str, **more: float) -> tuple[World, Host]:
    return make(Behaviour(faults=(Fault(kind, **more),)))


def test_refused() -> None:
    world, host = faulty("refused")
    assert world.call(ONE).wait_for_the_end().check(ConnectionRefusedError)
    assert world.now < 1 and host.struck == {"refused": 1}


def test_unreachable_takes_as_long_as_the_client_has_patience() -> None:
    world, _ = faulty("unreachable")
    reason = Caller(world, world.reactor, ONE, patience=90).wait_for_the_end()
    assert reason.check(TimeoutError) and world.now == 90


def test_an_address_that_nobody_has_times_out() -> None:
    world = World()
    assert Caller(world, world.reactor, "203.0.113.9", patience=30).wait_for_the_end().check(TimeoutError)


def test_a_host_that_does_not_listen_on_that_port_refuses() -> None:
    world, _ = make()
    assert world.call(ONE, 587).wait_for_the_end().check(ConnectionRefusedError)


def test_mute() -> None:
    world, _ = faulty("mute")
    caller = world.call(ONE)
    with pytest.raises(NoAnswer):
        caller.hear()
    assert caller.transport is not None and world.now == 600


@pytest.mark.parametrize(("kind", "code"), [("busy", "421"), ("unwelcome", "554")])
def test_a_greeting_that_is_none(kind: str, code: str) -> None:
    world, _ = faulty(kind)
    assert world.call(ONE).hear().startswith(code)


@pytest.mark.parametrize(("kind", "code"), [("mail-4xx", "451"), ("mail-5xx", "550")])
def test_answers_to_mail(kind: str, code: str) -> None:
    world, host = faulty(kind)
    caller = world.call(ONE)
    caller.hear()
    caller.ask("EHLO mx.home.example")
    assert caller.ask("MAIL FROM:<ann@home.example>").startswith(code)
    assert host.struck == {kind: 1}


@pytest.mark.parametrize(("kind", "code"), [("rcpt-4xx", "450"), ("rcpt-5xx", "550")])
def test_answers_to_rcpt(kind: str, code: str) -> None:
    world, _ = faulty(kind)
    assert begin(world).ask("RCPT TO:<joe@there.example>").startswith(code)


@pytest.mark.parametrize(("kind", "code"), [("data-4xx", "451"), ("data-5xx", "554")])
def test_answers_to_the_message(kind: str, code: str) -> None:
    world, host = faulty(kind)
    assert send(world).startswith(code)
    assert host.received == []


def test_unknown_recipients() -> None:
    world, host = make(Behaviour(unknown={"nobody@there.example"}))
    assert begin(world).ask("RCPT TO:<Nobody@there.example>").startswith("550 5.1.1")
    assert host.struck == {"unknown": 1}


def test_cut_in_the_middle_of_the_message() -> None:
    world, host = faulty("cut")
    for chunk in (MESSAGE + b".\r\n", MESSAGE[:90]):
        caller = begin(world, "joe@there.example")
        caller.ask("DATA")
        caller.say(chunk)
        assert caller.wait_for_the_end().check(ConnectionLost)
    assert host.received == [] and not world.failures


def test_cut_by_chunks_is_cut_too() -> None:
    world, host = faulty("cut")
    caller = begin(world, "joe@there.example")
    caller.say(b"BDAT 5 LAST\r\nhello")
    assert caller.wait_for_the_end().check(ConnectionLost)
    assert host.received == []


def test_a_lost_reply_leaves_the_message_there_and_the_client_in_doubt() -> None:
    seen = set()
    for seed in range(8):
        world, host = make(Behaviour(faults=(Fault("lost-reply"),)), seed)
        with pytest.raises(NoAnswer) as no:
            send(world)
        seen.add("ConnectionLost" in str(no.value))
        [receipt] = host.received
        assert receipt.octets == MESSAGE and receipt.is_doubtful
    assert seen == {True, False}, "some connections end, some go dark"


def test_a_client_that_is_gone_before_the_reply_has_not_heard_it() -> None:
    world, host = make()
    caller = begin(world, "joe@there.example")
    caller.ask("DATA")
    caller.say(MESSAGE + b".\r\n")
    caller.hang_up()
    world.run(60)
    [receipt] = host.received
    assert receipt.is_doubtful


def test_a_greylisting_host_wants_the_same_triplet_again_later() -> None:
    world, host = make(Behaviour(greylist=300))
    caller = begin(world)
    assert caller.ask("RCPT TO:<joe@there.example>").startswith("451 4.7.1")
    world.run(200)
    assert caller.ask("RCPT TO:<joe@there.example>").startswith("451 4.7.1")
    assert caller.ask("RCPT TO:<sue@there.example>").startswith("451 4.7.1")
    world.run(101)
    assert caller.ask("RCPT TO:<joe@there.example>").startswith("250")
    assert caller.ask("RCPT TO:<sue@there.example>").startswith("451 4.7.1")
    assert host.struck == {"greylisted": 4}


def test_a_slow_host_takes_its_time() -> None:
    world, _ = make()
    send(world)
    quick = world.now
    world, _ = faulty("slow")
    send(world)
    assert world.now > quick + 0.3


def test_faults_have_their_time_and_their_chance() -> None:
    world, host = faulty("busy", start=100, end=200)
    for now, code in ((50, "220"), (150, "421"), (250, "220")):
        world.run(now - world.now)
        assert world.call(ONE).hear().startswith(code)
    world, host = faulty("busy", chance=0.25)
    for _ in range(200):
        world.call(ONE).hear()
    assert 30 < host.struck["busy"] < 70


def test_a_fault_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError):
        Fault("earthquake")


def test_a_host_may_lack_extensions() -> None:
    world, _ = make(Behaviour(lacks={"pipelining", "STARTTLS", "SIZE"}))
    caller = world.call(ONE)
    caller.hear()
    lines = caller.ask("EHLO mx.home.example").split("\n")
    assert lines[0] == "250-mx.there.example greets mx.home.example"
    assert not any(word in line for line in lines for word in ("PIPELINING", "STARTTLS", "SIZE"))
    assert "250-8BITMIME" in lines and lines[-1].startswith("250 ")


def test_starttls_is_played() -> None:
    world, host = make(Behaviour(certificates=["leaf", "issuer"]))
    caller = world.call(ONE)
    caller.hear()
    assert "STARTTLS" in caller.ask("EHLO mx.home.example")
    assert caller.ask("STARTTLS").startswith("220")
    caller.start_tls()
    assert "STARTTLS" not in caller.ask("EHLO mx.home.example")
    assert caller.transport.getPeerCertificate() == "leaf"
    assert caller.transport.getHandle().get_peer_cert_chain() == ["leaf", "issuer"]
    caller.ask("MAIL FROM:<ann@home.example>")
    caller.ask("RCPT TO:<joe@there.example>")
    caller.ask("DATA")
    caller.ask(MESSAGE + b".\r\n")
    assert host.received[0].envelope.peer.tls.startswith("TLSv1.3")


def test_a_broken_handshake_ends_the_connection() -> None:
    world, host = faulty("tls-broken")
    caller = world.call(ONE)
    caller.hear()
    caller.ask("EHLO mx.home.example")
    caller.ask("STARTTLS")
    caller.start_tls()
    caller.say("EHLO mx.home.example")
    assert not caller.wait_for_the_end().check(ConnectionDone)
    assert host.struck == {"tls-broken": 1}


# --- DNS ----------------------------------------------------------------------------------------------------------


def test_zones_answer_as_name_servers_do() -> None:
    records = {
        "there.example": {"MX": [(20, "mx2.there.example"), MX(10, "mx1.there.example")], "TXT": ["v=spf1 -all"]},
        "mx1.there.example": {"A": [ONE], "AAAA": ["2001:db8:2::1"]},
        "_25._tcp.mx1.there.example": {"TLSA": [(3, 1, 1, b"hash")]},
        "www.there.example": {"CNAME": ["mx1.there.example."]},
    }
    world = World(1, records)
    world.dns.add("signed.example", "TXT", "yes", authentic=True)

    def ask(name: str, kind: str):
        return world.wait(world.resolver.lookup(name, kind))

    assert ask("There.Example.", "mx").records == (MX(20, "mx2.there.example"), MX(10, "mx1.there.example"))
    assert ask("_25._tcp.mx1.there.example", "TLSA").records == (TLSA(3, 1, 1, b"hash"),)
    cname = ask("www.there.example", "A")
    assert (cname.records, cname.name) == ((ONE,), "mx1.there.example")
    none = ask("there.example", "A")
    assert none.records == () and none.exists
    assert ask("_tcp.mx1.there.example", "A").exists, "a name above others is there, though it is empty"
    assert not ask("nowhere.example", "A").exists
    assert ask("signed.example", "TXT").is_authentic and not ask("there.example", "TXT").is_authentic
    assert 0 < world.now < 1


def test_dns_fails_for_a_while() -> None:
    world = World(1, {"there.example": {"A": [ONE]}, "sub.there.example": {"A": [ONE]}})
    world.dns.fail("there.example", "servfail", 0, 100)
    world.dns.fail("there.example", "timeout", 200, 300)
    world.dns.fail("there.example", "nxdomain", 400, 500)
    with pytest.raises(ResolutionFailed):
        world.wait(world.resolver.lookup("sub.there.example", "A"))
    world.run(200 - world.now)
    with pytest.raises(ResolutionFailed):
        world.wait(world.resolver.lookup("there.example", "A"))
    assert world.now == 230, "a time-out takes its time"
    world.run(400 - world.now)
    assert not world.wait(world.resolver.lookup("there.example", "A")).exists
    world.run(500 - world.now)
    assert world.wait(world.resolver.lookup("there.example", "A")).records == (ONE,)
    assert [line.split(" ", 2)[2] for line in world.story] == [
        "DNS: servfail, sub.there.example A",
        "DNS: timeout, there.example A",
        "DNS: nxdomain, there.example A",
    ]


# --- waiting ------------------------------------------------------------------------------------------------------


def test_wait_gives_what_a_coroutine_gives_or_raises() -> None:
    world = World()

    async def later(problem: Exception | None = None) -> int:
        from twisted.internet.task import deferLater

        await deferLater(world.reactor, 3600)
        if problem is not None:
            raise problem
        return 7

    assert world.wait(later(), limit=3601) == 7
    with pytest.raises(KeyError):
        world.wait(later(KeyError("lost")), limit=3601)
    with pytest.raises(TooLate):
        world.wait(later(), limit=3599)


def test_run_until_stops_where_it_comes_true() -> None:
    world, host = make()
    caller = world.call(ONE)
    assert world.run_until(lambda: caller.octets, limit=60) and world.now < 1
    assert not world.run_until(lambda: host.received, limit=60) and world.now > 60


# --- one story a seed ---------------------------------------------------------------------------------------------


def a_story(seed: int) -> list[str]:
    kinds = ("refused", "busy", "rcpt-4xx", "data-4xx", "cut", "lost-reply", "slow")
    behaviour = Behaviour(faults=tuple(Fault(kind, chance=0.1) for kind in kinds))
    world, _ = make(behaviour, seed)
    for number in range(60):
        try:
            send(world, f"user{number}@there.example")
        except (NoAnswer, AssertionError) as problem:
            world.tell(f"the client gave up: {type(problem).__name__}")
        world.run(world.random.uniform(0, 100))
    return world.story


def test_the_same_seed_gives_the_same_story() -> None:
    one = a_story(1)
    random.seed(99)
    assert a_story(1) == one
    assert a_story(2) != one
    assert len(one) > 60


def test_the_example_in_the_documents_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    [example] = re.findall(r"```python\n(from random.*?)```", text, re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(example, "testing.md", "exec"), namespace)
    [test] = [one for name, one in namespace.items() if name.startswith("test_")]
    test()


# --- our own server in the world ----------------------------------------------------------------------------------


def test_a_whole_kit_lives_in_the_world() -> None:
    from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse

    from twisted_mail_kit.kit import MailKit

    world = World()
    store = MemoryStore(world.reactor)
    users = InMemoryUsernamePasswordDatabaseDontUse(**{"joe@home.example": b"secret"})
    kit = MailKit(hostname="mx.home.example", domains=["home.example"], store=store, auth=users, reactor=world.reactor)
    kit.listen("smtp", "tcp:25")
    kit.startService()
    there = world.add_node("client.example", ["192.0.2.77"])
    caller = world.call("198.51.100.1", node=there)
    assert caller.hear() == "220 mx.home.example ESMTP"
    caller.ask("EHLO client.example")
    caller.ask("MAIL FROM:<ann@client.example>")
    assert caller.ask("RCPT TO:<joe@home.example>").startswith("250")
    caller.ask("DATA")
    assert caller.ask(MESSAGE + b".\r\n").startswith("250")
    [name] = store.accounts
    assert sum(len(rows) for rows in store.accounts[name].rows.values()) == 1
    stopped = world.start(kit.stopService())
    assert caller.hear().startswith("421")
    world.wait(stopped)
    assert not world.failures
