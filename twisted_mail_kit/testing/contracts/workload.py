"""What a child process does until it is killed: random operations on several accounts, as fast as it can."""

from __future__ import annotations

import base64
import errno
import pickle
import random
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from twisted_mail_kit.errors import AccountNotFound, MailboxNotFound, MailError, OverQuota, Unavailable
from twisted_mail_kit.interfaces import (
    Add,
    Applied,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    IAccount,
    IMailStore,
    Mailbox,
    Move,
    Operation,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.testing.contracts.shim import SYNC, WRITE, Shim
from twisted_mail_kit.testing.contracts.steps import messages, put_blob
from twisted_mail_kit.testing.contracts.witness import Body, Event

ACCOUNTS = ("alice", "bob", "carol")
AT_ONCE = 2
"""Workers on each account."""
FULL = 25
"""Messages in a mailbox after which some go."""
OFTEN, PATIENT = 0.08, 5
"""How often something fails, where it does; how often one who is refused tries again."""
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "$work", "$later")


def said(event: Event) -> str:
    """The event as a line; its end is marked, so that one that was cut off is known."""
    return f"{event.kind} {base64.b64encode(pickle.dumps(event)).decode()} ."


def heard(line: str) -> Event | None:
    """The event of a line that is whole."""
    words = line.split(" ")
    if len(words) != 3 or words[2] != ".":
        return None
    event = pickle.loads(base64.b64decode(words[1]))  # from our own child
    return event if isinstance(event, Event) else None


