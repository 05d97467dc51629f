"""POP3 after login: what can be done with an open maildrop, and how it is updated at QUIT."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.interfaces import IMaildrop, IMaildropMessage
from twisted_mail_kit.metrics.catalogue import POP3_RETRIEVED, POP3_RETRIEVED_BYTES
from twisted_mail_kit.pop3.maildrop import Maildrop
from twisted_mail_kit.pop3.outcomes import broken, expected
from twisted_mail_kit.pop3.wire.commands import (
    Capa,
    Dele,
    Lang,
    List,
    Noop,
    Quit,
    Retr,
    Rset,
    Stat,
    Top,
    Uidl,
)
from twisted_mail_kit.pop3.wire.replies import END, DotStuffer, TopCut, err, ok, retrieved

if TYPE_CHECKING:
    from twisted_mail_kit.pop3.session import POP3Session

LINES = 1000
"""Lines of a listing that are made before the client's pace is looked at."""
OCTETS = 1024 * 1024
"""Octets of messages that are sent before other sessions get their turn: a few milliseconds."""


def turn(clock: IReactorTime) -> Deferred[None]:
    """Let the others have their turn."""
    return deferLater(clock, 0)


class Transaction:
    """RFC 1939 5 and 6."""

    def __init__(self, session: POP3Session, maildrop: IMaildrop) -> None:
        self.session = session
        self.maildrop = maildrop
        self.outflow = session.outflow
        self.chunk = session.settings.chunk
        self._without_a_turn = 0

    async def run(self) -> None:
        """Until QUIT. Raises ConnectionEnded where the client goes without it; nothing is deleted then."""
        session, maildrop = self.session, self.maildrop
        while True:
            command = await session.listen()
            match command:
                case Retr(number):  # first: it is what is said most
                    await self._retrieve([number, *session.more_retrieves()])
                case Quit():
                    await self._update()
                    return
                case Stat():
                    self.outflow.write(ok(f"{maildrop.count} {maildrop.total}"))
                case List(None):
                    await self._list(ok(self._summary()), lambda number: str(maildrop.size(number)))
                case List(int(number)):
                    if self._has(number):
                        self.outflow.write(ok(f"{number} {maildrop.size(number)}"))
                case Uidl(number):
                    if number is None or self._has(number):
                        await self._tell_unique_ids(number)
                case Top(number, lines):
                    if self._has(number):
                        await self._send(number, TopCut(lines))
                case Dele(number):
                    if self._has(number):
                        maildrop.mark(number)
                        self.outflow.write(ok(f"Message {number} is marked"))
                case Noop():
                    self.outflow.write(ok())
                case Rset():
                    maildrop.unmark_all()
                    self.outflow.write(ok(self._summary()))
                case Capa():
                    session.say_capabilities()
                case Lang(language):
                    session.say_language(language)

    async def _retrieve(self, numbers: list[int]) -> None:
        """Messages, in the order in which they were asked for; what can be read at once is sent at once."""
        while numbers:
            found = await self._whole(numbers)
            asked, numbers = numbers[: len(found)], numbers[len(found) :]
            if None not in found:
                await self._send_whole(asked, cast(list[bytes], found))
                continue
            for number, octets in zip(asked, found, strict=True):
                if octets is not None:
                    await self._send_whole([number], [octets])
                elif self._has(number) and await self._send(number, None):
                    self._note_retrieved([number], self.maildrop.size(number))

    async def _whole(self, numbers: list[int]) -> list[bytes | None]:
        """See `Ahead.take`; None: `_send` says what is the matter."""
        if isinstance(self.maildrop, Maildrop):
            try:
                return await self.maildrop.ahead.take(numbers)
            except Exception:
                pass  # opening it raises it too
        return [None]

    async def _send_whole(self, numbers: list[int], messages: list[bytes]) -> None:
        octets = retrieved(messages)
        self.outflow.write(octets)
        self._note_retrieved(numbers, sum(map(len, messages)))
        await self._at_their_pace(len(octets))

    def _note_retrieved(self, numbers: list[int], octets: int) -> None:
        for number in numbers:
            self.maildrop.was_retrieved(number)
        POP3_RETRIEVED.value += len(numbers)
        POP3_RETRIEVED_BYTES.value += octets

    async def _at_their_pace(self, octets: int) -> None:
        """So many were written: wait for a slow client, and let others have their turn."""
        if self.outflow.is_full():
            await self.outflow.drained()
        # A client on this machine may read as fast as we write, and then nothing else here waits.
        self._without_a_turn += octets
        if self._without_a_turn >= OCTETS:
            self._without_a_turn = 0
            await turn(self.session.clock)

    def _summary(self) -> str:
        return f"{self.maildrop.count} messages ({self.maildrop.total} octets)"

    def _has(self, number: int | None) -> bool:
        if number is not None and self.maildrop.has(number):
            return True
        self.outflow.write(err("There is no such message"))
        return False

    async def _list(self, head: bytes, tell: Callable[[int], str]) -> None:
        """One line a message, at the client's pace."""
        self.outflow.write(head)
        lines: list[str] = []
        for number in self.maildrop.numbers():
            lines.append(f"{number} {tell(number)}\r\n")
            if len(lines) == LINES:
                self.outflow.write("".join(lines).encode("ascii"))
                lines.clear()
                if self.outflow.is_full():
                    await self.outflow.drained()
        self.outflow.write("".join(lines).encode("ascii") + END)

    async def _tell_unique_ids(self, number: int | None) -> None:
        maildrop = self.maildrop
        try:
            await maildrop.know_unique_ids(maildrop.numbers() if number is None else (number,))
        except Exception as problem:
            self._refuse(problem)
            return
        if number is None:
            await self._list(ok("Unique ids"), maildrop.unique_id)
        else:
            self.outflow.write(ok(f"{number} {maildrop.unique_id(number)}"))

    async def _send(self, number: int, top: TopCut | None) -> bool:
        """A message, or the top of it, piece by piece at the client's pace. False: it was refused."""
        try:
            message = await self.maildrop.open_message(number)
        except Exception as problem:
            self._refuse(problem)
            return False
        try:
            return await self._send_opened(number, message, top)
        finally:
            message.close()

    async def _send_opened(self, number: int, message: IMaildropMessage, top: TopCut | None) -> bool:
        outflow, size = self.outflow, self.maildrop.size(number)
        try:
            octets = await message.read(self.chunk)
        except Exception as problem:
            self._refuse(problem)
            return False
        outflow.write(ok(f"{size} octets") if top is None else ok("The top of it"))
        stuffer = DotStuffer()
        offset = 0
        while octets:
            offset += len(octets)
            outflow.write(stuffer.stuff(octets if top is None else top.cut(octets)))
            if top is not None and top.is_done:
                break
            await self._at_their_pace(len(octets))
            try:
                octets = await message.read(self.chunk)
            except Exception as problem:
                # It is too late for an error: only a broken line tells the client that this is not the whole message.
                self.session.reference(Failure(problem), f"reading message {number} at {offset} of {size} octets")
                raise ConnectionEnded("a message could not be read to its end") from problem
        outflow.write(stuffer.finish())
        return True

    def _refuse(self, problem: Exception) -> None:
        words = expected(problem) or broken(self.session.reference(Failure(problem), "reading a message"))
        self.session.say_error(words)

    async def _update(self) -> None:
        """RFC 1939 6: remove what is marked, all or nothing, and say so when it is durable."""
        session = self.session
        # A client that is gone by now cannot have read what it asked for: to it, this was no QUIT.
        await self.outflow.drained()
        try:
            removed = await self.maildrop.update()
        except Exception as problem:
            reference = session.reference(Failure(problem), "removing messages")
            what = "Nothing was deleted" if self.maildrop.removes_all_or_nothing else "Not all was deleted"
            session.say_error(broken(reference, f"{what}, try again later"))
            return
        seen = 0
        if session.settings.mark_seen:
            try:
                seen = await self.maildrop.mark_seen()
            except Exception as problem:
                session.reference(Failure(problem), "marking messages as seen")
        session.log.info(
            "{user} has read {seen} and deleted {removed} messages over POP3 from {peer}",
            user=session.peer.login,
            seen=seen,
            removed=removed,
            peer=session.peer.host or "unix",
        )
        self.outflow.write(ok(f"Goodbye, {removed} messages deleted" if removed else "Goodbye"))
