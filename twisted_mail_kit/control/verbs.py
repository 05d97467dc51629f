"""What the operator may ask of the queue, under the names of verbs: for one message, for some, and for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, FirstError, gatherResults

from twisted_mail_kit.control.server import Verb
from twisted_mail_kit.errors import BadSyntax, MessageNotFound
from twisted_mail_kit.queue.desk import Desk

_PAGE = 500
_AT_ONCE = 100
"""Messages that are changed together: they share the spool's next sync."""


def queue_verbs(desk: Desk) -> Mapping[str, Verb]:
    """The verbs of a desk, for `Control` and for `mailkit queue` where no server runs.

    ``retry``, ``hold``, ``release`` and ``rm`` take a list of ids, or null: all. They answer how many messages (null:
    not counted) and recipients were changed, and which ids are not in the queue.
    """
    queue = _Queue(desk)
    return {
        "queue.list": queue.list,
        "queue.show": desk.show,
        "queue.cat": desk.cat,
        "queue.stats": desk.stats,
        "queue.flush": queue.flush,
        "queue.retry": queue.retry,
        "queue.hold": queue.hold,
        "queue.release": queue.release,
        "queue.rm": queue.rm,
        "trace": queue.trace,
    }


class _Queue:
    """What takes more than one question at the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(
        self,
        destination: str | None = None,
        sender: str | None = None,
        recipient: str | None = None,
        held: bool | None = None,
        limit: int = 100,
    ) -> AsyncIterator[object]:
        """Messages with the recipients that are meant, in pieces; a `limit` of 0: all."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise BadSyntax("`limit` is a whole number")
        return self._pages(limit, destination or "", sender or "", recipient or "", held)

    async def _pages(
        self, limit: int, destination: str = "", sender: str = "", recipient: str = "", held: bool | None = None
    ) -> AsyncIterator[dict[str, object]]:
        after, given = "", 0
        while True:
            size = min(_PAGE, limit - given) if limit else _PAGE
            page = await self._desk.list(destination, sender, recipient, held, after, size)
            for message in page:
                yield message
            given += len(page)
            if len(page) < size or given == limit:
                return
            after = str(page[-1]["id"])

    async def flush(self, destination: str | None = None) -> dict[str, object]:
        """Answers how many recipients are to be tried now."""
        return {"recipients": await self._desk.flush(destination)}

    async def retry(self, ids: Sequence[str] | None = None, when: float | None = None) -> dict[str, object]:
        if when is not None:
            if ids is None:
                raise BadSyntax("`when` goes with `ids`")
            return await self._each(ids, lambda id: self._desk.reschedule(id, when))
        if ids is None:
            return _all(await self._desk.flush())
        return await self._each(ids, self._desk.retry)

    async def hold(self, ids: Sequence[str] | None = None) -> dict[str, object]:
        return _all(await self._desk.hold("all")) if ids is None else await self._each(ids, self._desk.hold)

    async def release(self, ids: Sequence[str] | None = None) -> dict[str, object]:
        return _all(await self._desk.release("all")) if ids is None else await self._each(ids, self._desk.release)

    async def rm(self, ids: Sequence[str] | None = None) -> dict[str, object]:
        if ids is None:
            # Those that are there now: what comes meanwhile is not what the operator has seen.
            ids = [str(message["id"]) async for message in self._pages(0)]
            return {**await self._each(ids, self._desk.remove), "missing": []}
        return await self._each(ids, self._desk.remove)

    async def trace(self, id: str) -> dict[str, object]:
        """The timeline, and the recipients that still wait. Raises MessageNotFound where there is neither."""
        events = await self._desk.trace(id)
        try:
            waiting = (await self._desk.show(id))["recipients"]
        except MessageNotFound:
            if not events:
                raise MessageNotFound(f"nothing is known of {id!r} (any more)") from None
            waiting = []
        return {"id": id, "events": events, "waiting": waiting}

    async def _each(self, ids: Sequence[str], do: Callable[[str], Awaitable[int]]) -> dict[str, object]:
        if not isinstance(ids, (list, tuple)) or not all(isinstance(one, str) for one in ids):
            raise BadSyntax("`ids` is a list of message ids, or null")
        missing: list[str] = []

        async def one_of_them(id: str) -> int:
            try:
                if id == "all":  # a word to the desk, but no message is called that
                    raise MessageNotFound(id)
                return await do(id)
            except MessageNotFound:
                missing.append(id)
                return 0

        recipients = 0
        for start in range(0, len(ids), _AT_ONCE):
            some = [Deferred.fromCoroutine(one_of_them(id)) for id in ids[start : start + _AT_ONCE]]
            try:
                recipients += sum(await gatherResults(some, consumeErrors=True))
            except FirstError as first:
                raise cast(Exception, first.subFailure.value) from None
        return {"messages": len(ids) - len(missing), "recipients": recipients, "missing": sorted(missing)}


def _all(recipients: int) -> dict[str, Any]:
    return {"messages": None, "recipients": recipients, "missing": []}
