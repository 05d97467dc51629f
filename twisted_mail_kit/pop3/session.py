"""A POP3 session: greeting, login, the transaction, and the update at QUIT."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConnectionEnded, MechanismNotSupported
from twisted_mail_kit.interfaces import IAccount, IAuthenticator, IMaildrop, IMaildropAccount
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import POP3_COMMANDS
from twisted_mail_kit.net.inbox import Draining, TimedOut, Wire
from twisted_mail_kit.net.session import Session
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.pop3.ahead import Room
from twisted_mail_kit.pop3.maildrop import Maildrop
from twisted_mail_kit.pop3.outcomes import Words, broken, expected
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.pop3.transaction import Transaction, turn
from twisted_mail_kit.pop3.wire.commands import (
    MAY_BE_SAID,
    Auth,
    Capa,
    Command,
    Event,
    Lang,
    Malformed,
    Pass,
    Quit,
    Response,
    State,
    Stls,
    TooLong,
    Unknown,
    User,
    Utf8,
)
from twisted_mail_kit.pop3.wire.parser import POP3Wire
from twisted_mail_kit.pop3.wire.replies import END, challenge, err, ok

WITHOUT_A_TURN = 100
"""Commands of a pipelining client that are done before other sessions get their turn."""


class POP3Session(Session):
    """RFC 1939. In the third state, update, the client is not heard any more: it waits for the reply to QUIT."""

    wire: POP3Wire

    def __init__(
        self,
        hostname: str,
        authenticator: IAuthenticator,
        certificates: IOpenSSLContextFactory | None,
        settings: POP3Settings,
        clock: IReactorTime,
        shared: Shared,
        service: str = "pop3",
        room: Room | None = None,
    ) -> None:
        super().__init__(clock, service)
        self.hostname = hostname
        self.authenticator = authenticator
        self.certificates = certificates
        self.settings = settings
        self.state = State.AUTHORIZATION
        self._shared = shared
        self._room = room
        self._lock = ""
        self._maildrop: IMaildrop | None = None
        self._user = ""
        self._utf8 = False
        self._errors = 0
        self._without_a_turn = 0
        self._login_by = 0.0

    def make_wire(self) -> Wire[Any]:
        """A new one for each connection, and after STLS."""
        self.wire = POP3Wire(self.settings.line_length, self.settings.response_length)
        return self.wire

    async def turn_away(self) -> None:
        """There are too many connections."""
        self.outflow.write(err("Too many connections from your address, try again later", "SYS/TEMP"))

    def failed(self, reference: str) -> None:
        """Something broke that nobody had thought of."""
        self.say_error(broken(reference))

    # --- the story -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From greeting to goodbye. Whatever way it ends but by QUIT, nothing is deleted."""
        try:
            # No <time@host> in it: that would offer APOP, for which passwords must be stored in clear text.
            self.outflow.write(ok(f"{self.hostname} POP3 ready"))
            maildrop = await self._authorization()
            if maildrop is not None:
                self.state = State.TRANSACTION
                await Transaction(self, maildrop).run()
        except Draining:
            self.outflow.write(err("The server is going down, nothing was deleted", "SYS/TEMP"))
        except TimedOut:  # RFC 1939 3: neither a word nor an update
            limit = limits.POP3_LOGIN_TIME if self.state is State.AUTHORIZATION else limits.POP3_IDLE_TIME
            limit.value += 1
            self.log.info("{peer} said nothing for too long (pop3)", peer=self.peer.host or "unix")
        finally:
            if self._maildrop is not None:
                self._maildrop.close()
            self._unlock()

    async def listen(self) -> Command:
        """The next command that may be said now; whatever else comes is answered here. Raises ConnectionEnded."""
        while True:
            event = await self._hear()
            match event:
                case Command():
                    POP3_COMMANDS[type(event).__name__.upper()].value += 1
                    if self.state in MAY_BE_SAID[type(event)]:
                        return event
                    if self.state is State.AUTHORIZATION:
                        self.mistake("Log in first")
                    else:
                        self.mistake("You are logged in already")
                case Malformed(problem):
                    self.mistake(problem)
                case TooLong():
                    limits.POP3_LINE.value += 1
                    self.mistake("The line is too long")
                case _:
                    self.mistake("There is no such command here")

    async def _hear(self) -> Event:
        if self.outflow.is_full():
            await self.outflow.drained()
        self._without_a_turn += 1
        if self._without_a_turn >= WITHOUT_A_TURN:
            self._without_a_turn = 0
            self.outflow.flush()
            await turn(self.clock)
        patience = self.settings.idle_time
        if self.state is State.AUTHORIZATION:
            patience = self._login_by - self.clock.seconds()
            if patience <= 0:
                raise TimedOut("nobody logged in in time")
        event: Event = await self.inbox.next(patience, safe_point=True)  # type: ignore[assignment]
        self.know_tls()
        return event

    def more_retrieves(self) -> list[int]:
        """The numbers of the RETRs that have come right behind this one: they are heard now."""
        numbers = self.wire.more_retrieves()
        if numbers:
            self._without_a_turn += len(numbers)
            POP3_COMMANDS["RETR"].value += len(numbers)
        return numbers

    def say_error(self, words: Words) -> None:
        """An error in the words of POP3."""
        self.outflow.write(err(words.text, words.code))

    def mistake(self, text: str, code: str = "") -> None:
        """An error of the client's. After too many of them the connection ends: raises ConnectionEnded."""
        self.outflow.write(err(text, code))
        self._errors += 1
        if self._errors >= self.settings.errors:
            self.log.info("too many errors from {peer} (pop3)", peer=self.peer.host or "unix")
            limits.POP3_ERRORS.value += 1
            self.outflow.write(err("Too many errors"))
            raise ConnectionEnded("too many errors")

    # --- authorization: RFC 1939 4 -----------------------------------------------------------------------------------

    async def _authorization(self) -> IMaildrop | None:
        """The maildrop of whoever logs in; None after QUIT."""
        self._login_by = self.clock.seconds() + self.settings.login_time
        while True:
            command = await self.listen()
            # RFC 1939 7: PASS comes immediately after USER.
            user, self._user = self._user, ""
            maildrop = None
            match command:
                case Quit():
                    self.outflow.write(ok("Goodbye"))
                    return None
                case Capa():
                    self.say_capabilities()
                case Lang(language):
                    self.say_language(language)
                case User(name):
                    if self._passwords_are_safe():
                        self._user = name
                        self.outflow.write(ok("And the password"))
                case Pass(password):
                    if self._passwords_are_safe():
                        if user:
                            maildrop = await self._pass(user, password)
                        else:
                            self.mistake("USER comes first")
                case Auth(mechanism, initial):
                    maildrop = await self._auth(mechanism, initial)
                case Stls():
                    await self._stls()
                case Utf8():
                    self._utf8 = True
                    self.outflow.write(ok("UTF-8"))
            if maildrop is not None:
                return maildrop

    def say_capabilities(self) -> None:
        """RFC 2449 5."""
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG"]
        if self.state is State.AUTHORIZATION:
            if self.peer.tls or self.peer.is_local:
                lines.append("USER")
            mechanisms = self.authenticator.mechanisms(self.peer)
            if mechanisms:
                lines.append(" ".join(["SASL", *mechanisms]))
            if self._may_start_tls():
                lines.append("STLS")
        lines.append("IMPLEMENTATION twisted_mail_kit")
        self.outflow.write(ok("What can be done here") + "\r\n".join([*lines, ""]).encode("ascii") + END)

    def say_language(self, language: str | None) -> None:
        """RFC 6856 3: English is all we speak."""
        if language is None:
            self.outflow.write(ok("Languages") + b"en English\r\n" + END)
        elif language in ("en", "i-default", "*"):
            self.outflow.write(ok("en English"))
        else:
            self.outflow.write(err("There are no texts in that language here"))

    def _passwords_are_safe(self) -> bool:
        if self.peer.tls or self.peer.is_local:
            return True
        self.mistake("Passwords are taken under TLS only: STLS first")
        return False

    def _may_start_tls(self) -> bool:
        return self.certificates is not None and not self.is_tls() and not self._utf8

    async def _stls(self) -> None:
        """RFC 2595 4. Nothing that was said before counts afterwards."""
        if not self._may_start_tls():
            # RFC 6856 2: not after UTF8 either.
            self.mistake("TLS cannot be started now")
            return
        if self.wire.has_octets() or self.inbox.has_more():
            # Somebody between us and the client may have put them there, RFC 3207 4.2's attack.
            self.outflow.write(err("Nothing can be said together with STLS"))
            raise ConnectionEnded("pipelined after STLS")
        self.outflow.write(ok("Begin TLS"))
        self.start_tls(self.certificates)

    async def _pass(self, user: str, password: str) -> IMaildrop | None:
        try:
            account = await self.authenticator.login(user, password, self.peer)
        except Exception as problem:
            self._refuse(problem)
            return None
        return await self._open(account)

    async def _auth(self, mechanism: str, initial: bytes | None) -> IMaildrop | None:
        """RFC 5034 4."""
        offered = self.authenticator.mechanisms(self.peer)
        if not mechanism:
            self.outflow.write(ok("Mechanisms") + "".join(f"{name}\r\n" for name in offered).encode("ascii") + END)
            return None
        if not offered:
            self.mistake("Passwords are taken under TLS only: STLS first")
            return None
        try:
            if mechanism not in offered:
                raise MechanismNotSupported(mechanism)
            exchange = self.authenticator.begin(mechanism, self.peer)
            answer = await exchange.respond(initial)
            while isinstance(answer, bytes):
                self.outflow.write(challenge(answer))
                response = await self._response()
                if response is None:
                    return None
                answer = await exchange.respond(response)
        except ConnectionEnded:
            raise
        except MechanismNotSupported:
            self.mistake("There is no such mechanism here")
            return None
        except Exception as problem:
            self._refuse(problem)
            return None
        return await self._open(answer)

    async def _response(self) -> bytes | None:
        """What the client answers to a challenge; None: it cancelled, or what it said is none."""
        self.wire.expect_response()
        match await self._hear():
            case Response(None):
                self.outflow.write(err("Cancelled"))
            case Response(octets):
                return octets
            case Malformed(problem):
                self.mistake(problem)
            case Unknown():
                self.mistake("This is not base64")
            case _:
                self.mistake("The line is too long")
        return None

    async def _open(self, account: IAccount) -> IMaildrop | None:
        """Lock the maildrop and take the snapshot. A maildrop that cannot be opened leaves us where we were."""
        if self.settings.lock:
            try:
                is_ours = await self._shared.hold(("maildrop", account.name))
            except Exception as problem:
                self._refuse(problem)
                return None
            if not is_ours:
                self.mistake("Another session has this maildrop open", "IN-USE")
                return None
            self._lock = account.name
        try:
            maildrop = await self._maildrop_of(account)
        except Exception as problem:
            self._unlock()
            self._refuse(problem)
            return None
        self._maildrop = maildrop
        self.know(login=account.name)
        self.outflow.write(ok(f"{maildrop.count} messages ({maildrop.total} octets)"))
        return maildrop

    def _unlock(self) -> None:
        if self._lock:
            self._shared.let_go(("maildrop", self._lock))
            self._lock = ""

    async def _maildrop_of(self, account: IAccount | IMaildropAccount) -> IMaildrop:
        if IMaildropAccount.providedBy(account):
            return await account.open_maildrop()
        return await Maildrop.open(account, self.settings.page, lambda: turn(self.clock), self._room)

    def _refuse(self, problem: Exception) -> None:
        words = expected(problem) or broken(self.reference(Failure(problem), "login"))
        self.mistake(words.text, words.code)
