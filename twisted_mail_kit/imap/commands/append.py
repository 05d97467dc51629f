"""APPEND (RFC 3501 6.3.11, RFC 4315): a message from the client, stored while it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import MailboxNotFound
from twisted_mail_kit.imap.commands.basis import Completed, check_keywords, read_flags
from twisted_mail_kit.imap.outcomes import Refusal, refusal_of
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.imap.wire.events import BadCommand, Literal
from twisted_mail_kit.interfaces import Add, Added, IBlobWriter
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import pack

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_PATIENCE = 300.0
"""Seconds of silence within a message."""


async def append(session: IMAPSession, command: commands.Append) -> Completed:
    """What can be refused is refused before the client sends the message, where it waits to be asked for it."""
    try:
        flags = read_flags(session.home, command.flags)
        mailbox = await _target(session, command)
        check_keywords(session.home, flags)
        writer = session.account.new_blob(command.size)
    except Exception:
        session.wire.refuse_literal()
        raise
    if session.wire.accept_literal():
        session.outflow.write(responses.continuation())
    scanner = Scanner(session.server.limits)
    try:
        problem = await _receive(session, writer, scanner)
        if problem is not None:
            raise problem
        blob_id = await writer.commit()
        date = command.internal_date
        op = Add(
            mailbox,
            blob_id,
            int(session.clock.seconds()) if date is None else date,
            pack(scanner.close()),
            flags,
        )
        try:
            applied = await session.account.apply([op])
        except MailboxNotFound:
            raise _try_create() from None
    finally:
        await writer.abort()
    added = applied.results[0]
    assert isinstance(added, Added)
    return Completed("APPEND completed", responses.appenduid(added.uidvalidity, [added.uid]))


async def _target(session: IMAPSession, command: commands.Append) -> str:
    try:
        return (await session.home.mailbox(command.mailbox)).id
    except MailboxNotFound:
        raise _try_create() from None


async def _receive(session: IMAPSession, writer: IBlobWriter, scanner: Scanner) -> Exception | None:
    # A store that fails in the middle is told at the end: the rest of the message is read and thrown away, or it
    # would be taken for commands.
    problem: Exception | None = None
    while True:
        event = await session.hear(min(_PATIENCE, session.settings.idle_time))
        if isinstance(event, Literal):
            if problem is None and event.octets:
                try:
                    scanner.feed(event.octets)
                    await writer.write(event.octets)
                except Exception as broken:
                    problem = broken
            await session.breathe()
        elif isinstance(event, BadCommand):
            if event.fatal:
                session.bye("What follows cannot be understood")
            raise refusal_of(event)
        else:
            return problem


def _try_create() -> Refusal:
    return Refusal("No such mailbox; make it first", b"TRYCREATE")
