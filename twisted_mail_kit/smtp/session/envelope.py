"""MAIL, RCPT and RSET: who sends to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import AccountNotFound, Refused
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.smtp.session.transaction import Transaction
from twisted_mail_kit.smtp.wire.commands import Mail, Rcpt, Rset
from twisted_mail_kit.smtp.wire.replies import Reply, reply, usual
from twisted_mail_kit.smtp.wire.states import State

if TYPE_CHECKING:
    from twisted_mail_kit.smtp.session.session import SMTPSession

_SENDER = usual(250, "2.1.0", "Sender is welcome")
_RECIPIENT = usual(250, "2.1.5", "Recipient is known")
_RESET = reply(250, "2.0.0", "Forgotten")
_LOGIN_FIRST = reply(530, "5.7.0", "Log in first")
_UTF8 = reply(553, "5.6.7", "An address outside ASCII needs SMTPUTF8")
_NO_REQUIRETLS = reply(555, "5.5.4", "Parameter REQUIRETLS is not known here")
_TOO_MANY_MESSAGES = reply(450, "4.7.1", "Too many messages from your address, try again later")
_TOO_MANY_ADDRESSED = reply(450, "4.7.1", "Too many recipients from your address, try again later")

_FREE_REFUSALS = 2
_LONGEST_DELAY = 10.0


async def mail(session: SMTPSession, command: Mail) -> Reply | None:
    """RFC 5321 4.1.1.2. Raises what the target raises."""
    settings = session.settings
    if _is_hasty(session):
        return session.send_away_the_hasty("MAIL")
    if session.is_draining:
        return session.end(session.going_down())
    if session.needs_login and not session.peer.login:
        return _LOGIN_FIRST
    if command.require_tls and not session.offers_requiretls():
        return _NO_REQUIRETLS
    if command.has_utf8 and not command.smtputf8:
        return _UTF8
    if command.size is not None and command.size > settings.message_size:
        session.log.info("{peer} has a message of {size} octets", peer=session.caller, size=command.size)
        limits.SMTP_MESSAGE_SIZE.value += 1
        return reply(552, "5.3.4", f"More than {settings.message_size} octets")
    if session.tally.messages >= settings.messages:
        session.log.info(
            "{peer} has sent {count} messages, that is enough", peer=session.caller, count=session.tally.messages
        )
        limits.SMTP_MESSAGES.value += 1
        return session.end(reply(421, "4.7.0", f"{session.hostname} Enough for one connection, come again"))
    if session.is_rated and not session.rates.may_send(session.source):
        return _TOO_MANY_MESSAGES
    now = session.clock.seconds()
    envelope = Envelope(
        command.sender,
        session.peer,
        new_trace_id(now),
        command.body,
        command.smtputf8,
        command.size,
        command.ret,
        command.envid,
        command.auth,
        command.require_tls,
        now,
    )
    delivery = await session.ask(session.target.begin(envelope))
    session.tally.messages += 1
    session.transaction = Transaction(
        envelope, delivery, settings.message_size, settings.bare_line_ends, session.explain
    )
    session.state = State.MAIL
    return _SENDER


async def rcpt(session: SMTPSession, command: Rcpt) -> Reply | None:
    """RFC 5321 4.1.1.3. Raises what the target raises."""
    transaction = session.transaction
    assert transaction is not None
    if _is_hasty(session):
        return session.send_away_the_hasty("RCPT")
    if command.has_utf8 and not transaction.envelope.smtputf8:
        return _UTF8
    if len(transaction.recipients) >= session.settings.recipients:
        if len(transaction.recipients) == session.settings.recipients and not session.tally.is_crowded:
            session.tally.is_crowded = True
            session.log.info("{trace_id} has too many recipients", trace_id=transaction.envelope.trace_id)
            limits.SMTP_RECIPIENTS.value += 1
        # RFC 5321 4.5.3.1.10: the client sends to those it has, and to the rest in another transaction.
        return reply(452, "4.5.3", f"No more than {session.settings.recipients} recipients at a time")
    if session.is_rated and not session.rates.may_address(session.source):
        return _TOO_MANY_ADDRESSED
    try:
        await session.ask(transaction.add(Recipient(command.address, command.notify, command.orcpt)))
    except (Refused, AccountNotFound):
        await _slow_down(session)
        raise
    session.state = State.RCPT
    return _RECIPIENT


async def rset(session: SMTPSession, command: Rset) -> Reply | None:
    """RFC 5321 4.1.1.5."""
    await session.forget_transaction()
    return _RESET


def _is_hasty(session: SMTPSession) -> bool:
    # Whoever said HELO was not told that we take groups of commands (RFC 2920 3.1).
    return not session.peer.esmtp and session.talks_ahead()


async def _slow_down(session: SMTPSession) -> None:
    """Whoever tries out which addresses there are shall not get through the dictionary."""
    if session.is_lmtp:
        return
    session.tally.refused += 1
    steps = session.tally.refused - _FREE_REFUSALS
    if steps > 0 and session.settings.unknown_recipient_delay:
        session.flush()
        await session.pause(min(steps * session.settings.unknown_recipient_delay, _LONGEST_DELAY))
