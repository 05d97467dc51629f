"""One SMTP, submission or LMTP connection, from greeting to goodbye."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConnectionEnded, Unavailable
from twisted_mail_kit.interfaces import IAuthenticator, IReception
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import SMTP_REFUSED
from twisted_mail_kit.metrics.instruments import Number
from twisted_mail_kit.net.inbox import NEED_DATA, Draining, Signal, TimedOut
from twisted_mail_kit.net.session import Session
from twisted_mail_kit.smtp.outcomes import reply_to
from twisted_mail_kit.smtp.rates import RateBook
from twisted_mail_kit.smtp.session import authentication, content, courtesies, envelope, greeting
from twisted_mail_kit.smtp.session.tally import Tally
from twisted_mail_kit.smtp.session.transaction import Transaction
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.smtp.wire import commands
from twisted_mail_kit.smtp.wire.replies import Reply, reply
from twisted_mail_kit.smtp.wire.server import ServerWire
from twisted_mail_kit.smtp.wire.states import State, out_of_turn

T = TypeVar("T")
Does = Callable[["SMTPSession", Any], Awaitable[Reply | None]]

COMMANDS: dict[type, Does] = {
    commands.Hello: greeting.hello,
    commands.StartTls: greeting.start_tls,
    commands.Auth: authentication.auth,
    commands.Mail: envelope.mail,
    commands.Rcpt: envelope.rcpt,
    commands.Rset: envelope.rset,
    commands.Data: content.data,
    commands.Bdat: content.bdat,
    commands.Noop: courtesies.noop,
    commands.Help: courtesies.give_help,
    commands.Vrfy: courtesies.vrfy,
    commands.Expn: courtesies.expn,
    commands.Quit: courtesies.leave,
}
"""Who does what; `wire.states.ALLOWED` says when."""

_JUNK = frozenset(
    {commands.Hello, commands.Noop, commands.Help, commands.Rset, commands.Vrfy, commands.Expn, commands.StartTls}
)

_BREATH = 200
"""So many pipelined commands at a time: some ten milliseconds."""


class SMTPSession(Session):
    """Speaks with one client. What a command does is in the other files of this package; how a session goes is here."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        service: str,
        hostname: str,
        target: IReception,
        authenticator: IAuthenticator | None,
        certificates: Any,
        settings: SMTPSettings,
        rates: RateBook,
    ) -> None:
        super().__init__(clock, service)
        self.hostname = hostname
        self.target = target
        self.authenticator = authenticator
        self.certificates = certificates
        self.settings = settings
        self.rates = rates
        self.is_lmtp = service == "lmtp"
        self.needs_login = service in ("submission", "submissions")
        self.state = State.NEW
        self.transaction: Transaction | None = None
        self.tally = Tally()
        self.is_over = False
        self.is_gone = False
        self.is_draining = False
        self._in_a_row = 0
        """Events that were here already when they were asked for."""
        self._pausing: tuple[Deferred[None], IDelayedCall] | None = None

    # --- the story -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """RFC 5321 3: greeting, commands, goodbye."""
        try:
            if await self._welcome():
                await self._converse()
        except TimedOut:
            self.log.info("{peer} said nothing for too long", peer=self.caller)
            self._limit_of_time().value += 1
            self.say(reply(421, "4.4.2", f"{self.hostname} You said nothing for too long"))
        except Draining:
            self.say(self.going_down())
        finally:
            await self.forget_transaction()

    async def turn_away(self) -> None:
        """RFC 5321 3.8: 421 in place of the greeting."""
        self.say(reply(421, "4.7.0", f"{self.hostname} Too many connections from your address"))

    def failed(self, reference: str) -> None:
        """421, so that the client tries again."""
        self.say(reply(421, "4.3.0", f"{self.hostname} Something broke here, reference {reference}"))

    async def _welcome(self) -> bool:
        try:
            await self.ask(self.target.connected(self.peer))
        except Exception as problem:
            await self._refuse_connection(problem)
            return False
        if self.settings.greeting_delay:
            await self.pause(self.settings.greeting_delay)
        if self.talks_ahead():
            self.say(self.send_away_the_hasty("the greeting"))
            return False
        self.say(reply(220, "", f"{self.hostname} {'LMTP' if self.is_lmtp else 'ESMTP'}"))
        return True

    async def _refuse_connection(self, problem: Exception) -> None:
        told = reply_to(problem, default=554) or self.explain(problem, "reception")
        if not told.is_error:
            # RFC 5321 3.8: what is said before hanging up is 421.
            told = told._replace(code=421, lines=tuple(f"{self.hostname} {line}" for line in told.lines))
            self.say(told)
            return
        self.say(told._replace(code=554))
        # RFC 5321 3.1: after 554 wait for QUIT, and say 503 to all else.
        for _ in range(self.settings.unknown_commands):
            event = await self.hear(self.settings.time_to_greet, safe_point=True)
            if isinstance(event, commands.Quit):
                self.say(reply(221, "2.0.0", f"{self.hostname} Goodbye"))
                return
            self.say(reply(503, "5.5.1", "You are not welcome here"))

    async def _converse(self) -> None:
        settings = self.settings
        while not self.is_over:
            is_new = self.state is State.NEW
            event = await self.hear(
                settings.time_to_greet if is_new else settings.time_between_commands,
                safe_point=self.transaction is None,
            )
            answer = await self._answer(event)
            if answer is not None:
                self.say(answer)

    async def _answer(self, event: Any) -> Reply | None:
        kind = type(event)
        does = COMMANDS.get(kind)
        if does is None:
            return self._complain(event)
        if kind in _JUNK:
            self.tally.junk += 1
            if self.tally.junk > self.settings.junk_commands:
                return self._lose_patience("junk commands", limits.SMTP_JUNK_COMMANDS)
        refusal = None if kind is commands.Bdat else out_of_turn(self.state, event)
        if refusal is not None:
            return self._count(refusal)
        try:
            answer = await does(self, event)
        except ConnectionEnded:
            raise
        except Exception as problem:
            answer = self.explain(problem, kind.__name__.upper())
            if self.is_lmtp and kind is commands.Rcpt:
                return answer  # the other side is a server of ours, and it asks for many
        return answer if answer is None else self._count(answer)

    def _complain(self, event: commands.Unknown | commands.Bad | commands.BadLine) -> Reply:
        if not isinstance(event, commands.Bad):
            if isinstance(event, commands.BadLine) and event.is_too_long:
                limits.SMTP_LINE.value += 1
                self.log.info("{peer} has sent a line that is too long", peer=self.caller)
            self.tally.unknown += 1
            if self.tally.unknown > self.settings.unknown_commands:
                return self._lose_patience("commands that nobody knows", limits.SMTP_UNKNOWN_COMMANDS)
        elif event.loses_step:
            return self.end(event.reply)
        return self._count(event.reply)

    def _count(self, answer: Reply) -> Reply:
        if answer.code >= 400:
            SMTP_REFUSED[self.service, f"{answer.code // 100}xx"].value += 1
            if answer.code == 421:
                return self.end(answer)
            if answer.is_error:
                self.tally.errors += 1
                if self.tally.errors > self.settings.errors:
                    return self._lose_patience("errors", limits.SMTP_ERRORS)
        return answer

    def _lose_patience(self, what: str, limit: Number) -> Reply:
        self.log.info("{peer} was sent away: too many {what}", peer=self.caller, what=what)
        limit.value += 1
        return self.end(reply(421, "4.7.0", f"{self.hostname} Too many {what}"))

    def _limit_of_time(self) -> Number:
        """Which of them has run out just now."""
        deadline = None if self.transaction is None else self.transaction.deadline
        if deadline is not None:
            is_late = self.clock.seconds() >= deadline
            return limits.SMTP_TIME_FOR_MESSAGE if is_late else limits.SMTP_TIME_IN_DATA
        return limits.SMTP_TIME_TO_GREET if self.state is State.NEW else limits.SMTP_TIME_BETWEEN_COMMANDS

    # --- for the commands ------------------------------------------------------------------------------------------

    @property
    def caller(self) -> str:
        """What the log calls the peer."""
        return self.peer.host or "unix"

    @property
    def wire(self) -> ServerWire:
        """The wire; STARTTLS brings a new one."""
        wire: ServerWire = self.inbox.wire  # type: ignore[assignment]
        return wire

    def make_wire(self) -> ServerWire:
        """A wire that waits for a command."""
        return ServerWire(self.settings.line_length, self.settings.auth_line_length)

    async def hear(self, seconds: float, safe_point: bool = False) -> commands.Event | Signal:
        """What the client says next. What we have said goes out first, unless its next words are here already."""
        event = self.inbox.poll()
        if event is NEED_DATA:
            self._in_a_row = 0
            is_full = self.outflow.is_full()
            if is_full:
                await self.outflow.drained()
            event = await self.inbox.next(seconds, safe_point=safe_point, has_polled=not is_full)
        else:
            self._in_a_row += 1
            if self._in_a_row >= _BREATH:
                # Thousands of commands may have come in one piece; others want to be heard too.
                self._in_a_row = 0
                self.outflow.flush()
                breath: Deferred[None] = Deferred()
                self.clock.callLater(0, breath.callback, None)
                await breath
        if self.settings.transcript:
            self._write_down("C", _without_secrets(event))
        return event

    def say(self, answer: Reply) -> None:
        """Answer, in the same write as the answers to the rest of a pipelined group."""
        if self.settings.transcript:
            self._write_down("S", answer)
        self.outflow.write(answer.encode())

    def _write_down(self, who: str, said: object) -> None:
        self.log.debug("{peer} {port} {who}: {said}", peer=self.caller, port=self.peer.port, who=who, said=repr(said))

    def flush(self) -> None:
        """Let what was said go out now."""
        self.outflow.flush()

    def end(self, answer: Reply) -> Reply:
        """This is the last answer."""
        self.is_over = True
        return answer

    def going_down(self) -> Reply:
        """The server stops."""
        return reply(421, "4.3.2", f"{self.hostname} The server is going down, come again")

    def is_ahead(self) -> bool:
        """The client has said more already."""
        return self.wire.has_more() or self.inbox.has_more()

    def talks_ahead(self) -> bool:
        """The client has said more already, where it has to wait, and that is not tolerated."""
        return self.settings.reject_unauth_pipelining and not self.is_lmtp and self.is_ahead()

    def send_away_the_hasty(self, what: str) -> Reply:
        """It did not wait for the answer to `what`."""
        self.log.info("{peer} did not wait for the answer to {what}", peer=self.caller, what=what)
        return self.end(reply(554, "5.5.1", f"You did not wait for {what} to be answered"))

    def offers_requiretls(self) -> bool:
        """RFC 8689 2: only under TLS."""
        return self.settings.offer_requiretls and self.is_tls()

    @property
    def is_rated(self) -> bool:
        """Whether its mail is counted by the minute."""
        return bool(self.source) and not self.is_lmtp and not self.peer.is_local

    async def ask(self, answer: Awaitable[T]) -> T:
        """Wait for a door. Where it has a connection of its own that has ended, it is not ours that is over."""
        try:
            return await answer
        except ConnectionEnded as ended:
            raise Unavailable("a door lost its connection") from ended

    def explain(self, problem: Exception, what: str) -> Reply:
        """A problem that a door raised, as a reply; one that nobody expected is logged, and gets a reference."""
        told = reply_to(problem)
        if told is None:
            reference = self.reference(Failure(problem), what)
            told = reply(451, "4.3.0", f"Something broke here, reference {reference}")
        return told

    def close_transaction(self) -> None:
        """It has been committed or aborted."""
        self.transaction = None
        self.state = State.GREETED

    async def forget_transaction(self) -> None:
        """Nothing of it is delivered."""
        transaction = self.transaction
        if transaction is not None:
            self.close_transaction()
            await transaction.abort()

    async def pause(self, seconds: float) -> None:
        """Let the client wait; returns early when it is gone."""
        if self.is_gone:
            return
        waiting: Deferred[None] = Deferred()
        self._pausing = waiting, self.clock.callLater(seconds, self._go_on)
        await waiting

    # --- what others call ------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """End at the next safe point: when no transaction is open. A new one is not begun."""
        self.is_draining = True
        super().drain()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The peer is gone."""
        self.is_gone = True
        if self._pausing is not None:
            self._pausing[1].cancel()
            self._go_on()
        super().connectionLost(reason)

    def _go_on(self) -> None:
        if self._pausing is not None:
            waiting, self._pausing = self._pausing[0], None
            waiting.callback(None)


def _without_secrets(event: object) -> object:
    """What of an event may stand in a log."""
    if isinstance(event, commands.Auth):
        return event._replace(initial=b"..." if event.initial else None)
    if isinstance(event, commands.Response):
        return event._replace(octets=b"...")
    if isinstance(event, commands.Content):
        return f"{len(event.octets)} octets"
    return event
