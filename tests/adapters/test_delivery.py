"""Message deliveries of twisted.mail behind our SMTP server, and as a delivery target."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.mail.interfaces import IMessageDelivery, IMessageDeliveryFactory
from twisted.mail.smtp import SMTPServerError
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.adapters.deployment import PostOffice, PrintDelivery
from twisted_mail_kit.adapters import MountedDelivery, Reception
from twisted_mail_kit.errors import ConfigurationError, Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import Delayed, Delivered, Failed, IDelivery, IDeliveryTarget, IReception
from twisted_mail_kit.mail.address import Address, parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.dialogue import play

JOE, ANN = Recipient(Address("joe", "example.org")), Recipient(Address("ann", "example.org"))
GREETING = "P: 192.0.2.7\nS: 220 *\nC: EHLO client.example\nS: ...\nS: 250 *\n"
MAIL = "C: MAIL FROM:<bob@client.example>\nS: 250 *\n"


def envelope(sender: str | None = "bob@client.example", **peer: Any) -> Envelope:
    given = {"host": "192.0.2.7", "port": 4711, "name": "client.example", "esmtp": True, **peer}
    return Envelope(None if sender is None else parse_address(sender), Peer(**given), "trace-1")


def server(office: Any, clock: Clock | None = None, service: Any = "smtp", **more: Any) -> tuple[Any, Clock]:
    clock = clock or Clock()
    target = MountedDelivery(office, clock, hostname="mx.example.org", **more)
    reception = Reception(target, "mx.example.org")
    return make_factory(service, "mx.example.org", reception, None, None, SMTPSettings(), clock), clock


async def deliver(target: Any, octets: bytes, *recipients: Recipient, pieces: int = 1000, **more: Any) -> Any:
    delivery = await target.begin(envelope(**more))
    for recipient in recipients or (JOE,):
        await delivery.add_recipient(recipient)
    for start in range(0, len(octets), pieces):
        await delivery.write(octets[start : start + pieces])
    return await delivery.commit()


async def test_it_provides_the_doors_that_it_says() -> None:
    target = MountedDelivery(PostOffice("joe"), Clock())
    verifyObject(IDeliveryTarget, target)
    verifyObject(IReception, Reception(target, "mx.example.org"))
    verifyObject(IDelivery, await target.begin(envelope()))
    verifyObject(IDelivery, await Reception(target, "mx.example.org").begin(envelope()))


async def test_the_tutorials_delivery_takes_a_message() -> None:
    office = PostOffice("joe")
    factory, clock = server(office)
    await play(
        GREETING
        + MAIL
        + """
        C: RCPT TO:<joe@example.org>
        S: 250 *
        C: RCPT TO:<nobody@example.org>
        S: 550 5.1.0 Cannot receive for specified address
        C: DATA
        S: 354 *
        C: Subject: hello
        C:
        C: ..dot
        C: .
        S: 250 *
        C: MAIL FROM:<x@spam.example>
        S: 553 5.1.0 No spam today
        C: QUIT
        S: 221 *
        X:
        """,
        factory,
        clock,
    )
    (printed,) = office.printed
    assert printed.recipient == "joe"
    assert printed.lines[0] == b"Received: ConsoleMessageDelivery"
    assert printed.lines[1].startswith(b"Received: from client.example ([192.0.2.7])")
    assert printed.lines[-3:] == [b"Subject: hello", b"", b".dot"]
    assert office.asked[:2] == [
        ("validateFrom", (b"client.example", b"192.0.2.7"), "bob@client.example"),
        ("validateTo", "joe@example.org", "192.0.2.7"),
    ]
    assert office.made == 2 and not office.lost


async def test_a_delivery_without_a_factory_is_used_for_all_messages() -> None:
    office = PostOffice("joe")
    target = MountedDelivery(PrintDelivery(office), Clock(), received_header=False)
    for _ in range(2):
        assert await deliver(target, b"A: 1\r\n\r\nHello.\r\n") == [Delivered()]
    assert [printed.lines for printed in office.printed] == [[b"A: 1", b"", b"Hello."]] * 2
    assert not any(asked[0] == "receivedHeader" for asked in office.asked)


async def test_bounces_and_the_bare_postmaster_have_addresses_too() -> None:
    office = PostOffice("postmaster")
    factory, clock = server(office)
    await play(
        GREETING + "C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<Postmaster>\nS: 250 *\n",
        factory,
        clock,
    )
    assert [asked[1:] for asked in office.asked] == [
        ((b"client.example", b"192.0.2.7"), ""),
        ("postmaster@mx.example.org", "192.0.2.7"),
    ]


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("octets", "lines"),
    [
        (b"A: 1\r\n b\r\n\r\nx\r\n\r\ny\r\n", [b"A: 1", b" b", b"", b"x", b"", b"y"]),
        (b"A: 1\r\n\r\nno line end", [b"A: 1", b"", b"no line end"]),
        (b"Hello.\r\nA: 1\r\n", [b"", b"Hello.", b"A: 1"]),
        (b"A: 1\r\nHello.\r\n", [b"A: 1", b"", b"Hello."]),
        (b"\r\nHello.\r\n", [b"", b"Hello."]),
        (b"A: 1\r\n\r\nbare\rand\nbare\r\r\n", [b"A: 1", b"", b"bare", b"and", b"bare", b""]),
        (b"A: 1\r\n\r\nbare at the end\r", [b"A: 1", b"", b"bare at the end"]),
        (b"", []),
    ],
)
async def test_octets_become_lines_whatever_the_cuts(octets: bytes, lines: list[bytes], pieces: int) -> None:
    office = PostOffice("joe")
    target = MountedDelivery(office, Clock(), received_header=False)
    assert await deliver(target, octets, pieces=pieces) == [Delivered()]
    assert office.printed[0].lines == lines


async def test_a_message_without_a_header_is_kept_apart_from_our_received_field() -> None:
    office = PostOffice("joe")
    reception = Reception(MountedDelivery(office, Clock(), received_header=False), "mx.example.org")
    await deliver(reception, b"Hello.\r\n")
    assert office.printed[0].lines[-2:] == [b"", b"Hello."]
    await deliver(reception, b" folded?\r\n")
    assert office.printed[1].lines[-2:] == [b"", b" folded?"]


async def test_a_recipient_does_not_learn_of_another() -> None:
    office = PostOffice("joe", "ann")
    reception = Reception(MountedDelivery(office, Clock(), received_header=False), "mx.example.org")
    await deliver(reception, b"A: 1\r\n\r\n", JOE, ANN)
    assert not any(b"for <" in line for printed in office.printed for line in printed.lines)
    await deliver(reception, b"A: 1\r\n\r\n", JOE)
    assert any(b"for <joe@example.org>" in line for line in office.printed[2].lines)


# --- what foreign code may do --------------------------------------------------------------------------------------


class Odd(PostOffice):
    """Ends as it is told to, a recipient."""

    def __init__(self, **ends: Any) -> None:
        super().__init__(*ends)
        self.ends = ends

    def end(self, message: Any) -> Any:
        what = self.ends[message.recipient]
        return fail(what) if isinstance(what, Exception) else what


async def test_each_recipient_has_the_outcome_of_its_own_end() -> None:
    async def later() -> str:
        return "kept"

    office = Odd(
        a=succeed("kept"),
        b=SMTPServerError(452, "4.2.2 Mailbox is full"),
        c=SMTPServerError(554, b"No thanks\r\nBcc: x"),
        d=RuntimeError("out of order"),
        e=later(),
        f=None,
        g=SMTPServerError(250, "a code that is none"),
        h=SMTPServerError(452, "5.2.2 Two codes that do not agree"),
    )
    recipients = [Recipient(Address(name, "example.org")) for name in "abcdefgh"]
    outcomes = await deliver(MountedDelivery(office, Clock()), b"A: 1\r\n\r\n", *recipients)
    told = [(type(outcome), outcome.status.code, outcome.status.reply) for outcome in outcomes]
    assert told == [
        (Delivered, "2.0.0", 0),
        (Delayed, "4.2.2", 452),
        (Failed, "5.0.0", 554),
        (Delayed, "4.3.0", 451),
        (Delivered, "2.0.0", 0),
        (Delivered, "2.0.0", 0),
        (Delayed, "4.3.0", 451),
        (Delayed, "4.0.0", 452),
    ]
    assert outcomes[2].status.text == "No thanks Bcc: x"
    assert outcomes[3].status.text == "Cannot be delivered now, reference trace-1"
    assert "out of order" not in str(outcomes)
    assert not office.lost


@pytest.mark.parametrize(
    ("end", "told"),
    [(SMTPServerError(452, "full"), TryLater), (SMTPServerError(550, "no"), Refused), (RuntimeError("x"), TryLater)],
)
async def test_smtps_one_reply_never_hides_a_recipient_that_has_nothing(end: Exception, told: type) -> None:
    reception = Reception(MountedDelivery(Odd(joe=None, ann=end), Clock()), "mx.example.org")
    with pytest.raises(told):
        await deliver(reception, b"A: 1\r\n\r\n", JOE, ANN)


async def test_lmtp_has_a_reply_for_each_recipient() -> None:
    factory, clock = server(Odd(joe=None, ann=SMTPServerError(452, "4.2.2 Full")), service="lmtp")
    await play(
        """
        S: 220 *
        C: LHLO client.example
        S: ...
        S: 250 *
        C: MAIL FROM:<bob@client.example>
        C: RCPT TO:<joe@example.org>
        C: RCPT TO:<ann@example.org>
        C: DATA
        S: 250 *
        S: 250 *
        S: 250 *
        S: 354 *
        C: A: 1
        C:
        C: .
        S: 250 *
        S: 452 4.2.2 Full
        """,
        factory,
        clock,
    )


class Breaking(PrintDelivery):
    """Raises what it is told to, where it is told to."""

    where = ""
    problem: Exception = RuntimeError("out of order")

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        self._break("validateFrom")
        return super().validateFrom(helo, origin)

    def validateTo(self, user: Any) -> Any:
        self._break("validateTo")
        make = super().validateTo(user)

        def made() -> Any:
            self._break("make")
            return make()

        return made

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> Any:
        self._break("receivedHeader")
        return super().receivedHeader(helo, origin, recipients)

    def _break(self, where: str) -> None:
        if where == self.where:
            raise self.problem


@pytest.mark.parametrize("where", ["validateFrom", "validateTo", "make", "receivedHeader"])
@pytest.mark.parametrize(
    ("problem", "reply"),
    [
        (RuntimeError("out of order"), "451 4.3.0 * reference *"),
        (SMTPServerError(451, "Not now"), "451 4.*.0 Not now"),
        (SMTPServerError(554, "5.7.1 Never"), "554 5.7.1 Never"),
    ],
)
async def test_an_exception_is_the_reply_that_it_means(where: str, problem: Exception, reply: str) -> None:
    class Office(PostOffice):
        delivery = type("Delivery", (Breaking,), {"where": where, "problem": problem})

    office = Office("joe")
    factory, clock = server(office)
    script = GREETING + "C: MAIL FROM:<bob@client.example>\n"
    if where == "validateFrom":
        script += f"S: {reply}\n"
    elif where == "validateTo":
        script += f"S: 250 *\nC: RCPT TO:<joe@example.org>\nS: {reply}\n"
    else:
        script += "S: 250 *\nC: RCPT TO:<joe@example.org>\nS: 250 *\nC: DATA\nS: 354 *\n"
        script += f"C: A: 1\nC:\nC: .\nS: {reply}\n"
    await play(script + "C: QUIT\nS: 221 *\nX:", factory, clock)
    assert not office.printed
    assert len(office.lost) == (where == "receivedHeader")


async def test_deferreds_and_coroutines_are_waited_for() -> None:
    @implementer(IMessageDelivery)
    class Slow(PrintDelivery):
        async def validateFrom(self, helo: Any, origin: Any) -> Any:
            return super().validateFrom(helo, origin)

        def validateTo(self, user: Any) -> Any:
            return succeed(super().validateTo(user))

        async def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> Any:
            return "Received: text"

    class Office(PostOffice):
        delivery = Slow

        async def getMessageDelivery(self) -> Any:
            return super().getMessageDelivery()

    office = Office("joe")
    assert await deliver(MountedDelivery(office, Clock()), b"A: 1\r\n\r\n") == [Delivered()]
    assert office.printed[0].lines[0] == b"Received: text"
    with pytest.raises(Refused):
        await deliver(MountedDelivery(office, Clock()), b"", ANN)


async def test_a_message_may_take_its_time_for_a_line() -> None:
    office = PostOffice("joe")
    delivery = await MountedDelivery(office, Clock()).begin(envelope())
    await delivery.add_recipient(JOE)
    await delivery.write(b"A: 1\r\n")
    message = delivery._messages[0]  # type: ignore[attr-defined]
    waiting: Deferred[None] = Deferred()
    take = message.lineReceived
    message.lineReceived = lambda line: take(line) or waiting
    writing = Deferred.fromCoroutine(delivery.write(b"B: 2\r\n"))
    assert not writing.called
    waiting.callback(None)
    await writing
    assert message.lines[-2:] == [b"A: 1", b"B: 2"]


@pytest.mark.parametrize("where", ["validateFrom", "validateTo", "end"])
async def test_what_never_answers_is_waited_for_so_long_and_no_longer(where: str) -> None:
    class Silent(PrintDelivery):
        def validateFrom(self, helo: Any, origin: Any) -> Any:
            return Deferred() if where == "validateFrom" else origin

        def validateTo(self, user: Any) -> Any:
            return Deferred() if where == "validateTo" else super().validateTo(user)

    office = Odd(joe=Deferred() if where == "end" else None)
    office.delivery = Silent  # type: ignore[misc]
    clock = Clock()
    delivering = Deferred.fromCoroutine(deliver(MountedDelivery(office, clock, patience=20), b"A: 1\r\n\r\n"))
    clock.advance(19)
    assert not delivering.called
    clock.advance(1)
    assert delivering.called
    if where == "end":
        (outcome,) = await delivering
        assert isinstance(outcome, Delayed)
    else:
        with pytest.raises(Unavailable):
            await delivering


async def test_a_message_that_does_not_come_to_its_end_is_told_as_lost_once() -> None:
    office = PostOffice("joe", "ann")
    factory, clock = server(office)
    script = GREETING + MAIL + "C: RCPT TO:<joe@example.org>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\n"
    await play(script + "C: DATA\nS: 354 *\nC: A: 1\nC:\nD:", factory, clock)
    assert sorted(one.recipient for one in office.lost) == ["ann", "joe"]
    assert not office.printed
    await play(script + "C: RSET\nS: 250 *\nC: QUIT\nS: 221 *\nX:", factory, clock)
    assert len(office.lost) == 2


async def test_a_line_that_is_refused_ends_the_message_for_all() -> None:
    class Picky(PostOffice):
        def getMessageDelivery(self) -> Any:
            delivery = super().getMessageDelivery()
            validate = delivery.validateTo

            def validate_to(user: Any) -> Any:
                make = validate(user)

                def made() -> Any:
                    message = make()
                    take = message.lineReceived

                    def line_received(line: bytes) -> None:
                        if b"virus" in line:
                            raise SMTPServerError(554, "5.7.0 Keep it")
                        take(line)

                    message.lineReceived = line_received
                    return message

                return made

            delivery.validateTo = validate_to  # type: ignore[method-assign]
            return delivery

    office = Picky("joe", "ann")
    factory, clock = server(office)
    await play(
        GREETING
        + MAIL
        + "C: RCPT TO:<joe@example.org>\nC: RCPT TO:<ann@example.org>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *\n"
        + "C: A: 1\nC:\nC: a virus\nC: and more\nC: .\nS: 554 5.7.0 Keep it\n",
        factory,
        clock,
    )
    assert len(office.lost) == 2 and not office.printed


async def test_what_lines_cannot_carry_is_refused() -> None:
    office = PostOffice("joe", "jörg")
    target = MountedDelivery(office, Clock(), line_length=1000)
    with pytest.raises(Refused) as refused:
        await deliver(target, b"A: 1\r\n\r\n" + b"x" * 1001 + b"\r\n")
    assert refused.value.status.code == "5.6.0"
    assert len(office.lost) == 1
    assert await deliver(target, b"A: 1\r\n\r\n" + b"x" * 1000) == [Delivered()]
    binary = Envelope(None, Peer("192.0.2.7"), "trace-1", body="BINARYMIME")
    with pytest.raises(Refused) as refused:
        await target.begin(binary)
    assert refused.value.status.code == "5.6.3"
    with pytest.raises(Refused) as refused:
        await deliver(target, b"", Recipient(Address("jörg", "example.org")))
    assert refused.value.status.code == "5.6.7"


async def test_a_domain_outside_ascii_goes_by_its_a_label() -> None:
    office = PostOffice("joe")
    await deliver(MountedDelivery(office, Clock()), b"", Recipient(Address("joe", "bücher.example")))
    assert ("validateTo", "joe@xn--bcher-kva.example", "192.0.2.7") in office.asked


async def test_a_large_message_is_not_held() -> None:
    class Weighing(PostOffice):
        size = 0

        def getMessageDelivery(self) -> Any:
            delivery = super().getMessageDelivery()
            office = self

            @implementer(IMessageDelivery)
            class Scale(PrintDelivery):
                def validateTo(self, user: Any) -> Any:
                    message = super().validateTo(user)()

                    def weigh(line: bytes) -> None:
                        office.size += len(line) + 2

                    message.lineReceived = weigh
                    return lambda: message

            assert delivery
            return Scale(self)

    office = Weighing("joe")
    clock = Clock()
    delivery = await MountedDelivery(office, clock, received_header=False).begin(envelope())
    await delivery.add_recipient(JOE)
    chunk = (b"x" * 76 + b"\r\n") * 800
    tracemalloc.start()
    try:
        for _ in range(400):
            writing = Deferred.fromCoroutine(delivery.write(chunk))
            while not writing.called:
                clock.advance(0)
            await writing
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await delivery.commit()
    assert office.size == 400 * len(chunk) + 2 > 24_000_000  # and the line that ends a header section that was none
    assert most < 1_000_000


# --- whose delivery ------------------------------------------------------------------------------------------------


@implementer(IRealm)
class Realm:
    """Gives a post office to whoever it is asked for; notes who came and went."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.office = PostOffice("joe")

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        assert IMessageDeliveryFactory in interfaces
        name = avatarId.decode() if avatarId else "a stranger"
        self.story.append(f"{name} came")
        return IMessageDeliveryFactory, self.office, lambda: self.story.append(f"{name} went")


