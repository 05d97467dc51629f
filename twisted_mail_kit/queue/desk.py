"""The operator's desk: what can be asked of a queue, and done to it, in plain values."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, FirstError, gatherResults

from twisted_mail_kit.errors import BadSyntax, MessageNotFound
from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.envelope import Envelope, Peer
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, TraceEvent
from twisted_mail_kit.queue.queue import Queue
from twisted_mail_kit.queue.timeline import word

_PAGE = 500
_CHUNK = 64 * 1024

Rows = list[dict[str, object]]
Page = list[tuple[str, list[QueuedRecipient]]]


class Desk:
    """Works on a spool; with the `queue` of a running server too, which then looks for work at once.

    Everything answers values that JSON knows: dictionaries, lists, strings, numbers, times in seconds since 1970 UTC.
    Raises MessageNotFound for an id that is not queued, BadSyntax for what cannot be meant.
    """

    def __init__(self, spool: ISpool, queue: Queue | None = None, clock: Any = None) -> None:
        self.spool = spool
        self.queue = queue
        clock = clock or (queue.clock if queue is not None else None)
        self.seconds: Callable[[], float] = time.time if clock is None else clock.seconds

    # --- questions ---------------------------------------------------------------------------------------------------

    async def list(
        self,
        destination: str = "",
        sender: str = "",
        recipient: str = "",
        held: bool | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Rows:
        """Messages, ascending by id from `after` on, that have a recipient to whom all of this applies.

        `sender` and `recipient` are addresses, or domains after an ``@``; the null sender is ``<>``.
        """
        found: Rows = []
        async for message, recipients in self._all(after):
            if len(found) >= limit:
                break
            if sender and not _is(sender, _sender(message)):
                continue
            chosen = [
                one
                for one in recipients
                if (not destination or one.destination == destination.lower())
                and (not recipient or _is(recipient, str(one.recipient.address)))
                and (held is None or one.is_held == held)
            ]
            if chosen:
                found.append(_message(message, chosen))
        return found

    async def show(self, id: str) -> dict[str, object]:
        """All that is known of one message, its timeline too."""
        message, recipients = await self._one(id)
        envelope = message.envelope
        return {
            **_message(message, recipients),
            "client": _client(envelope.peer),
            "login": envelope.peer.login,
            "envid": envelope.envid,
            "options": _options(envelope),
            "blob": message.blob_id,
            "trace": await self.trace(id),
        }

    async def cat(self, id: str) -> AsyncIterator[bytes]:
        """The message, octet for octet, in pieces."""
        message, _ = await self._one(id)
        return self._pieces(message)

    async def trace(self, id: str) -> Rows:
        """The timeline of a message, also of one that is no longer queued; empty for one that nobody knows."""
        return [event._asdict() for event in await self.spool.trace(id)]

    async def stats(self) -> dict[str, object]:
        """Counts, in all and by destination; how old the oldest is, and when something is tried next."""
        now = self.seconds()
        messages = size = 0
        oldest: float | None = None
        total = _Count()
        by_destination: dict[str, _Count] = {}
        async for message, recipients in self._all():
            messages += 1
            size += message.size
            received = message.envelope.received_at
            oldest = received if oldest is None else min(oldest, received)
            for one in recipients:
                total.add(one, now)
                by_destination.setdefault(one.destination, _Count()).add(one, now)
        busiest = sorted(by_destination.items(), key=lambda item: (-item[1].recipients, item[0]))
        return {
            "messages": messages,
            "size": size,
            "oldest": oldest,
            **total.shown(),
            "destinations": {name: count.shown() for name, count in busiest},
            "running": self.queue.state() if self.queue is not None else None,
        }

    # --- deeds -------------------------------------------------------------------------------------------------------

    async def flush(self, destination: str | None = None) -> int:
        """Try all that waits now, or all for one destination; what is held stays. Answers how many recipients."""
        now = self.seconds()
        wanted = destination.lower() if destination else None
        if self.queue is not None:
            self.queue.revive(wanted)  # before: what is due now must not be put off once more
        changed = 0
        async for page in self._pages_of(
            lambda one: not one.is_held and one.next_try > now and wanted in (None, one.destination)
        ):
            changed += await _together(
                [self.spool.change(id, next_try=now, numbers=_numbers(chosen)) for id, chosen in page]
            )
        if self.queue is not None:
            self.queue.revive(wanted)
        return changed

    async def retry(self, id: str) -> int:
        """Try one message now."""
        _, recipients = await self._one(id)
        if self.queue is not None:
            for name in {one.destination for one in recipients}:
                self.queue.revive(name)
        return await self._change(id, "changed", "to be tried now", next_try=self.seconds())

    async def hold(self, id: str) -> int:
        """Try a message (or ``all`` that are queued now) no more until it is released."""
        return await self._each(id, "held", "by the operator", True)

    async def release(self, id: str) -> int:
        """Let a message (or ``all``) go on; its next try is when it was to be, or now."""
        return await self._each(id, "released", "by the operator", False)

    async def remove(self, id: str) -> int:
        """Take a message out of the queue. Nobody is told."""
        _, recipients = await self._one(id)
        await self.spool.record([_line(self.seconds(), "removed", one, "by the operator") for one in recipients])
        return await self.spool.remove(id)

    async def reschedule(self, id: str, when: float) -> int:
        """Change when a message is tried next."""
        if isinstance(when, bool) or not isinstance(when, (int, float)) or not 0 <= when < 1e11:
            raise BadSyntax("`when` has to be a time in seconds since 1970")
        return await self._change(id, "changed", f"to be tried at {when:.0f}", next_try=float(when))

    def verbs(self) -> dict[str, Any]:
        """By name, for whoever takes requests."""
        return {
            "list": self.list,
            "show": self.show,
            "cat": self.cat,
            "trace": self.trace,
            "stats": self.stats,
            "flush": self.flush,
            "retry": self.retry,
            "hold": self.hold,
            "release": self.release,
            "remove": self.remove,
            "reschedule": self.reschedule,
        }

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _each(self, id: str, event: str, text: str, is_held: bool) -> int:
        if id != "all":
            return await self._change(id, event, text, is_held=is_held)
        changed, now = 0, self.seconds()
        async for page in self._pages_of(lambda one: one.is_held != is_held):
            changed += await _together(
                [self.spool.change(id, is_held=is_held, numbers=_numbers(chosen)) for id, chosen in page]
            )
            await self.spool.record([_line(now, event, one, text) for _, chosen in page for one in chosen])
        self._look()
        return changed

    async def _change(self, id: str, event: str, text: str, **change: Any) -> int:
        _, recipients = await self._one(id)
        changed = await self.spool.change(id, **change)
        await self.spool.record([_line(self.seconds(), event, one, text) for one in recipients])
        self._look()
        return changed

    def _look(self) -> None:
        if self.queue is not None:
            self.queue.wake()

    async def _one(self, id: str) -> tuple[QueuedMessage, Sequence[QueuedRecipient]]:
        if id and id.isascii():
            # From the last id that can stand before this one.
            before = id[:-1] + chr(ord(id[-1]) - 1) + "~" * 40 if ord(id[-1]) > 1 else id[:-1]
            for message, recipients in await self.spool.messages(before, 10):
                if message.id == id:
                    return message, recipients
        raise MessageNotFound(f"no message {id!r} in the queue")

    async def _all(self, after: str = "") -> AsyncIterator[tuple[QueuedMessage, Sequence[QueuedRecipient]]]:
        while True:
            page = await self.spool.messages(after, _PAGE)
            for message, recipients in page:
                yield message, recipients
            if len(page) < _PAGE:
                return
            after = page[-1][0].id

    async def _pages_of(self, wanted: Callable[[QueuedRecipient], bool]) -> AsyncIterator[Page]:
        """Message ids with those of their recipients that are wanted, by the page."""
        after = ""
        while page := await self.spool.messages(after, _PAGE):
            after = page[-1][0].id
            found = [(message.id, [one for one in recipients if wanted(one)]) for message, recipients in page]
            yield [(id, chosen) for id, chosen in found if chosen]

    async def _pieces(self, message: QueuedMessage) -> AsyncIterator[bytes]:
        offset = 0
        while offset < message.size:
            octets = await self.spool.read_blob(message.blob_id, offset, _CHUNK)
            if not octets:
                return
            yield octets
            offset += len(octets)


async def _together(changes: Sequence[Coroutine[Any, Any, int]]) -> int:
    """Changes that are made at the same time share the spool's syncs. How many recipients they changed."""
    if not changes:
        return 0
    try:
        return sum(await gatherResults([Deferred.fromCoroutine(one) for one in changes], consumeErrors=True))
    except FirstError as first:
        raise cast(Exception, first.subFailure.value) from None


