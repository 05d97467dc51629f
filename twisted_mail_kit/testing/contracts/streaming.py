"""Promises about size: a large message and a large mailbox pass through little memory, and hold nobody up."""

from __future__ import annotations

import json
import zlib
from statistics import median
from typing import Any, ClassVar

import pytest

from twisted_mail_kit.testing.contracts.child import child
from twisted_mail_kit.testing.contracts.lasting import how_many
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise

HERE = "twisted_mail_kit.testing.contracts.streams"
MEGA = 1 << 20


class StreamingPromises(StoreBench):
    """Skips aloud where the store is not persistent: then it has everything in memory, by its nature.

    The work is done in a child process, where memory can be measured; what it measured is looked at by several
    promises.
    """

    level = "streaming"
    large = 200 * MEGA
    """Octets of the large message; a slow store may be held to less. The environment's MAILKIT_LARGE goes before."""
    many = 100_000
    """Messages in the large mailbox; MAILKIT_MANY goes before."""
    ceiling = 16 * MEGA
    """Octets by which the process may grow with the large message."""
    mailbox_ceiling = 64 * MEGA
    """Octets by which it may grow with the large mailbox, of which no more than a page is asked for at a time."""
    longest_lag = 0.25
    """Seconds for which the reactor may be held up, times in which the system let others work left out."""
    _measured: ClassVar[dict[tuple[type, str], dict[str, Any]]] = {}

    @promise
    async def test_a_large_message_comes_out_as_it_went_in(self) -> None:
        told = await self._run("large_message")
        assert told["read"] == told["written"], "the octets are others"
        assert told["size"] == self._large

    @promise
    async def test_a_large_message_passes_through_little_memory(self) -> None:
        told = await self._run("large_message")
        for what in ("writing", "reading"):
            grown = told[f"grown by {what}"]
            assert grown <= self.ceiling, f"{what} {self._large} octets took {grown / MEGA:.0f} MB of memory"

    @promise
    async def test_a_large_message_holds_nobody_up(self) -> None:
        _look_at_lags((await self._run("large_message"))["lags"], self.longest_lag)

    @promise
    async def test_a_large_mailbox_is_told_page_by_page(self) -> None:
        told = await self._run("large_mailbox")
        assert told["listed"] == told["told"] == told["flagged"] == told["copied"] == told["removed"] == self._many
        assert told["left"] == self._many, "what was copied"

    @promise
    async def test_a_large_mailbox_passes_through_little_memory(self) -> None:
        grown = (await self._run("large_mailbox"))["grown"]
        assert grown <= self.mailbox_ceiling, f"{self._many} messages took {grown / MEGA:.0f} MB of memory"

    @promise
    async def test_a_large_mailbox_holds_nobody_up(self) -> None:
        _look_at_lags((await self._run("large_mailbox"))["lags"], self.longest_lag)

    @promise
    async def test_a_page_costs_the_same_everywhere_in_a_large_mailbox(self) -> None:
        told = await self._run("large_mailbox")
        for what in ("adding", "listing", "telling"):
            times = told[f"times of {what}"]
            quarter = max(len(times) // 4, 1)
            first, last = median(times[:quarter]), median(times[-quarter:])
            assert last < 5 * first + 0.005, f"{what}: a page takes {first:.4f} s at first and {last:.4f} s at last"

    @property
    def _large(self) -> int:
        return how_many(self.large, "MAILKIT_LARGE")

    @property
    def _many(self) -> int:
        return how_many(self.many, "MAILKIT_MANY")

    async def _run(self, function: str) -> dict[str, Any]:
        """What a child process has measured, once for each class of a store."""
        if not self.persistent:
            pytest.skip("not a persistent store: it has everything in memory, by its nature")
        key = type(self), function
        if key not in self._measured:
            for store in list(self._open):
                await store.close()  # the child has it for itself
                self._open.remove(store)
            size = self._large if function == "large_message" else self._many
            one = child(self, f"{HERE}:{function}", str(size))
            told: dict[str, Any] = {}
            try:
                async for line in one:
                    told.update(json.loads(line))
                if code := await one.done():
                    told = {"failed": f"exit code {code}: {one.complaints.decode(errors='replace')}"}
            finally:
                one.kill()
                await one.done()
            self._measured[key] = told
        told = self._measured[key]
        assert "failed" not in told, told["failed"]
        return told


def _look_at_lags(lags: dict[str, float], longest: float) -> None:
    too_long = {what: f"{lag:.2f} s" for what, lag in lags.items() if lag > longest}
    assert not too_long, f"the reactor was held up for: {too_long}"


def checksum(octets: bytes, so_far: int = 0) -> int:
    """Cheap, and other for other octets."""
    return zlib.crc32(octets, so_far)
