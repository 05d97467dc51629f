"""Runs a spool in a child that is killed at random moments, again and again, and checks what the next one finds.

    crasher.py DIRECTORY ROUNDS SEED

The children are forked from here, before there is a reactor, so that twenty of them take a few seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, Settled
from twisted_mail_kit.queue.sqlite import SQLiteSpool

LATER = Delayed(Status("4.4.1", "Connection refused"))
WORKERS = 8


def octets_of(message_id: str) -> bytes:
    """Each message has its own; every fourth has a file of its own."""
    start = message_id.encode() + b"\r\n"
    return start * (8000 if message_id.endswith(("0", "4", "8", "c")) else 40)


# --- the child -------------------------------------------------------------------------------------------------------


def child(root: Path, number: int, seed: int, pipe: int) -> None:
    """Tell what is there; then add and settle, telling before and after, until the end."""
    from twisted.internet import reactor

    def tell(*words: object) -> None:
        os.write(pipe, json.dumps(words).encode() + b"\n")

    async def inventory(spool: SQLiteSpool) -> None:
        after, found = "", []
        while page := await spool.messages(after):
            for message, recipients in page:
                octets = await spool.read_blob(message.blob_id, 0, message.size)
                whole = (
                    octets == octets_of(message.id) and await spool.read_blob(message.blob_id, message.size, 9) == b""
                )
                found.append((message.id, whole, [(one.number, one.attempts) for one in recipients]))
            after = page[-1][0].id
        tell("found", found)

    async def live(spool: SQLiteSpool, worker: int) -> None:
        choice = random.Random(f"{seed} {number} {worker}")
        for count in range(100_000):
            message_id = f"m{number:02}-{worker}-{count:05x}"
            octets = octets_of(message_id)
            writer = spool.new_blob()
            await writer.write(octets)
            envelope = Envelope(Address("ann", "example.org"), Peer("192.0.2.1"), message_id)
            message = QueuedMessage(envelope, await writer.commit(), len(octets))
            recipients = [
                QueuedRecipient(
                    message_id, place, Recipient(Address("joe", f"d{place}.example")), f"d{place}.example", 0.0
                )
                for place in range(choice.randint(1, 3))
            ]
            owner = choice.choice(["", f"w{worker}"])
            tell("adding", message_id, len(recipients))
            await spool.add(message, recipients, owner, float(number + 1))
            tell("added", message_id)
            leases = await spool.lease(f"w{worker}", float(number), number + 1.0, choice.randint(1, 3))
            taken = [recipient for lease in leases for recipient in lease.recipients]
            if owner and choice.random() < 0.7:
                taken += recipients
            for recipient in taken:
                outcome, next_try = (LATER, float(number)) if choice.random() < 0.3 else (Delivered(), None)
                tell("settling", recipient.message_id, recipient.number, next_try is None)
                await spool.settle([Settled(recipient, outcome, next_try)])
                tell("settled", recipient.message_id, recipient.number, next_try is None)

    async def main() -> None:
        spool = SQLiteSpool(root, reactor)
        await inventory(spool)
        if number >= 0:
            await gatherResults([Deferred.fromCoroutine(live(spool, worker)) for worker in range(WORKERS)])
        await spool.close()
        large = list((root / "large").rglob("*.blob"))
        tell("large", len(large), [path.name for path in (root / "runs").iterdir()])
        reactor.callLater(0, reactor.stop)

    def failed(failure: object) -> None:
        tell("failed", str(failure))
        os._exit(1)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addErrback(failed))
    reactor.run(installSignalHandlers=False)


# --- what has to be true ---------------------------------------------------------------------------------------------


class Ledger:
    """What was said before and after, for each recipient: the least and the most that may be true."""

    def __init__(self) -> None:
        self.added: dict[str, bool] = {}
        self.sizes: dict[str, int] = {}
        self.gone: dict[tuple[str, int], bool] = {}
        self.least: dict[tuple[str, int], int] = {}
        self.most: dict[tuple[str, int], int] = {}
        self.told = 0

    def hear(self, word: str, *facts: object) -> None:
        """One line of a child."""
        self.told += word in ("added", "settled")
        if word == "adding":
            self.added.setdefault(str(facts[0]), False)
            self.sizes[str(facts[0])] = int(str(facts[1]))
        elif word == "added":
            self.added[str(facts[0])] = True
        elif word in ("settling", "settled"):
            key = (str(facts[0]), int(str(facts[1])))
            if facts[2]:
                self.gone[key] = word == "settled"
            elif word == "settling":
                self.most[key] = self.most.get(key, 0) + 1
            else:
                self.least[key] = self.least.get(key, 0) + 1

    def check(self, found: list[tuple[str, bool, list[tuple[int, int]]]]) -> None:
        """Against what the next child has found."""
        there = {message_id: dict(map(tuple, recipients)) for message_id, _, recipients in found}
        for message_id, whole, _ in found:
            assert whole, f"{message_id}: its octets are not those that were added"
            assert message_id in self.added, f"{message_id}: nobody added it"
        for message_id, is_sure in self.added.items():
            recipients = there.get(message_id, {})
            if message_id in there:
                assert recipients, f"{message_id}: it is there without recipients"
            for number in range(self.sizes[message_id]):
                key = (message_id, number)
                if number in recipients:
                    assert not self.gone.get(key), f"{key} was settled, and is there again"
                    least, most = self.least.get(key, 0), self.most.get(key, 0)
                    assert least <= recipients[number] <= most, f"{key}: {recipients[number]} of {least} to {most}"
                    self.least[key] = self.most[key] = recipients[number]
                    self.gone.pop(key, None)
                    self.added[message_id] = True
                else:
                    assert key in self.gone or not is_sure, f"{key} was acknowledged, and is lost"
                    self.gone[key] = True


def main(root: Path, rounds: int, seed: int) -> None:
    """All rounds."""
    choice, ledger = random.Random(seed), Ledger()
    for number in [*range(rounds), -1]:
        outside, inside = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(outside)
            child(root, number, seed, inside)
            os._exit(0)
        os.close(inside)
        try:
            with os.fdopen(outside, "rb") as pipe:
                word, *facts = json.loads(pipe.readline())
                assert word == "found", (word, facts)
                ledger.check(facts[0])
                if number >= 0:
                    time.sleep(choice.uniform(0.02, 0.22))
                    os.kill(pid, signal.SIGKILL)
                lines = pipe.read().split(b"\n")[:-1]
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for line in lines:
            word, *rest = json.loads(line)
            assert word != "failed", rest
            ledger.hear(word, *rest)
    alive = {message_id for message_id, _, _ in facts[0]}
    large = sum(len(octets_of(message_id)) > 64 * 1024 for message_id in alive)
    assert [word, *rest] == ["large", large, []], (word, rest, large)
    print(json.dumps({"told": ledger.told, "messages": len(ledger.added), "alive": len(alive), "large": large}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