async def live(
    store: IMailStore, say: Callable[[str], None], seed: str, operations: str, large: str, faults: str = ""
) -> None:
    """Do so many operations, 0: without end; messages have at most `large` octets.

    With `faults`, a write or a sync fails now and then; it ends early when the store takes no more.
    """
    chance = random.Random(seed)

    def tell(event: Event) -> None:
        say(said(event))

    accounts: dict[str, IAccount] = {}
    for name in [*ACCOUNTS, f"new-{seed}"]:
        tell(Event("making", name))
        accounts[name] = account = await opened(store, name)
        boxes, state = await account.mailboxes(), await account.state()
        if len(boxes) == 1 and not boxes[0].total:
            tell(Event("made", name, applied=Applied(state, tuple(boxes))))
    numbers = count(1)
    rounds = range(int(operations) // (len(ACCOUNTS) * AT_ONCE)) if int(operations) else count()
    workers = [
        Worker(account, f"{seed}.{number}", random.Random(chance.random()), tell, int(large))
        for name, account in accounts.items()
        for number in range(AT_ONCE)
        if name in ACCOUNTS
    ]

    async def work(worker: Worker) -> None:
        await worker.begin()
        refused = 0
        for _ in rounds if isinstance(rounds, range) else numbers:
            if faults and chance.random() < OFTEN:
                number = chance.randrange(1, 5)
                Shim().fail(number, number, errno.EIO, chance.choice([SYNC, SYNC | WRITE]))
            refused = 0 if await worker.one() else refused + 1
            if refused > PATIENT:
                break

    await gatherResults([Deferred.fromCoroutine(work(worker)) for worker in workers], consumeErrors=True)
    if faults:
        Shim().well()


async def opened(store: IMailStore, name: str) -> IAccount:
    """The account, made where it is missing."""
    try:
        return await store.open_account(name)
    except AccountNotFound:
        return await store.open_account(name, create=True)


class Worker:
    """One who changes an account; the other one's changes come in between."""

    def __init__(
        self, account: IAccount, name: str, chance: random.Random, tell: Callable[[Event], None], large: int
    ) -> None:
        self.account, self.name, self.chance, self.tell, self.large = account, name, chance, tell, large
        self.numbers = count(1)
        self.boxes: dict[str, list[int]] = {}
        self.inbox = ""

    async def begin(self) -> None:
        """Look at what is there."""
        for box in await self.account.mailboxes():
            try:
                self.boxes[box.id] = [row.uid for row in await messages(self.account, box.id)]
            except MailboxNotFound:
                continue  # the other one was quicker
            self.inbox = box.id if box.role == "inbox" else self.inbox

    async def one(self) -> bool:
        """One apply, told before and after; answers whether the store takes them."""
        name, token = self.account.name, f"{self.name}.{next(self.numbers)}"
        bodies: dict[str, Body] = {}
        try:
            ops = await self._ops(bodies)
        except MailError:
            return False
        self.tell(Event("begin", name, token, tuple(ops), tuple(bodies.items())))
        try:
            applied = await self.account.apply(ops, token=token)
        except (Unavailable, OverQuota):
            return False  # the store itself says later whether it was done
        except MailError as error:  # the other one was quicker: the mailbox is gone
            self.tell(Event("not", name, token, error=repr(error)))
            await self.begin()
            return True
        self.tell(Event("done", name, token, applied=applied))
        await self._follow(ops, applied)
        return True

    async def _follow(self, ops: list[Operation], applied: Applied) -> None:
        if self.chance.random() < 0.2 or any(isinstance(op, CreateMailbox | DeleteMailbox) for op in ops):
            state = await self.account.state()
            boxes = await self.account.mailboxes()
            uidnexts = tuple((box.id, box.uidnext) for box in boxes)
            self.tell(Event("seen", self.account.name, state=state, uidnexts=uidnexts))
            self.boxes = {box.id: self.boxes.get(box.id, []) for box in boxes}
        for result in applied.results:
            uid, box = getattr(result, "uid", None), getattr(result, "mailbox_id", None)
            pairs: Any = getattr(result, "pairs", ())
            if box in self.boxes:
                self.boxes[box].extend([uid] if uid else [here for _, here in pairs])

    async def _ops(self, bodies: dict[str, Body]) -> list[Operation]:
        chance = self.chance
        box, other = chance.choice(list(self.boxes)), chance.choice(list(self.boxes))
        there = self.boxes[box]
        if len(there) > FULL:
            gone, self.boxes[box] = there[: FULL // 2], there[FULL // 2 :]
            return [Remove(box, gone)]
        some = sorted(chance.sample(there, min(len(there), chance.randrange(1, 5))))
        flags = frozenset(chance.sample(FLAGS, 2))
        match chance.choices(range(9), weights=[30, 6, 8, 8, 12, 6, 2, 2, 4])[0]:
            case 0:
                return [await self._add(box, bodies)]
            case 1:
                return [await self._add(one, bodies) for one in (box, other, box)]
            case 2:
                return [Copy(box, some, other)]
            case 3:
                return [Move(box, some, other)]
            case 4:
                return [SetFlags(box, some, flags, frozenset(chance.sample(FLAGS, 1)) - flags)]
            case 5:
                return [Remove(box, some if chance.random() < 0.5 else there[-1:])]  # the last UID is the one to forget
            case 6:
                return [CreateMailbox((f"box {chance.randrange(4)}",)), Move(box, some, "#0")]
            case 7:
                return [DeleteMailbox(box) if box != self.inbox else UpdateMailbox(box, subscribed=bool(some))]
            case _:
                add = await self._add(other, bodies)
                return [add, SetFlags(box, some, flags), Copy(box, some, other), Remove(box, some[:1])]

    async def _add(self, box: str, bodies: dict[str, Body]) -> Add:
        chance = self.chance
        size = chance.randrange(self.large // 2, self.large) if chance.random() < 0.04 else chance.randrange(1, 2500)
        body = Body(chance.getrandbits(32), size)
        blob_id = await put_blob(self.account, body.octets())
        bodies[blob_id] = body
        summary = chance.randbytes(chance.randrange(60))
        return Add(box, blob_id, chance.randrange(2**31), summary, frozenset(chance.sample(FLAGS, 1)))


__all__ = ["ACCOUNTS", "Mailbox", "heard", "live", "said"]
