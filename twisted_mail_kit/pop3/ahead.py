"""Whole messages of a maildrop, read many at once, and some of them before the client asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_mail_kit.interfaces import IAccount, IReadMany

PAGE = 96 * 1024
"""Octets of messages that are read at once. More is no quicker: this much stays near the processor on its way out."""
_NEXT = 100
"""Messages that are read at most before they are asked for."""
FEW = 8
"""Who asks for more at once need not be read ahead for: the rest will be asked for at once too."""


class Room:
    """What all sessions together may hold before their clients ask for it."""

    __slots__ = ("left",)

    def __init__(self, octets: int) -> None:
        self.left = octets


class Ahead:
    """One maildrop's messages, by number.

    A store is asked for many at once, where it can be (`IReadMany`): for those of a pipelining client, and for those
    that follow where a client takes one after the other. These are held until they are asked for, or others are.
    """

    __slots__ = ("_account", "_held", "_last", "_mailbox_id", "_marks", "_reads_many", "_room", "_sizes", "_uids")

    def __init__(
        self,
        account: IAccount,
        mailbox_id: str,
        uids: Sequence[int],
        sizes: Sequence[int],
        marks: Sequence[int],
        room: Room,
    ) -> None:
        """`uids` and `sizes` are the maildrop's, as are `marks`, of what is to be deleted; they may change."""
        self._account: Any = account
        self._reads_many = IReadMany.providedBy(account)
        self._mailbox_id = mailbox_id
        self._uids = uids
        self._sizes = sizes
        self._marks = marks
        self._room = room
        self._held: dict[int, bytes] = {}
        self._last = 0

    @property
    def octets(self) -> int:
        """What is held."""
        return sum(map(len, self._held.values()))

    async def take(self, numbers: Sequence[int]) -> list[bytes | None]:
        """The octets of messages that are asked for in this order: of as many, from the first on, as are enough for
        now; None for one that is to be opened by itself.

        Raises what the store raises.
        """
        # Hot path: RETR, one after the other and all at once.
        if not self._reads_many:
            return [None]
        if numbers[0] in self._held:
            return self._take_held(numbers)
        self.forget()
        first, before = numbers[0], self._last
        count, there, left = self._up_to(PAGE, numbers)
        self._last = last = numbers[max(0, count - 1)]
        if not there:
            return [None] * max(1, count)
        ahead: list[int] = []
        if count == len(numbers) <= FEW and first == before + 1 and last - first == count - 1:
            following = range(last + 1, min(last + _NEXT, len(self._uids)) + 1)
            _, ahead, _ = self._up_to(min(left, self._room.left), following)
        uids = [self._uids[number - 1] for number in there]
        wanted = {*uids, *(self._uids[number - 1] for number in ahead)}
        bodies = await self._account.bodies(self._mailbox_id, sorted(wanted))
        found = [octets for _, octets in bodies]
        if [uid for uid, _ in bodies] == uids and len(uids) == count and sum(map(len, found)) == PAGE - left:
            return found  # just what was asked for, in that order
        known = dict(bodies)
        for number in ahead:
            octets = self._whole(known, number)
            if octets is not None and len(octets) <= self._room.left:
                self._room.left -= len(octets)
                self._held[number] = octets
        return [self._whole(known, number) for number in numbers[:count]]

    def forget(self) -> None:
        """Hold nothing any more."""
        if self._held:
            self._room.left += self.octets
            self._held.clear()

    def _take_held(self, numbers: Sequence[int]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for number in numbers:
            if number not in self._held or self._marks[number - 1]:
                break
            octets = self._held.pop(number)
            self._room.left += len(octets)
            self._last = number
            found.append(octets)
        return found or [None]

    def _up_to(self, left: int, numbers: Sequence[int]) -> tuple[int, list[int], int]:
        """How many of these, from the first on, have so many octets together; those of them that are there; and how
        many octets are left."""
        sizes, marks, end = self._sizes, self._marks, len(self._uids)
        there: list[int] = []
        for count, number in enumerate(numbers):
            if 0 < number <= end and not marks[number - 1]:
                size = sizes[number - 1]
                if size > left:
                    return count, there, left
                left -= size
                there.append(number)
        return len(numbers), there, left

    def _whole(self, known: dict[int, bytes], number: int) -> bytes | None:
        """What was read of a message. If it is not all, whoever opens the message is told what is wrong with it."""
        if not 0 < number <= len(self._uids):
            return None
        octets = known.get(self._uids[number - 1])
        return octets if octets is not None and len(octets) == self._sizes[number - 1] else None
