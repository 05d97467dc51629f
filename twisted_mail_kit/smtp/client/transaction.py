"""One mail transaction: MAIL, RCPT, the message, and what became of it for each recipient (RFC 5321 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.smtp.client.connection import ClientConnection
from twisted_mail_kit.smtp.client.fit import Form, ascii_path, fit, not_ascii
from twisted_mail_kit.smtp.client.message import OutgoingMessage
from twisted_mail_kit.smtp.client.outcomes import (
    HostFailed,
    host_failed,
    is_one_too_many,
    outcome_of,
    recipient_outcome,
)
from twisted_mail_kit.smtp.wire import client as wire
from twisted_mail_kit.smtp.wire.data import DotWriter, LineEnds
from twisted_mail_kit.smtp.wire.replies import Reply

_BLOCK = 256 * 1024

LOST_REPLY = "the connection was lost after the whole message was sent, so it may have been delivered"


class Transaction:
    """Sends one message to some recipients over an open connection.

    `outcomes` is filled as answers come: a HostFailed leaves None for those whom another host may serve, and nobody is
    sent the message again who may have it.
    """

    def __init__(
        self,
        connection: ClientConnection,
        message: OutgoingMessage,
        recipients: Sequence[Recipient],
        outcomes: list[Outcome | None],
        chunking: bool = True,
        require_tls: bool = False,
    ) -> None:
        self._connection = connection
        self._message = message
        self._recipients = recipients
        self._outcomes = outcomes
        self._chunking = chunking
        self._require_tls = require_tls
        self._remote = connection.remote

    async def send(self, most: int) -> None:
        """At most `most` recipients at a time, until each has an outcome. Raises HostFailed."""
        connection = self._connection
        form = fit(self._message, connection.offers, self._chunking, self._remote)
        if isinstance(form, Failed):
            self._settle_rest(form)
            return
        if connection.offers.recipients:
            most = min(most, connection.offers.recipients)
        while group := self._next_group(form, most):
            before = self._outcomes.count(None)
            await self._send_to(group, form)
            if self._outcomes.count(None) == before:
                break  # cannot be; but a loop without an end would be worse
            # Whom the server called one too many comes in the next transaction.

    # --- who -------------------------------------------------------------------------------------------------------

    def _next_group(self, form: Form, most: int) -> list[tuple[int, bytes]]:
        """Index and RCPT command of those who come next; who cannot be told to this server fails here."""
        offers = self._connection.offers
        sender = self._message.envelope.sender
        if sender is not None and ascii_path(sender, offers, form.smtputf8) is None:
            self._settle_rest(not_ascii(sender, self._remote))
            return []
        group: list[tuple[int, bytes]] = []
        for index, recipient in enumerate(self._recipients):
            if self._outcomes[index] is not None:
                continue
            address = ascii_path(recipient.address, offers, form.smtputf8)
            if address is None:
                self._outcomes[index] = not_ascii(recipient.address, self._remote)
                continue
            try:
                if offers.dsn:
                    command = wire.rcpt(address, notify=recipient.notify, orcpt=recipient.orcpt)
                else:
                    command = wire.rcpt(address)
            except wire.Unspeakable:
                self._outcomes[index] = Failed(Status("5.1.3", "the address cannot be said in SMTP", 553))
                continue
            group.append((index, command))
            if len(group) == most:
                break
        return group

    def _settle(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome

    def _settle_rest(self, outcome: Outcome) -> None:
        for index, known in enumerate(self._outcomes):
            if known is None:
                self._outcomes[index] = outcome

    # --- one transaction -------------------------------------------------------------------------------------------

    async def _send_to(self, group: list[tuple[int, bytes]], form: Form) -> None:
        connection = self._connection
        times = connection.times
        try:
            mail = self._mail(form)
        except wire.Unspeakable:
            self._settle_rest(Failed(Status("5.1.7", "the sender's address cannot be said in SMTP", 553)))
            return
        if connection.needs_reset:
            await self._reset()
        connection.needs_reset = True
        is_pipelined = connection.offers.pipelining
        if is_pipelined:
            # RFC 2920 3.1: DATA may be the last of a group.
            rcpts = b"".join(command for _, command in group)
            connection.say(mail + rcpts + (b"" if form.by_chunks else wire.DATA))
        else:
            connection.say(mail)
        answer = await connection.hear(times.mail, "MAIL")
        refusal = None if answer.code // 100 == 2 else answer
        accepted: list[int] = []
        if refusal is None or is_pipelined:
            accepted = await self._hear_recipients(group, refusal, is_pipelined)
        if refusal is not None:
            for index, _ in group:
                self._settle(index, outcome_of(refusal, self._remote))
            accepted = []
        if form.by_chunks:
            if accepted:
                await self._send_chunks(form, accepted)
        elif is_pipelined or accepted:
            await self._send_data(form, accepted, is_pipelined)

    def _mail(self, form: Form) -> bytes:
        envelope, offers = self._message.envelope, self._connection.offers
        sender = envelope.sender
        return wire.mail(
            sender and ascii_path(sender, offers, form.smtputf8),
            size=form.size if offers.size is not None else None,
            body=form.body,
            smtputf8=form.smtputf8,
            ret=envelope.ret if offers.dsn else "",
            envid=envelope.envid if offers.dsn else "",
            require_tls=self._require_tls and offers.requiretls,
        )

    async def _reset(self) -> None:
        connection = self._connection
        connection.say(wire.RSET)
        answer = await connection.hear(connection.times.mail, "RSET")
        if answer.code != 250:
            raise host_failed(answer, self._remote)
        connection.needs_reset = False

    async def _hear_recipients(
        self, group: list[tuple[int, bytes]], refusal: Reply | None, is_pipelined: bool
    ) -> list[int]:
        """The indices of those who were accepted."""
        connection = self._connection
        accepted: list[int] = []
        too_many: list[tuple[int, Outcome]] = []
        for index, command in group:
            if not is_pipelined:
                connection.say(command)
            answer = await connection.hear(connection.times.rcpt, "RCPT")
            if refusal is not None:
                continue  # without MAIL these say nothing
            if answer.code // 100 == 2:
                accepted.append(index)
                continue
            outcome = recipient_outcome(answer, self._remote)
            if is_one_too_many(answer) and accepted:
                too_many.append((index, outcome))  # they come again in the next transaction
            else:
                self._settle(index, outcome)
        return accepted

    # --- DATA ------------------------------------------------------------------------------------------------------

    async def _send_data(self, form: Form, accepted: list[int], is_said: bool) -> None:
        connection = self._connection
        if not is_said:
            connection.say(wire.DATA)
        answer = await connection.hear(connection.times.data, "DATA")
        if answer.code != 354:
            outcome = outcome_of(answer, self._remote)
            if isinstance(outcome, Delivered):
                raise HostFailed(Status("4.5.0", f"unexpected reply {answer.code} to DATA", 0, self._remote))
            for index in accepted:
                self._settle(index, outcome)
            return
        if not accepted:
            # RFC 2920 3.1: it was said before we knew that nobody is left. What is answered does not matter.
            connection.say(b".\r\n")
            await connection.hear(connection.times.final, "an empty message")
            return
        writer = DotWriter()
        for octets in form.chunks():
            connection.say(writer.take(octets))
            if connection.outflow.is_full() and await self._is_cut_short(accepted):
                return
        if await self._is_cut_short(accepted):
            return
        connection.say(writer.finish())
        await self._conclude(accepted)

    async def _is_cut_short(self, accepted: list[int]) -> bool:
        """The server has answered before the message was whole: then that is its answer, and we hang up, for it may
        take the rest for commands. Waits for the server to read on."""
        connection = self._connection
        if connection.outflow.is_full():
            try:
                await connection.outflow.drained()
            except Exception:
                early = connection.hear_now()
                if early is None:
                    raise connection.trouble("the connection was lost within the message") from None
                self._break_off(early, accepted)
                return True
        early = connection.hear_now()
        if early is not None:
            self._break_off(early, accepted)
            return True
        if connection.is_lost:
            raise connection.trouble("the connection was lost within the message")
        return False

    def _break_off(self, answer: Reply, accepted: list[int]) -> None:
        self._connection.abort()
        if answer.code == 421 or answer.code < 400:
            raise host_failed(answer, self._remote)
        for index in accepted:
            self._settle(index, outcome_of(answer, self._remote))

    # --- BDAT ------------------------------------------------------------------------------------------------------

    async def _send_chunks(self, form: Form, accepted: list[int]) -> None:
        """RFC 3030. Each chunk has an answer; they are not waited for until the last one is out."""
        connection = self._connection
        waiting = 0
        for octets, is_last in _blocks(form):
            if connection.is_lost:
                raise connection.trouble("the connection was lost within the message")
            connection.say(wire.bdat(len(octets), is_last) + octets)
            if is_last:
                break
            waiting += 1
            try:
                await connection.outflow.drained()
            except Exception:
                raise connection.trouble("the connection was lost within the message") from None
            while waiting and (answer := connection.hear_now()) is not None:
                waiting -= 1
                if not self._goes_on(answer, accepted):
                    return
        for _ in range(waiting):
            answer = await self._hear_final(accepted)
            if not self._goes_on(answer, accepted):
                return
        await self._conclude(accepted)

    def _goes_on(self, answer: Reply, accepted: list[int]) -> bool:
        if answer.code // 100 == 2:
            return True
        # Answers to the chunks behind it are still to come, and say nothing: a new connection is simpler.
        self._break_off(answer, accepted)
        return False

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _conclude(self, accepted: list[int]) -> None:
        """The message is out: one answer, or with LMTP one for each accepted recipient (RFC 2033 4.2)."""
        connection = self._connection
        if connection.is_lmtp:
            for number, index in enumerate(accepted):
                answer = await self._hear_final(accepted[number:])
                self._settle(index, self._final_outcome(answer))
        else:
            answer = await self._hear_final(accepted)
            outcome = self._final_outcome(answer)
            for index in accepted:
                self._settle(index, outcome)
        connection.needs_reset = False
        connection.messages += 1
        if answer.code == 421:
            connection.hang_up()

    def _final_outcome(self, answer: Reply) -> Outcome:
        outcome = outcome_of(answer, self._remote)
        if isinstance(outcome, Delivered) and self._connection.offers.dsn:
            return Delivered(outcome.status, will_notify=True)
        return outcome

    async def _hear_final(self, accepted: list[int]) -> Reply:
        """The one uncertainty of RFC 5321 4.5.3.2.6: without an answer, nobody knows. No other host gets it then."""
        try:
            return await self._connection.hear_any(self._connection.times.final, "the message")
        except HostFailed as problem:
            text = LOST_REPLY if problem.status.code == "4.4.2" else f"{LOST_REPLY}: {problem.status.text}"
            for index in accepted:
                self._settle(index, Delayed(Status("4.4.2", text, 0, self._remote)))
            raise


def _blocks(form: Form) -> Iterator[tuple[bytes, bool]]:
    """The octets in blocks, each with whether it is the last. Only binary ones keep bare CR and LF."""
    line_ends = LineEnds("rewrite")
    octets = form.chunks()
    if not form.is_binary:
        octets = chain((line_ends.take(one) for one in form.chunks()), _rest(line_ends))
    gathered: list[bytes] = []
    size = 0
    for one in octets:
        if size and size + len(one) > _BLOCK:
            yield b"".join(gathered), False
            gathered, size = [], 0
        gathered.append(one)
        size += len(one)
    yield b"".join(gathered), True


def _rest(line_ends: LineEnds) -> Iterator[bytes]:
    yield line_ends.finish()
