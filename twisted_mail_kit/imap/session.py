"""One IMAP connection, from greeting to BYE (RFC 3501)."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Any, cast

from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConnectionEnded, MailboxNotFound
from twisted_mail_kit.imap.commands.basis import AUTHENTICATED, NOT_AUTHENTICATED, SELECTED, Completed
from twisted_mail_kit.imap.commands.idle import idling
from twisted_mail_kit.imap.commands.table import COMMANDS
from twisted_mail_kit.imap.outcomes import Mistake, Refusal, refusal_for, unexpected
from twisted_mail_kit.imap.reached import limit_of
from twisted_mail_kit.imap.server import OpenAccount, Server
from twisted_mail_kit.imap.turns import TURN, next_turn
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import Append, Command, Fetch, Idle, Search, StartTls, Store
from twisted_mail_kit.imap.wire.connection import IMAPWire
from twisted_mail_kit.imap.wire.events import BadCommand, ContinuationNeeded, Event
from twisted_mail_kit.interfaces import IAccount
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import IMAP_COMMANDS, IMAP_REFUSED
from twisted_mail_kit.net.inbox import Draining, Inbox, Signal, TimedOut
from twisted_mail_kit.net.session import Session

_EVERYWHERE = ("IMAP4rev1", "LITERAL+", "SASL-IR", "ID", "ENABLE", "IDLE")
_AFTER_LOGIN = (
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "NAMESPACE",
    "CHILDREN",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "CONDSTORE",
)


class IMAPSession(Session):
    """Waits for a command, does it, tells what else has changed, answers; one after the other (RFC 3501 5.5)."""

    inbox: Inbox[Event]

    def __init__(self, server: Server) -> None:
        super().__init__(server.clock, "imap")
        self.server = server
        self.settings = server.settings
        self.opened: OpenAccount | None = None
        """After login."""
        self.selected: View | None = None
        self.is_condstore = False
        """RFC 7162 3.1: the client has shown that it knows modseqs."""
        self.idle: Idle | None = None
        """The client has said IDLE: what it is told now is told in `commands.idle`, until it says DONE."""
        self.is_over = False
        """LOGOUT was said, or BYE."""
        self.mistakes = 0
        self._is_tried = False
        self._deadline = 0.0

    # --- what commands ask of the session --------------------------------------------------------------------------

    @property
    def wire(self) -> IMAPWire:
        """The parser."""
        return cast(IMAPWire, self.inbox.wire)

    @property
    def account(self) -> IAccount:
        """Whose mail it is; after login only."""
        return self.home.account

    @property
    def home(self) -> OpenAccount:
        """The account with its mailboxes; after login only."""
        assert self.opened is not None
        return self.opened

    @property
    def view(self) -> View:
        """The selected mailbox; in selected state only. A deleted one is MailboxNotFound."""
        assert self.selected is not None
        if self.selected.model.is_gone:
            raise MailboxNotFound("the selected mailbox")
        return self.selected

    @property
    def writable(self) -> View:
        """The selected mailbox, for a command that changes it."""
        if self.view.is_read_only:
            raise Refusal("The mailbox was opened with EXAMINE", b"READ-ONLY")
        return self.view

    def state(self) -> int:
        """One of NOT_AUTHENTICATED, AUTHENTICATED, SELECTED."""
        if self.opened is None:
            return NOT_AUTHENTICATED
        return AUTHENTICATED if self.selected is None else SELECTED

    def auth_peer(self) -> Peer:
        """The peer as the authenticator is to see it: under TLS also before its handshake is over."""
        return replace(self.peer, tls="TLS") if self.is_tls() and not self.peer.tls else self.peer

    def may_login(self) -> bool:
        """A password does no harm on this connection: RFC 3501 6.2.3, LOGINDISABLED."""
        return self.is_tls() or self.peer.is_local

    def capabilities(self) -> list[str]:
        """For this connection in this state."""
        names = list(_EVERYWHERE)
        if self.opened is None:
            if not self.is_tls() and self.server.certificates is not None:
                names.append("STARTTLS")
            if not self.may_login():
                names.append("LOGINDISABLED")
            names += [f"AUTH={name}" for name in self.server.authenticator.mechanisms(self.auth_peer())]
        # Some clients look at the list once, before login, and never again.
        names += _AFTER_LOGIN
        return names

    def enter(self, account: IAccount) -> None:
        """The client has logged in. Raises LimitReached."""
        self.opened = self.server.enter(account)
        self.know(login=self.opened.name)  # the one that its other sessions have too, not one more of the same text
        self.mistakes = 0

    def leave_mailbox(self) -> None:
        """Nothing is selected any more."""
        if self.selected is not None:
            self.home.unselect(self.selected)
            self.selected = None

    def say(self, lines: Iterable[bytes]) -> None:
        """Responses, one after the other."""
        octets = b"".join(lines)
        if octets:
            self.outflow.write(octets)

    async def breathe(self) -> None:
        """Called between pieces of a long work: wait for a slow reader, and let other sessions have their turn."""
        if self.outflow.is_full():
            await self.outflow.drained()
            self.inbox.busy_since = self.clock.seconds()
        elif self.clock.seconds() - self.inbox.busy_since > TURN:
            await next_turn(self.clock)
            self.inbox.busy_since = self.clock.seconds()

    def hear(
        self, seconds: float | None = None, wakeable: bool = False, safe_point: bool = False
    ) -> Awaitable[Event | Signal]:
        """The next event; what was said so far is sent before the client is waited for."""
        return self.inbox.next(self._patience() if seconds is None else seconds, wakeable, safe_point)

    async def tell(self, may_expunge: bool, is_fresh: bool = False) -> None:
        """Tell what has changed in the selected mailbox, as far as may be told now; BYE where it is gone. Where the
        model `is_fresh`, the store is not asked."""
        view = self.selected
        if view is None:
            return
        if not is_fresh:
            await view.model.refresh()
        if self.selected is not view:
            return
        if view.model.is_gone:
            self.bye("The selected mailbox was deleted")
            return
        for lines in view.tell(may_expunge, self.is_condstore):
            self.say(lines)
            await self.breathe()

    def bye(self, text: str, code: bytes = b"") -> None:
        """Say it; the session ends."""
        self.outflow.write(responses.bye(text, code))
        self.is_over = True

    # --- the story -------------------------------------------------------------------------------------------------

    def make_wire(self) -> IMAPWire:
        """A new parser."""
        return IMAPWire(self.server.wire_limits)

    async def turn_away(self) -> None:
        """Too many connections from there."""
        self.bye("Too many connections from your address", b"LIMIT")

    def failed(self, reference: str) -> None:
        """The session broke."""
        self.bye(f"Something broke here (reference {reference})", b"SERVERBUG")

    async def run(self) -> None:
        """Greeting, commands, goodbye."""
        self._deadline = self.clock.seconds() + self.settings.login_time
        try:
            greeting = f"{self.server.hostname} is ready"
            self.outflow.write(responses.ok(None, greeting, responses.capability(self.capabilities())))
            while not self.is_over:
                await self._next()
                if self.idle is not None:
                    # Not as a part of its command: a session is in IDLE for hours, and few coroutines should be there
                    # with it.
                    await idling(self, self.idle)
        except Draining:
            self.bye("The server is going down")
        except TimedOut:
            (limits.IMAP_IDLE_TIME if self.opened else limits.IMAP_LOGIN_TIME).value += 1
            self.log.info("{peer} said nothing for too long (imap)", peer=self.peer.host or "unix")
            # RFC 3501 5.4
            self.bye("Autologout; nothing was said for too long" if self.opened else "Login took too long")
        finally:
            self.leave_mailbox()
            if self.opened is not None:
                self.server.leave(self.opened)

    async def _next(self) -> None:
        event = await self.hear(safe_point=True)
        self.know_tls()
        if isinstance(event, Command):
            await self._do(event)
            await self.breathe()
        elif isinstance(event, BadCommand):
            self.outflow.write(event.line())
            self._note_refusal(event.status, event)
            if event.fatal:
                self.bye("What follows cannot be understood")
            self._count_mistake()
        elif isinstance(event, ContinuationNeeded):
            self.outflow.write(responses.continuation())
        if self._is_tried and not self.is_over:
            self.bye("Too many bad commands")

    async def _do(self, command: Command) -> None:
        line: bytes | None = None
        is_fresh = False
        count = _COUNTS.get(type(command))
        if count is not None:
            count.value += 1
        try:
            completed = await self._run(command)
            if completed is not None:
                line = responses.ok(command.tag, completed.text, completed.code)
                is_fresh = completed.is_fresh
            if self.opened is not None:
                self.mistakes = 0
        except ConnectionEnded:
            raise
        except Exception as problem:
            line = self.refuse(command, problem)
        await self.complete(command, line, is_fresh)

    async def _run(self, command: Command) -> Completed | None:
        entry = COMMANDS.get(type(command))
        if entry is None:
            raise Mistake("No such command")
        do, states = entry
        if self.state() not in states:
            # The wire waits to be told how it goes on.
            if isinstance(command, Append):
                self.wire.refuse_literal()
            elif isinstance(command, Idle | StartTls):
                self.wire.resume()
            name = type(command).__name__.upper()
            raise Mistake(f"{name} cannot be said now: {_STATE_NAMES[self.state()]}")
        return await do(self, command)

    async def complete(self, command: Command, line: bytes | None, is_fresh: bool = False) -> None:
        """What else has changed, then the command's own answer."""
        if self.selected is not None and not self.is_over:
            try:
                await self.tell(_may_expunge(command), is_fresh)
            except Exception as problem:
                # The command itself is done; what else is new will be told another time.
                self._unexpected(problem, "refresh")
        if line is not None:
            self.outflow.write(line)

    def refuse(self, command: Command, problem: Exception) -> bytes:
        """The tagged answer to a command that was not done."""
        refusal = refusal_for(problem) or self._unexpected(problem, type(command).__name__)
        self._note_refusal(refusal.status, problem)
        if refusal.status == b"BAD" or self.opened is None:
            self._count_mistake()
        return responses.condition(command.tag, refusal.status, refusal.text, refusal.code)

    def _note_refusal(self, status: bytes, problem: Exception | BadCommand) -> None:
        IMAP_REFUSED[status.decode()].value += 1
        reached = limit_of(problem)
        if reached is not None:
            what, limit = reached
            limit.value += 1
            self.log.info("a limit was reached by {peer} (imap): {what}", peer=self.peer.host, what=what)

    def _unexpected(self, problem: Exception, what: str) -> Refusal:
        return unexpected(problem, self.reference(Failure(problem), what))

    def _count_mistake(self) -> None:
        self.mistakes += 1
        most = self.settings.bad_commands_before_login if self.opened is None else self.settings.bad_commands
        if self.mistakes >= most:
            self.log.info("too many bad commands from {peer} (imap)", peer=self.peer.host)
            limits.IMAP_BAD_COMMANDS.value += 1
            self._is_tried = True

    def _patience(self) -> float:
        if self.opened is not None:
            return self.settings.idle_time
        return max(0.0, self._deadline - self.clock.seconds())


_COUNTS = {kind: IMAP_COMMANDS[kind.__name__.upper()] for kind in COMMANDS}
_STATE_NAMES: dict[int, str] = {
    NOT_AUTHENTICATED: "log in first",
    AUTHENTICATED: "not in the authenticated state, or select a mailbox first",
    SELECTED: "not while a mailbox is selected",
}


def _may_expunge(command: Any) -> bool:
    # RFC 3501 7.4.1: never while answering FETCH, STORE or SEARCH; their UID forms are other commands (5.5).
    return command.by_uid if isinstance(command, Fetch | Store | Search) else True
