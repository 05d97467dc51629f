"""IDLE: tell at once (RFC 2177)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.imap.outcomes import refusal_of
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.metrics.catalogue import IMAP_IDLING
from twisted_mail_kit.net.inbox import WOKEN

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def idle(session: IMAPSession, command: commands.Idle) -> None:
    """It begins. Without a mailbox there is nothing to tell, but one may wait all the same."""
    session.outflow.write(responses.continuation("Idling"))
    session.idle = command


async def idling(session: IMAPSession, command: commands.Idle) -> None:
    """Until DONE."""
    view = session.selected
    if view is not None:
        view.model.begin_idle(session.inbox, view)
    IMAP_IDLING.value += 1
    try:
        # A change that came before the first look is told here, a later one wakes.
        await session.tell(may_expunge=True)
        while not session.is_over:
            event = await session.hear(wakeable=True, safe_point=True)
            if event is WOKEN:
                await session.tell(may_expunge=True)
            elif isinstance(event, BadCommand):
                if event.fatal:
                    session.bye("What follows cannot be understood")
                raise refusal_of(event)
            else:
                break
        line = responses.ok(command.tag, "IDLE completed")
    except ConnectionEnded:
        raise
    except Exception as problem:
        line = session.refuse(command, problem)
    finally:
        IMAP_IDLING.value -= 1
        session.idle = None
        if view is not None:
            view.model.end_idle(session.inbox)
    await session.complete(command, line)