class _Count:
    """Recipients by what they wait for."""

    def __init__(self) -> None:
        self.recipients = self.held = self.due = self.waiting = self.tried = 0
        self.next: float | None = None

    def add(self, one: QueuedRecipient, now: float) -> None:
        self.recipients += 1
        if one.last is not None:
            self.tried += 1
        if one.is_held:
            self.held += 1
            return
        if one.next_try <= now:
            self.due += 1
        else:
            self.waiting += 1
        self.next = one.next_try if self.next is None else min(self.next, one.next_try)

    def shown(self) -> dict[str, object]:
        return {
            "recipients": self.recipients,
            "due": self.due,
            "waiting": self.waiting,
            "held": self.held,
            "tried": self.tried,
            "next": self.next,
        }


def _numbers(recipients: Sequence[QueuedRecipient]) -> Sequence[int]:
    return [one.number for one in recipients]


def _line(now: float, event: str, one: QueuedRecipient, text: str) -> TraceEvent:
    return TraceEvent(one.message_id, now, event, str(one.recipient.address), "", text)


def _client(peer: Peer) -> str:
    """Who gave it to us."""
    if not peer.host:
        return f"{peer.service}, here"
    return f"{peer.service}, {peer.name} [{peer.host}]" if peer.name else f"{peer.service}, [{peer.host}]"


def _options(envelope: Envelope) -> list[str]:
    """What was asked for along with it, as in MAIL."""
    options = [] if envelope.body == "7BIT" else [f"BODY={envelope.body}"]
    if envelope.smtputf8:
        options.append("SMTPUTF8")
    if envelope.require_tls:
        options.append("REQUIRETLS")
    if envelope.ret:
        options.append(f"RET={envelope.ret}")
    return options


def _sender(message: QueuedMessage) -> str:
    sender = message.envelope.sender
    return "<>" if sender is None else str(sender)


def _is(wanted: str, address: str) -> bool:
    wanted, address = wanted.lower(), address.lower()
    return address.endswith(wanted) if wanted.startswith("@") else address == wanted


def _message(message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> dict[str, object]:
    return {
        "id": message.id,
        "sender": str(message.envelope.sender or ""),
        "size": message.size,
        "received_at": message.envelope.received_at,
        "recipients": [_recipient(one) for one in recipients],
    }


def _recipient(one: QueuedRecipient) -> dict[str, object]:
    last = None
    if one.last is not None:
        last = {"outcome": word(one.last), **one.last.status._asdict()}
    return {
        "number": one.number,
        "address": str(one.recipient.address),
        "destination": one.destination,
        "next_try": one.next_try,
        "attempts": one.attempts,
        "is_held": one.is_held,
        "delay_told": one.delay_told,
        "last": last,
    }
