"""One attempt: one message to one destination, and an outcome for each recipient."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, ISpool
from twisted_mail_kit.mail.outcome import Delayed, Failed, Outcome, Status
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.queue.inhand import Job

_CHUNK = 256 * 1024

log = Logger()


class Poisoned(Exception):
    """What the spool has of a message cannot be sent: its octets are gone, torn, or cannot be read."""


async def attempt(job: Job, target: IDeliveryTarget, spool: ISpool, clock: Any) -> list[Outcome]:
    """Try once. One outcome for each recipient of the job, in order. Whatever the target raises is an outcome.

    Raises Poisoned, and then nothing was sent; CancelledError, and then nobody knows.
    """
    delivery: IDelivery | None = None
    outcomes: list[Outcome | None] = [None] * len(job.recipients)
    try:
        delivery = await target.begin(job.message.envelope)
        taken = []
        for index, queued in enumerate(job.recipients):
            try:
                await delivery.add_recipient(queued.recipient)
                taken.append(index)
            except Refused as no:
                outcomes[index] = Failed(no.status)
            except TryLater as no:
                outcomes[index] = Delayed(no.status)
        if taken:
            if job.octets is not None:
                await delivery.write(job.octets)
            else:
                async for octets in _octets(job, spool):
                    await delivery.write(octets)
            became = await delivery.commit()
            delivery = None
            for index, outcome in zip(taken, became, strict=True):
                outcomes[index] = outcome
    except (Poisoned, CancelledError):
        raise
    except Refused as no:
        _fill(outcomes, Failed(no.status))
    except TryLater as no:
        _fill(outcomes, Delayed(no.status))
    except Exception as problem:
        _fill(outcomes, Delayed(_reference(problem, job, clock)))
    finally:
        if delivery is not None:
            await _abort(delivery)
    return [one for one in outcomes if one is not None]


async def _octets(job: Job, spool: ISpool) -> AsyncIterator[bytes]:
    """The message from the spool, whole. Raises Poisoned before the last octet of a torn one."""
    message = job.message
    offset = 0
    while offset < message.size:
        try:
            octets = await spool.read_blob(message.blob_id, offset, min(_CHUNK, message.size - offset))
        except (Unavailable, OSError, CancelledError):
            raise  # a disk, a lock: it may be well tomorrow
        except Exception as problem:
            raise Poisoned(f"{type(problem).__name__}: {problem}") from problem
        if not octets:
            raise Poisoned(f"{offset} octets of {message.size} are there")
        offset += len(octets)
        yield octets


def _fill(outcomes: list[Outcome | None], outcome: Outcome) -> None:
    for index, known in enumerate(outcomes):
        if known is None:
            outcomes[index] = outcome


def _reference(problem: Exception, job: Job, clock: Any) -> Status:
    reference = new_trace_id(clock.seconds())
    if isinstance(problem, Unavailable):
        log.warn(
            "{trace_id} cannot be tried for {destination} now: {problem}, reference {reference}",
            trace_id=job.message.id,
            destination=job.destination,
            problem=problem,
            reference=reference,
        )
    else:
        log.failure(
            "an attempt of {trace_id} for {destination} failed, reference {reference}",
            failure=Failure(),
            trace_id=job.message.id,
            destination=job.destination,
            reference=reference,
        )
    return Status("4.3.0", f"Cannot be delivered now, reference {reference}", 451)


async def _abort(delivery: IDelivery) -> None:
    try:
        await delivery.abort()
    except Exception:
        log.failure("a delivery could not be aborted")


__all__ = ["Poisoned", "attempt"]
