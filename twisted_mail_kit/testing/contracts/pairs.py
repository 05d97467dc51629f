"""The same account twice, in a store and in memory: does random things to both, and compares all there is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted_mail_kit.errors import MailError
from twisted_mail_kit.interfaces import (
    UNSET,
    Add,
    Applied,
    Changes,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    IAccount,
    IMailStore,
    Mailbox,
    Message,
    Move,
    Operation,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.testing.contracts.steps import messages, put_blob, read, same_octets

NAMES = [("INBOX",), ("a",), ("a", "b"), ("A",), ("c",)]
ROLES = [None, None, "sent", "trash", "inbox"]
KINDS = ["create", "update", "delete", "copy", "move", "replace", "flag", "remove", "add"]
FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "x", "y"]


class Pair:
    """The same account twice. Ids, UIDs and modseqs may differ: `same` knows which of one is which of the other."""

    def __init__(self, model: IAccount, real: IAccount, chance: random.Random) -> None:
        self.model, self.real, self.chance = model, real, chance
        self.same: dict[tuple[str, Any], Any] = {}
        self.back: dict[tuple[str, Any], Any] = {}
        self.created: dict[tuple[str, int], int] = {}
        """The model's (mailbox id, UID) -> modseq."""
        self.tokens = 0
        self.handles = [real]
        """Several IAccounts for the same account."""

    def seeded(self, seed: int, handle: int) -> Pair:
        """Go on with these random numbers, and with that one of the account's objects."""
        self.chance = random.Random(seed)
        self.real = self.handles[handle]
        return self

    async def open_again(self, store: IMailStore) -> None:
        """The store was opened again."""
        self.handles = [await store.open_account(one.name) for one in self.handles]
        self.real = self.handles[0]

    async def step(
        self,
        kinds: Sequence[str] = (),
        is_guarded: bool | None = None,
        token: str | None = None,
        tell: Callable[[str], object] = len,
    ) -> None:
        """Do something random to both: operations of these kinds, or of any."""
        chance = self.chance
        boxes = list(await self.model.mailboxes())
        rows = {box.id: await messages(self.model, box.id) for box in boxes}
        octets = chance.randbytes(chance.randrange(200))
        blobs = await put_blob(self.model, octets), await put_blob(self.real, octets)
        wanted: Sequence[str | None] = kinds or [None] * chance.randint(1, 3)
        ops = [self._operation(boxes, rows, blobs, kind) for kind in wanted]
        if_state = None
        if is_guarded is None:
            if_state = chance.choice([None, None, None, await self.model.state()])
            token = chance.choice([None, None, f"token {self.tokens}", f"token {self.tokens - 1}"])
            self.tokens += 1
        elif is_guarded:
            if_state = await self.model.state() - (chance.random() < 0.2)
        tell(f"{self.model.name}: apply({[op for op, _ in ops]}, if_state={if_state}, token={token!r})")
        before = await self.model.state(), await self.real.state()
        ours = await _try(self.model, [op for op, _ in ops], if_state, token)
        real_state = None if if_state is None else before[1] - (before[0] - if_state)
        theirs = await _try(self.real, [op for _, op in ops], real_state, token)
        what = f"{[op for op, _ in ops]}"
        if isinstance(ours, MailError) or isinstance(theirs, MailError):
            assert type(theirs) is type(ours), what
            assert await self.real.state() == before[1], what
            return
        after = await self.model.state(), await self.real.state()
        assert (after[1] > before[1]) == (after[0] > before[0]), f"a new modseq if something changed: {what}"
        assert after[1] >= before[1]
        self._pair("modseq", after[0], after[1])
        self.same_applied(ours, theirs)

    def same_applied(self, ours: Applied, theirs: Applied) -> None:
        """Both answered the same."""
        assert theirs.replayed == ours.replayed
        for our, their in zip(ours.results, theirs.results, strict=True):
            assert type(our) is type(their), (our, their)
            self._row(our, their)

    async def add_somewhere(self) -> tuple[Add, Add]:
        """The same new message for a random mailbox of both."""
        boxes, octets = list(await self.model.mailboxes()), self.chance.randbytes(20)
        blobs = await put_blob(self.model, octets), await put_blob(self.real, octets)
        box, date = self.chance.choice(boxes), self.chance.randrange(10**9)
        return Add(box.id, blobs[0], date), Add(self.same["mailbox", box.id], blobs[1], date)

    async def compare(self) -> None:
        """All there is has to be the same."""
        await self.compare_rows()
        await self.compare_changes()

    async def compare_some(self, limit: int) -> None:
        """Messages that are asked for by UID."""
        for box in await self.model.mailboxes():
            there = self.same["mailbox", box.id]
            uids = [row.uid for row in await messages(self.model, box.id) if self.chance.random() < 0.7]
            after = self.chance.choice([0, *uids])
            ours = await self.model.messages(box.id, uids, after, limit)
            real_uids = [self.same["uid " + there, uid] for uid in uids]
            real_after = self.same["uid " + there, after] if after else 0
            theirs = await self.real.messages(there, real_uids, real_after, limit)
            assert len(ours) == len(theirs), (box.name, uids, after, limit)
            for our, their in zip(ours, theirs, strict=True):
                self._row(our, their)

    async def compare_rows(self) -> None:
        """Mailboxes, messages, and one's octets."""
        ours = {box.name: box for box in await self.model.mailboxes()}
        theirs = {box.name: box for box in await self.real.mailboxes()}
        assert ours.keys() == theirs.keys()
        for name, our in ours.items():
            their = theirs[name]
            self._row(our, their)
            our_rows = await messages(self.model, our.id)
            their_rows = await messages(self.real, their.id, max(5, our.total // 3))
            assert len(our_rows) == len(their_rows)
            for our_row, their_row in zip(our_rows, their_rows, strict=True):
                self._row(our_row, their_row)
            if our_rows:
                number = self.chance.randrange(len(our_rows))
                octets = await read(self.real, their_rows[number].blob_id)
                same_octets(octets, await read(self.model, our_rows[number].blob_id))
        self._pair("modseq", await self.model.state(), await self.real.state())

    async def compare_changes(self, limit: int = 0) -> None:
        """All pages of changes since one of the states that were seen."""
        known = [since for kind, since in self.same if kind == "modseq"]
        since = self.chance.choice(known)
        our_changes = await self.model.changes(since, limit=1000)
        few = max(1, len(our_changes.messages + our_changes.removed) // 10)
        limit = limit or self.chance.choice([few, 3 * few, 1000])
        their_changes = await _follow(self.real, self.same["modseq", since], limit)
        assert their_changes.until == self.same["modseq", our_changes.until]
        for our_told, their_told in (
            (our_changes.messages, their_changes.messages),
            (our_changes.mailboxes, their_changes.mailboxes),
        ):
            wanted = {(self._box(row), row[1] if isinstance(row, Message) else 0) for row in our_told}
            assert {
                (row.mailbox_id, self.back["uid " + row.mailbox_id, row.uid])
                if isinstance(row, Message)
                else (row.id, 0)
                for row in their_told
            } == wanted
        assert {self.same["mailbox", box] for box in our_changes.removed_mailboxes} >= set(
            their_changes.removed_mailboxes
        )

        # Tombstones of mailboxes that are gone may be told or not; and so may those of messages younger than `since`.
        there = {box.id for box in await self.model.mailboxes()}
        our_gone = {(row.mailbox_id, row.uid) for row in our_changes.removed if row.mailbox_id in there}
        their_gone = {
            (box_id, self.back["uid " + row.mailbox_id, row.uid])
            for row in their_changes.removed
            if (box_id := self.back["mailbox", row.mailbox_id]) in there
        }
        assert their_gone <= our_gone
        assert {gone for gone in our_gone if self.created.get(gone, since + 1) <= since} <= their_gone

    def _box(self, row: Mailbox | Message) -> str:
        return str(self.same["mailbox", row.mailbox_id if isinstance(row, Message) else row.id])

    def _operation(
        self, boxes: list[Mailbox], rows: dict[str, list[Message]], blobs: tuple[str, str], kind: str | None
    ) -> tuple[Operation, Operation]:
        chance = self.chance
        box, to = chance.choice(boxes), chance.choice(boxes)
        here, there = self.same["mailbox", box.id], self.same["mailbox", to.id]
        picked = [row.uid for row in rows[box.id] if chance.random() < 0.5]
        theirs = [self.same["uid " + here, uid] for uid in picked]
        flags = [frozenset(flag for flag in FLAGS if chance.random() < share) for share in (0.3, 0.3)]
        flags[1] -= flags[0]
        number = chance.randrange(10)
        match KINDS.index(kind) if kind else number:
            case 0:
                op = CreateMailbox(chance.choice(NAMES), chance.choice(ROLES), chance.random() < 0.5)
                return op, op
            case 1:
                name: Any = chance.choice([UNSET, *NAMES])
                if box.role == "inbox":
                    name = UNSET
                role = UNSET if box.role == "inbox" else chance.choice([UNSET, *ROLES])
                subscribed: Any = chance.choice([UNSET, True, False])
                return UpdateMailbox(box.id, name, role, subscribed), UpdateMailbox(here, name, role, subscribed)
            case 2:
                return DeleteMailbox(box.id), DeleteMailbox(here)
            case 3:
                return Copy(box.id, picked, to.id), Copy(here, theirs, there)
            case 4:
                return Move(box.id, picked, to.id), Move(here, theirs, there)
            case 5:
                return SetFlags(box.id, picked, replace=flags[0]), SetFlags(here, theirs, replace=flags[0])
            case 6:
                since = chance.choice([None, *(modseq for kind, modseq in self.same if kind == "modseq")])
                real = None if since is None else self.same["modseq", since]
                return (
                    SetFlags(box.id, picked, flags[0], flags[1], unchanged_since=since),
                    SetFlags(here, theirs, flags[0], flags[1], unchanged_since=real),
                )
            case 7:
                return Remove(box.id, picked[:2]), Remove(here, theirs[:2])
            case _:
                date, summary = chance.randrange(10**9), chance.randbytes(9)
                return (
                    Add(box.id, blobs[0], date, summary, flags[0]),
                    Add(here, blobs[1], date, summary, flags[0]),
                )

    def _row(self, our: Any, their: Any) -> None:
        """Compare two values field by field; what is an id or a number of the store's own choice is paired."""
        if our is None or not hasattr(our, "_fields"):
            return
        if hasattr(our, "mailbox_id"):
            self._pair("mailbox", our.mailbox_id, their.mailbox_id)
        elif hasattr(our, "id"):
            self._pair("mailbox", our.id, their.id)
        if isinstance(our, Message):
            self.created[our.mailbox_id, our.uid] = our.created
        for field in our._fields:
            ours, theirs = getattr(our, field), getattr(their, field)
            match field:
                case "email_id" | "thread_id":
                    self._pair(field, ours, theirs)
                case "modseq" | "created":
                    self._pair("modseq", ours, theirs)
                case "uid":
                    self._pair("uid " + their.mailbox_id, ours, theirs)
                case "uidvalidity":
                    self._pair("uidvalidity " + (getattr(their, "mailbox_id", None) or their.id), ours, theirs)
                case "pairs":
                    for (_, our_uid), (_, their_uid) in zip(ours, theirs, strict=True):
                        self._pair("uid " + their.mailbox_id, our_uid, their_uid)
                case "uids" | "changed" | "refused":
                    assert len(ours) == len(theirs), (our, their)
                case "id" | "mailbox_id" | "blob_id" | "saved_date" | "uidnext":
                    pass
                case _:
                    assert ours == theirs, (field, our, their)

    def _pair(self, kind: str, ours: Any, theirs: Any) -> None:
        assert self.same.setdefault((kind, ours), theirs) == theirs, (kind, ours, theirs)
        assert self.back.setdefault((kind, theirs), ours) == ours, (kind, ours, theirs)


async def _try(account: IAccount, ops: list[Operation], if_state: int | None, token: str | None) -> Any:
    try:
        return await account.apply(ops, if_state, token)
    except MailError as error:
        return error


async def _follow(account: IAccount, since: int, limit: int) -> Changes:
    whole = await account.changes(since, limit=limit)
    while whole.more:
        page = await account.changes(whole.until, limit=limit)
        whole = Changes(
            since,
            page.until,
            page.more,
            whole.mailboxes + page.mailboxes,
            whole.removed_mailboxes + page.removed_mailboxes,
            whole.messages + page.messages,
            whole.removed + page.removed,
        )
    return whole
