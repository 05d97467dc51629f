"""An IMessageDelivery of `twisted.mail` as a delivery target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any

from twisted.cred.credentials import Anonymous
from twisted.cred.error import LoginFailed, UnhandledCredentials
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.mail.interfaces import IMessageDelivery, IMessageDeliveryFactory
from twisted.mail.smtp import Address as TheirAddress
from twisted.mail.smtp import User
from zope.interface import implementer

from twisted_mail_kit.adapters.lines import Lines
from twisted_mail_kit.adapters.patience import Patience
from twisted_mail_kit.adapters.words import our_error, their_address, their_protocol
from twisted_mail_kit.errors import ConfigurationError, Refused, TryLater
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status

IN_A_ROW = 1000
"""Lines that are handed on before others get their turn."""
NOT_BY_LINES = Status("5.6.3", "BINARYMIME cannot be taken here", 554)
LINE_TOO_LONG = Status("5.6.0", "A line of the message is too long", 550)
NO_STRANGERS = Status("5.7.1", "Senders have to log in here", 550)


@implementer(IDeliveryTarget)
class MountedDelivery:
    """Hands mail to an IMessageDeliveryFactory, an IMessageDelivery, or to what a portal or realm gives of them: for
    who logged in, the avatar of that name; for all others what the portal has for Anonymous credentials.

    `validateFrom` is asked at MAIL, `validateTo` at RCPT; the message goes on line by line as it comes, after what
    `receivedHeader` gives (not with ``received_header=False``); nothing of it is held. `eomReceived` decides for its
    recipient: what it gives is Delivered, which is as durable as that code makes it; an SMTPServerError is Delayed
    (4xx) or Failed; any other exception is Delayed, with the message's trace id as reference. `connectionLost` is
    called where a message does not come to its end. Each of them may answer at once, or with a Deferred or coroutine
    within `patience` seconds.

    Addresses outside ASCII and BINARYMIME are refused, and so is a line of more than `line_length` octets.
    """

    log = Logger()

    def __init__(
        self,
        source: Any,
        reactor: Any,
        *,
        hostname: str = "localhost",
        patience: float = 60.0,
        received_header: bool = True,
        line_length: int = 1024 * 1024,
    ) -> None:
        kinds = IMessageDeliveryFactory, IMessageDelivery, IRealm
        if not isinstance(source, Portal) and not any(kind.providedBy(source) for kind in kinds):
            raise ConfigurationError(
                [f"an IMessageDeliveryFactory, an IMessageDelivery, a portal or a realm expected, not {source!r}"]
            )
        self.source = source
        self.hostname = hostname
        self.patience = Patience(reactor, patience)
        self.received_header = received_header
        self.line_length = line_length

    async def begin(self, envelope: Envelope) -> IDelivery:
        """Ask `validateFrom`. Raises Refused, TryLater."""
        if envelope.body == "BINARYMIME":
            raise Refused(NOT_BY_LINES)
        origin = their_address(envelope.sender, self.hostname)
        delivery, logout = await self._delivery_for(envelope.peer)
        transaction = _Transaction(self, envelope, delivery, logout)
        try:
            await transaction.take_sender(origin)
        except BaseException:
            await transaction.abort()
            raise
        return transaction

    async def _delivery_for(self, peer: Peer) -> tuple[Any, Callable[[], object]]:
        source, ask = self.source, self.patience.ask
        logout: Callable[[], object] = _nothing
        if isinstance(source, Portal) or IRealm.providedBy(source):
            source, logout = await self._log_in(peer)
        if IMessageDeliveryFactory.providedBy(source):
            try:
                source = await ask(source.getMessageDelivery)
            except BaseException:
                logout()
                raise
        return source, logout

    async def _log_in(self, peer: Peer) -> tuple[Any, Callable[[], object]]:
        source, ask = self.source, self.patience.ask
        kinds = IMessageDeliveryFactory, IMessageDelivery
        try:
            if peer.login:
                realm = source.realm if isinstance(source, Portal) else source
                _, avatar, logout = await ask(realm.requestAvatar, peer.login.encode(), None, *kinds)
            elif isinstance(source, Portal):
                _, avatar, logout = await ask(source.login, Anonymous(), None, *kinds)
            else:
                raise Refused(NO_STRANGERS)  # a checker says whether anonymous avatars are given: a realm has none
        except (LoginFailed, UnhandledCredentials) as problem:
            raise Refused(NO_STRANGERS) from problem
        return avatar, logout


@implementer(IDelivery)
class _Transaction:
    """One message."""

    def __init__(
        self, target: MountedDelivery, envelope: Envelope, delivery: Any, logout: Callable[[], object]
    ) -> None:
        self._target = target
        self._envelope = envelope
        self._delivery = delivery
        self._logout = logout
        peer = envelope.peer
        self._helo = peer.name.encode("utf-8"), peer.host.encode("ascii", "replace")
        self._protocol = their_protocol(peer, target.hostname)
        self._origin: Any = None
        self._recipients: list[tuple[User, Callable[[], Any]]] = []
        self._messages: list[Any] | None = None
        self._lines = Lines(target.line_length)
        self._is_over = False

    async def take_sender(self, origin: TheirAddress) -> None:
        """Raises Refused, TryLater."""
        answer = await self._asking(self._target.patience.ask(self._delivery.validateFrom, self._helo, origin), "1.0")
        self._origin = answer if isinstance(answer, TheirAddress) else origin

    async def add_recipient(self, recipient: Recipient) -> None:
        destination = their_address(recipient.address, self._target.hostname)
        user = User(destination, self._helo, self._protocol, self._origin)
        make = await self._asking(self._target.patience.ask(self._delivery.validateTo, user), "1.0")
        if not callable(make):
            raise TypeError(f"validateTo gave {make!r}, which cannot be called")
        self._recipients.append((user, make))

    async def write(self, octets: bytes) -> None:
        try:
            await self._asking(self._pass_on(self._lines.take(octets)), "6.0")
        except BaseException:
            await self.abort()
            raise

    async def commit(self) -> Sequence[Outcome]:
        await self.write(b"")
        try:
            await self._asking(self._pass_on(self._lines.finish()), "6.0")
        except BaseException:
            await self.abort()
            raise
        messages, self._messages = self._messages or [], []
        try:
            ends = [Deferred.fromCoroutine(self._end(one)) for one in messages]
            outcomes: list[Outcome] = await gatherResults(ends)
        finally:
            await self.abort()
        return outcomes

    async def abort(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        messages, self._messages = self._messages or [], []
        for one in messages:
            self._let_go(one.connectionLost)
        self._let_go(self._logout)

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _asking(self, answer: Awaitable[Any], enhanced: str) -> Any:
        """Await it. Raises Refused, TryLater, or what nobody expected."""
        try:
            return await answer
        except Exception as problem:
            ours = our_error(problem, enhanced)
            if ours is None or ours is problem:
                raise
            raise ours from problem

    async def _pass_on(self, lines: Sequence[bytes]) -> None:
        """Give lines to all messages; make these before the first one."""
        if self._lines.is_too_long:
            raise Refused(LINE_TOO_LONG)
        messages = self._messages
        if messages is None:
            messages = await self._begin()
        in_a_row = 0
        for line in lines:
            in_a_row += len(messages)
            if in_a_row > IN_A_ROW:
                in_a_row = 0
                await self._target.patience.breath()
            for one in messages:
                answer = one.lineReceived(line)
                if answer is not None and isawaitable(answer):
                    await self._target.patience.ask(lambda answer=answer: answer)

    async def _begin(self) -> list[Any]:
        """One IMessage a recipient, each with what `receivedHeader` gives."""
        ask = self._target.patience.ask
        # What is made is ours to let go of, even if the next one fails.
        messages = self._messages = []
        for user, make in self._recipients:
            message = await ask(make)
            messages.append(message)
            if self._target.received_header:
                field = await ask(self._delivery.receivedHeader, self._helo, self._origin, [user])
                if field:
                    field = field.encode("utf-8") if isinstance(field, str) else field
                    await ask(message.lineReceived, field)
        return messages

    async def _end(self, message: Any) -> Outcome:
        try:
            await self._target.patience.ask(message.eomReceived)
        except Exception as problem:
            ours = our_error(problem, "0.0")
            if isinstance(ours, Refused):
                return Failed(ours.status)
            if isinstance(ours, TryLater):
                return Delayed(ours.status)
            trace_id = self._envelope.trace_id
            MountedDelivery.log.failure("the end of {trace_id} was not taken, reference {trace_id}", trace_id=trace_id)
            return Delayed(Status("4.3.0", f"Cannot be delivered now, reference {trace_id}", 451))
        return Delivered()

    def _let_go(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:
            MountedDelivery.log.failure("{trace_id} could not be let go of", trace_id=self._envelope.trace_id)


def _nothing() -> None:
    pass