async def test_a_portal_gives_the_delivery_of_who_logged_in_and_of_strangers_where_it_has_one() -> None:
    realm = Realm()
    portal = Portal(realm)
    target = MountedDelivery(portal, Clock())
    assert await deliver(target, b"", login="ann@example.org") == [Delivered()]
    with pytest.raises(Refused) as refused:
        await deliver(target, b"")
    assert refused.value.status.code == "5.7.1"
    portal.registerChecker(AllowAnonymousAccess())
    assert await deliver(target, b"") == [Delivered()]
    with pytest.raises(Refused):
        await deliver(target, b"", ANN)
    came, went = [one for one in realm.story if "came" in one], [one for one in realm.story if "went" in one]
    assert came == ["ann@example.org came", "a stranger came", "a stranger came"]
    assert len(went) == 2  # the last one was not told of its end: nobody aborted it


async def test_a_realm_alone_is_for_those_who_logged_in() -> None:
    target = MountedDelivery(Realm(), Clock())
    assert await deliver(target, b"", login="ann@example.org") == [Delivered()]
    with pytest.raises(Refused):
        await deliver(target, b"")


async def test_every_end_of_a_transaction_logs_out() -> None:
    realm = Realm()
    target = MountedDelivery(realm, Clock())
    delivery = await target.begin(envelope(login="ann"))
    await delivery.abort()
    await delivery.abort()
    assert realm.story == ["ann came", "ann went"]


async def test_a_factory_that_breaks_logs_out_too() -> None:
    realm = Realm()
    realm.office.getMessageDelivery = lambda: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await deliver(MountedDelivery(realm, Clock()), b"", login="ann")
    assert realm.story == ["ann came", "ann went"]


def test_what_takes_no_messages_is_not_mounted() -> None:
    with pytest.raises(ConfigurationError):
        MountedDelivery(object(), Clock())


async def test_validate_to_that_gives_no_function_is_a_temporary_error() -> None:
    class Office(PostOffice):
        delivery = type("Delivery", (PrintDelivery,), {"validateTo": lambda self, user: "joe"})

    factory, clock = server(Office("joe"))
    await play(GREETING + MAIL + "C: RCPT TO:<joe@example.org>\nS: 451 4.3.0 * reference *\n", factory, clock)
