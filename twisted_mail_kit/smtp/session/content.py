"""DATA and BDAT: a message's octets, and the answer for which its sender has waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_mail_kit.mail.outcome import Delivered
from twisted_mail_kit.metrics.catalogue import RECEIVED
from twisted_mail_kit.net.inbox import TimedOut
from twisted_mail_kit.net.telling import tell
from twisted_mail_kit.smtp.outcomes import fold, reply_to_outcome
from twisted_mail_kit.smtp.wire.commands import Bdat, Content, Data
from twisted_mail_kit.smtp.wire.replies import Reply, reply, usual
from twisted_mail_kit.smtp.wire.states import State, out_of_turn

if TYPE_CHECKING:
    from twisted_mail_kit.smtp.session.session import SMTPSession
    from twisted_mail_kit.smtp.session.transaction import Transaction

log = Logger()

_GO_ON = usual(354, "", "Go on; a dot alone in a line ends it")
_BINARY = reply(503, "5.5.1", "BINARYMIME goes with BDAT only")


async def data(session: SMTPSession, command: Data) -> Reply | None:
    """RFC 5321 4.1.1.4."""
    transaction = session.transaction
    assert transaction is not None
    if transaction.envelope.body == "BINARYMIME":
        return _BINARY  # RFC 3030 3
    if session.talks_ahead():
        # RFC 2920 3.1: DATA is the last of a group. What follows was not meant for this 354, so it is not believed.
        return session.send_away_the_hasty("DATA")
    session.wire.expect_data()
    session.say(_GO_ON)
    await _receive(session, transaction)
    return await _conclude(session, transaction)


async def bdat(session: SMTPSession, command: Bdat) -> Reply | None:
    """RFC 3030 2. The octets come whatever is said to them, so they are heard in any case."""
    refusal = out_of_turn(session.state, command)
    transaction = session.transaction
    if refusal is not None or transaction is None:
        await _receive(session, None)
        return refusal
    await _receive(session, transaction)
    if command.is_last:
        return await _conclude(session, transaction)
    if transaction.problem is not None:
        # RFC 3030 2: after a failed one the rest gets 503 until there is a new MAIL.
        _log(session, transaction, transaction.problem)
        session.close_transaction()
        return transaction.problem
    session.state = State.CHUNKS
    return reply(250, "2.0.0", f"{transaction.size} octets so far")


async def _receive(session: SMTPSession, transaction: Transaction | None) -> None:
    settings = session.settings
    now = session.clock.seconds()
    deadline = transaction.deadline if transaction is not None else None
    if deadline is None:
        deadline = now + settings.time_for_message
        if transaction is not None:
            transaction.deadline = deadline
    is_last = False
    while not is_last:
        left = deadline - session.clock.seconds()
        if left <= 0:
            raise TimedOut("the message took too long")
        content = await session.hear(min(settings.time_in_data, left))
        assert isinstance(content, Content)
        is_last = content.is_last
        if transaction is not None:
            await transaction.write(content.octets)


async def _conclude(session: SMTPSession, transaction: Transaction) -> Reply | None:
    session.flush()  # whoever has waited for the replies to earlier commands need not wait for the disk
    began = session.clock.seconds()
    outcomes = await transaction.commit()
    session.close_transaction()
    trace_id = transaction.envelope.trace_id
    if isinstance(outcomes, Reply):
        replies = [outcomes] * (len(transaction.recipients) if session.is_lmtp else 1)
    elif session.is_lmtp:
        replies = [reply_to_outcome(outcome, trace_id) for outcome in outcomes]
    else:
        replies = [fold(outcomes, trace_id)]
    if not isinstance(outcomes, Reply) and any(isinstance(outcome, Delivered) for outcome in outcomes):
        session.tally.delivered()
    code = replies[0].code if len(replies) == 1 else min(one.code for one in replies)
    RECEIVED[session.service].count(
        code, transaction.size, len(transaction.recipients), session.clock.seconds() - began
    )
    _log(session, transaction, *replies)
    # RFC 2033 4.2: one reply a recipient, in the order of the RCPTs. The last one is for the caller to say.
    for one in replies[:-1]:
        session.say(one)
    return replies[-1]


def _log(session: SMTPSession, transaction: Transaction, *replies: Reply) -> None:
    envelope = transaction.envelope
    sender, caller = str(envelope.sender or ""), session.caller
    count, outcome = len(transaction.recipients), _sum(replies)
    tell(
        log,
        f"message {envelope.trace_id} from <{sender}> by {caller} to {count} recipients,"
        f" {transaction.size} octets: {outcome}",
        trace_id=envelope.trace_id,
        sender=sender,
        peer=caller,
        login=session.peer.login,
        recipients=count,
        size=transaction.size,
        outcome=outcome,
    )
    if session.is_gone:
        session.log.info("{peer} left before it heard of {trace_id}", peer=session.caller, trace_id=envelope.trace_id)


def _sum(replies: tuple[Reply, ...]) -> str:
    if len(replies) == 1:
        return f"{replies[0].code} {replies[0].enhanced}"
    told = dict.fromkeys(f"{one.code} {one.enhanced}" for one in replies)
    return ", ".join(told)
