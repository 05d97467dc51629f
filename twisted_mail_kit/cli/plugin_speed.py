"""How fast a part is, beside the bundled ones of its kind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from twisted_mail_kit.auth.inturn import PasswordCredentials
from twisted_mail_kit.cli.plugin_part import DOMAIN, made
from twisted_mail_kit.delivery.received import ReceivedMessage
from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import Add, Delivered, SetFlags
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, Settled

ROUNDS = 3
SECONDS = 0.4
"""How long one thing is done in each round."""
IN_FLIGHT = 20
ROWS = 10_000
LETTER = (b"Subject: a letter\r\n\r\n" + b"x" * 72 + b"\r\n") * 22
PEERS = {"store": ("sqlite", "memory"), "spool": ("sqlite",), "accounts": ("directory",), "auth": ("passwords",)}
"""What a part is measured beside."""
JOE = Address("joe", DOMAIN)
Rates = dict[str, float]


async def speed_of(kind: str, name: str, options: Sequence[str], reactor: Any) -> dict[str, Rates]:
    """Medians by part and measure, each a number a second; in turn, so that a busy machine is so for all of them."""
    parts = {name: options} | {other: () for other in PEERS.get(kind, ()) if other != name}
    measured: dict[str, dict[str, list[float]]] = {one: {} for one in parts}
    for _ in range(ROUNDS):
        for one, given in parts.items():
            with TemporaryDirectory(prefix="mailkit-speed-") as folder:
                part = made(kind, one, given, Path(folder), reactor)
                try:
                    for what, rate in (await _round(kind, part)).items():
                        measured[one].setdefault(what, []).append(rate)
                finally:
                    if callable(getattr(part, "close", None)):
                        await maybeDeferred(part.close)
    return {one: {what: statistics.median(rates) for what, rates in whats.items()} for one, whats in measured.items()}


async def _round(kind: str, part: Any) -> Rates:
    rounds: dict[str, Callable[[Any], Awaitable[Rates]]] = {
        "store": _store_round,
        "spool": _spool_round,
        "accounts": _accounts_round,
        "auth": _auth_round,
        "check": _check_round,
        "delivery": _delivery_round,
    }
    return await rounds[kind](part)


async def _rate(work: Callable[[int], Awaitable[object]], at_once: int = IN_FLIGHT) -> float:
    """How often a second it is done, so many at the same time."""
    numbers, end = count(), time.perf_counter() + SECONDS

    async def do_some() -> int:
        done = 0
        while time.perf_counter() < end:
            await work(next(numbers))
            done += 1
        return done

    began = time.perf_counter()
    done = sum(await gatherResults([Deferred.fromCoroutine(do_some()) for _ in range(at_once)]))
    return done / (time.perf_counter() - began)


async def _store_round(store: Any) -> Rates:
    account = await store.open_account("alice", create=True)
    (box,) = await account.mailboxes()

    async def add(number: int) -> None:
        await account.apply([Add(box.id, await _blob(account), 1)], token=f"t{number}")

    rates = {"messages added": await _rate(add)}
    other = await store.open_account("bob", create=True)
    (theirs,) = await other.mailboxes()
    blob = await _blob(other)
    for _ in range(ROWS // 1000):
        await other.apply([Add(theirs.id, blob, 1, summary=bytes(300)) for _ in range(1000)])
    began, after, seen = time.perf_counter(), 0, 0
    while rows := await other.messages(theirs.id, after=after, limit=1000):
        after, seen = rows[-1].uid, seen + len(rows)
    rates["rows listed"] = seen / (time.perf_counter() - began)
    began = time.perf_counter()
    for _ in range(100):
        await other.read_blob(blob, 0, len(LETTER))
    rates["bodies read"] = 100 / (time.perf_counter() - began)
    began = time.perf_counter()
    for uid in range(1, 21):
        await other.apply([SetFlags(theirs.id, [uid], add=frozenset({"\\Seen"}))])
    rates["flags set"] = 20 / (time.perf_counter() - began)
    return rates


async def _spool_round(spool: Any) -> Rates:
    now = time.time()

    async def queue(number: int) -> None:
        envelope = Envelope(JOE, Peer("192.0.2.1"), f"m{number}", received_at=now)
        message = QueuedMessage(envelope, await _blob(spool), len(LETTER))
        await spool.add(message, [QueuedRecipient(message.id, 0, Recipient(JOE), f"d{number % 50}.example", now)])

    rates = {"messages queued": await _rate(queue)}
    began, done = time.perf_counter(), 0
    while (leases := await spool.lease("one", now + 1, now + 60)) and time.perf_counter() < began + 2 * SECONDS:
        await spool.settle([Settled(one.recipients[0], Delivered(), None) for one in leases])
        done += len(leases)
    rates["recipients settled"] = done / (time.perf_counter() - began)
    return rates


async def _accounts_round(accounts: Any) -> Rates:
    async def look_up(number: int) -> None:
        await accounts.lookup(Address(f"nobody{number}", DOMAIN))

    return {"addresses looked up": await _rate(look_up)}


async def _auth_round(checker: Any) -> Rates:
    async def log_in(number: int) -> None:
        credentials = PasswordCredentials(f"nobody{number}@{DOMAIN}".encode(), b"secret")
        try:
            await maybeDeferred(checker.requestAvatarId, credentials)
        except UnauthorizedLogin:
            pass

    return {"strangers refused": await _rate(log_in, at_once=4)}


async def _check_round(check: Any) -> Rates:
    content = Content()
    content.write(LETTER)
    message = ReceivedMessage(Headers(LETTER[: LETTER.find(b"\r\n\r\n") + 4]), content)

    async def ask(number: int) -> None:
        envelope = Envelope(Address("ann", "example.net"), Peer("192.0.2.1"), f"m{number}")
        for asked in (check.sender(envelope), check.message(envelope, [Recipient(JOE)], message)):
            try:
                await asked
            except (Refused, TryLater):
                pass

    return {"messages judged": await _rate(ask)}


async def _delivery_round(target: Any) -> Rates:
    async def deliver(number: int) -> None:
        delivery = await target.begin(Envelope(JOE, Peer("192.0.2.1"), f"m{number}"))
        await delivery.add_recipient(Recipient(Address("ann", "example.net")))
        await delivery.write(LETTER)
        await delivery.commit()

    return {"messages taken": await _rate(deliver)}


async def _blob(keeper: Any) -> str:
    writer = keeper.new_blob(len(LETTER))
    await writer.write(LETTER)
    blob_id: str = await writer.commit()
    return blob_id
