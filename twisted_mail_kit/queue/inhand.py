"""The jobs that this process has in hand: what is leased to it, and what of it lies in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, Settled


@dataclass(slots=True, eq=False)
class Job:
    """Recipients of one message for one destination: what one attempt takes. Leased to us."""

    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]
    destination: str
    octets: bytes | None = None
    """The message, where it still lies in memory."""


def jobs_of(
    message: QueuedMessage, recipients: Sequence[QueuedRecipient], most: int, octets: bytes | None = None
) -> list[Job]:
    """Grouped by destination, at most so many recipients each."""
    if len(recipients) == 1:
        return [Job(message, tuple(recipients), recipients[0].destination, octets)]
    by_destination: dict[str, list[QueuedRecipient]] = {}
    for one in recipients:
        by_destination.setdefault(one.destination, []).append(one)
    return [
        Job(message, tuple(group[start : start + most]), destination, octets)
        for destination, group in by_destination.items()
        for start in range(0, len(group), most)
    ]


class InHand:
    """Counts jobs and octets; knows a recipient that is being worked on, should he be leased to us once more."""

    def __init__(self) -> None:
        self.jobs = 0
        self.memory = 0
        self._recipients: dict[tuple[str, int], Job] = {}

    def __contains__(self, recipient: QueuedRecipient) -> bool:
        return (recipient.message_id, recipient.number) in self._recipients

    def take(self, jobs: Sequence[Job]) -> None:
        """These are ours now."""
        self.jobs += len(jobs)
        for job in jobs:
            if job.octets is not None:
                self.memory += job.message.size
            for one in job.recipients:
                self._recipients[one.message_id, one.number] = job

    def let_go(self, settled: Sequence[Settled]) -> None:
        """These recipients were written down: they may be leased again, though others of their job are not done."""
        for one in settled:
            self._recipients.pop((one.recipient.message_id, one.recipient.number), None)

    def put_away(self, job: Job) -> None:
        """All is done for this one."""
        self.jobs -= 1
        if job.octets is not None:
            self.memory -= job.message.size
            job.octets = None
        for one in job.recipients:
            if self._recipients.get((one.message_id, one.number)) is job:
                del self._recipients[one.message_id, one.number]
