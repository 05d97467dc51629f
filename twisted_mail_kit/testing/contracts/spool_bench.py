"""What the promises of a spool stand on: how one is made, and the steps that they are told in."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Outcome, Status
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled, TraceEvent
from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.testing.contracts.promise import finished, running_reactor, test_of

NOW = 1_800_000_000.0
"""The time at which promises are played; a spool is told the time with each call."""
BODY = b"Subject: x\r\n\r\nx\r\n"
LATER = Delayed(Status("4.4.1", "Connection refused", 451, "mx.example.org [192.0.2.1]"))
DONE = Delivered(Status("2.0.0", "ok", 250, "mx.example.org [192.0.2.1]"))


class SpoolBench:
    """How a spool is made, and opened again."""

    tmp_path: Path
    """The test's own directory, as it was given to `make_spool`."""
    persistent = False
    """Whether `make_spool` with the same `tmp_path` finds the same queue again."""

    def make_spool(self, tmp_path: Path) -> Any:
        """Give a new spool that keeps all it keeps in `tmp_path`; an awaitable of one will do."""
        raise NotImplementedError("write make_spool(self, tmp_path)")

    def reopen(self, spool: Any) -> Any:
        """Give the spool that a process finds which starts after that of `spool`, which is closed by now."""
        if not self.persistent:
            pytest.skip("not a persistent spool: nothing is kept when it is closed")
        return self.make_spool(self.tmp_path)

    # --- for promises ------------------------------------------------------------------------------------------------

    _open: list[Any]

    async def opened(self, spool: Any) -> ISpool:
        """The spool as a server has it: one that blocks in threads. It is closed when the promise is over."""
        spool = adapted(await finished(spool), running_reactor())
        self._open.append(spool)
        return spool  # type: ignore[no-any-return]

    async def opened_again(self, spool: ISpool) -> ISpool:
        """Close the spool and open it again."""
        if not self.persistent and type(self).reopen is SpoolBench.reopen:
            self.reopen(spool)  # skips
        await spool.close()
        self._open.remove(spool)
        return await self.opened(self.reopen(spool))


def spool_promise(method: Callable[..., Awaitable[None]]) -> Callable[..., Deferred[None]]:
    """Make a test of a coroutine method that takes a fresh `spool`."""
    assert list(inspect.signature(method).parameters)[1:] == ["spool"]

    async def keep(bench: SpoolBench, tmp_path: Path) -> None:
        bench.tmp_path = tmp_path
        bench._open = []
        try:
            await method(bench, await bench.opened(bench.make_spool(tmp_path)))
        finally:
            for spool in bench._open:
                await spool.close()

    return test_of(method, keep)


# --- steps -----------------------------------------------------------------------------------------------------------


def envelope(message_id: str) -> Envelope:
    """Somebody's."""
    return Envelope(Address("ann", "example.org"), Peer("192.0.2.9"), message_id, received_at=NOW - 60)


async def put_blob(spool: ISpool, octets: bytes = BODY) -> str:
    """Octets into the spool."""
    writer = spool.new_blob(len(octets))
    await writer.write(octets)
    return await writer.commit()


async def put(
    spool: ISpool,
    message_id: str,
    *destinations: str,
    next_try: float = NOW,
    owner: str = "",
    until: float = 0.0,
    is_held: bool = False,
    octets: bytes = BODY,
    events: Sequence[TraceEvent] = (),
) -> QueuedMessage:
    """Queue a message with one recipient for each of the destinations."""
    message = QueuedMessage(envelope(message_id), await put_blob(spool, octets), len(octets))
    recipients = [
        QueuedRecipient(message_id, number, Recipient(Address(f"joe{number}", name)), name, next_try, is_held=is_held)
        for number, name in enumerate(destinations)
    ]
    await spool.add(message, recipients, owner, until, events)
    return message


async def lease(
    spool: ISpool, owner: str = "one", now: float = NOW, limit: int = 100, busy: Sequence[str] = ()
) -> list[Lease]:
    """Take work for a minute."""
    return list(await spool.lease(owner, now, now + 60, limit, busy))


def said(leases: Sequence[Lease]) -> list[tuple[str, str, tuple[int, ...]]]:
    """(message, destination, numbers) of each."""
    return [
        (one.message.id, one.recipients[0].destination, tuple(recipient.number for recipient in one.recipients))
        for one in leases
    ]


async def settle(
    spool: ISpool, leases: Sequence[Lease], next_try: float | None = None, outcome: Outcome | None = None
) -> None:
    """All of it came to the same."""
    if outcome is None:
        outcome = DONE if next_try is None else LATER
    await spool.settle(
        [Settled(recipient, outcome, next_try) for one in leases for recipient in one.recipients],
    )


async def queued(spool: ISpool) -> dict[str, list[int]]:
    """Who still waits."""
    return {message.id: [one.number for one in recipients] for message, recipients in await spool.messages()}


async def recipient_of(spool: ISpool, message_id: str, number: int = 0) -> QueuedRecipient:
    """As it is now."""
    for message, recipients in await spool.messages():
        for recipient in recipients:
            if message.id == message_id and recipient.number == number:
                return recipient
    raise AssertionError(f"recipient {number} of {message_id} is not there")
