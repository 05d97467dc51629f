"""Remembers what a store has acknowledged, and looks whether it is all there, and nothing by halves.

It is fed with what `workload` says. Every operation has a token. So of those that were begun and not answered before
the end, the store itself can say which were done: those are held to the same as those that were answered.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from twisted_mail_kit.errors import AccountNotFound, MailError
from twisted_mail_kit.interfaces import (
    Add,
    Added,
    Applied,
    Copied,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    FlagsSet,
    IAccount,
    IMailStore,
    Mailbox,
    Move,
    Operation,
    Remove,
    Removed,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.testing.contracts.steps import Snapshot, history, read, snapshot

NEWEST, OTHERS = 20, 8
"""Messages whose octets are looked at, in each account each time."""


class Broken(AssertionError):
    """The store has broken a promise; the text says which."""


class Body(NamedTuple):
    """The octets of a message, said shortly."""

    seed: int
    size: int

    def octets(self) -> bytes:
        """All of them."""
        return random.Random(self.seed).randbytes(self.size)


class Event(NamedTuple):
    """One line that the child has said."""

    kind: str
    """``making``, ``made`` (an account); ``begin``, ``done``, ``not`` (an apply); ``seen`` (what a reader was told)."""
    account: str
    token: str = ""
    ops: tuple[Operation, ...] = ()
    bodies: tuple[tuple[str, Body], ...] = ()
    """Blob id and what is in it."""
    applied: Applied | None = None
    error: str = ""
    state: int = 0
    uidnexts: tuple[tuple[str, int], ...] = ()
    """Mailbox id and UIDNEXT."""

    def __str__(self) -> str:
        more: object = self.applied or self.error or self.uidnexts or ""
        if self.ops:
            more = "; ".join(_short(op) for op in self.ops)
        return f"{self.kind:6} {self.account} {self.token} {self.state or ''} {more}"


def _short(op: Operation) -> str:
    text = repr(op)
    return text if len(text) < 160 else text[:150] + "\u2026)"


class Row(NamedTuple):
    """A message as it has to be."""

    email_id: str
    body: Body
    flags: frozenset[str]
    internal_date: int
    summary: bytes
    created: int
    modseq: int


class Account:
    """One account, as it has to be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.boxes: dict[str, tuple[tuple[str, ...], str | None, bool, int]] = {}
        """id -> name, role, subscribed, UIDVALIDITY."""
        self.rows: dict[str, dict[int, Row]] = {}
        self.uidnext: dict[str, int] = {}
        """Mailbox id -> no UID below may come again; deleted mailboxes too."""
        self.created: dict[str, int] = {}
        self.modseq = 0
        self.seen = 0
        self.seen_uidnext: dict[str, int] = {}
        """What a reader was told; the answers to the commits that it saw may come later."""
        self.modseqs: list[int] = [0]
        self.email_ids: set[str] = set()
        self.uidvalidities: set[tuple[tuple[str, ...], int]] = set()
        self.removals: list[tuple[int, str, int, int]] = []
        """modseq, mailbox id, UID, the modseq at which it had come."""
        self.deleted: list[tuple[int, str]] = []
        self.bodies: dict[str, Body] = {}
        self.begun: dict[str, Event] = {}
        self.answers: dict[str, tuple[Event, Applied]] = {}
        self.waiting: list[tuple[Event, Applied]] = []
        """Answered, not looked at yet: answers come in another order than commits."""
        self.unread: set[tuple[str, int]] = set()
        """Messages whose octets were not looked at yet."""

    # --- what an apply does ------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Take in what was answered, in the order of the commits."""
        waiting, self.waiting = sorted(self.waiting, key=lambda one: (one[1].modseq, not _changes(one[1]))), []
        for event, applied in waiting:
            if len(applied.results) != len(event.ops):
                raise Broken(f"{event.token} has {len(event.ops)} operations and {len(applied.results)} answers")
            before, self.modseq = self.modseq, -1
            for op, result in zip(event.ops, applied.results, strict=True):
                self._do(op, result, applied)
            if self.modseq < 0:
                self.modseq = before
                continue
            if applied.modseq <= before:
                raise Broken(f"modseq {applied.modseq} of {event.token} was used before: it was {before} already")
            self.modseqs.append(applied.modseq)

    def _do(self, op: Operation, result: Any, applied: Applied) -> None:
        modseq = applied.modseq

        def the(mailbox_id: str) -> str:
            made = applied.results[int(mailbox_id[1:])] if mailbox_id.startswith("#") else None
            return made.id if isinstance(made, Mailbox) else mailbox_id

        match op, result:
            case CreateMailbox(), Mailbox() as box:
                if box.id in self.uidnext:
                    raise Broken(f"mailbox id {box.id} was used before")
                if (box.name, box.uidvalidity) in self.uidvalidities:
                    raise Broken(f"UIDVALIDITY {box.uidvalidity} of {box.name} was used before")
                self.uidvalidities.add((box.name, box.uidvalidity))
                self.boxes[box.id] = (box.name, box.role, box.subscribed, box.uidvalidity)
                self.rows[box.id], self.uidnext[box.id], self.created[box.id] = {}, 1, modseq
                self.modseq = modseq
            case UpdateMailbox(), Mailbox() as box:
                now = (box.name, box.role, box.subscribed, box.uidvalidity)
                if self.boxes[box.id] != now:
                    self.boxes[box.id], self.modseq = now, modseq
            case DeleteMailbox(mailbox_id), _:
                del self.boxes[the(mailbox_id)], self.rows[the(mailbox_id)]
                self.deleted.append((modseq, the(mailbox_id)))
                self.modseq = modseq
            case Add(), Added():
                if result.email_id in self.email_ids:
                    raise Broken(f"email id {result.email_id} was used before")
                self.email_ids.add(result.email_id)
                body = self.bodies[op.blob_id]
                row = Row(result.email_id, body, op.flags, op.internal_date, op.summary, modseq, modseq)
                self._put(the(op.mailbox_id), result.uid, row)
            case ((Copy() | Move()), Copied()):
                for there, here in result.pairs:
                    row = self.rows[the(op.mailbox_id)][there]
                    self._put(the(op.to_mailbox_id), here, row._replace(created=modseq, modseq=modseq))
                    if isinstance(op, Move):
                        self._drop(the(op.mailbox_id), there, modseq)
            case SetFlags(), FlagsSet():
                rows = self.rows[the(op.mailbox_id)]
                for uid in op.uids:
                    if uid in rows:
                        flags = (rows[uid].flags | op.add) - op.remove
                        if (flags != rows[uid].flags) != (uid in result.changed):
                            raise Broken(f"{op} answered {result}, and UID {uid} had {sorted(rows[uid].flags)}")
                        if flags != rows[uid].flags:
                            rows[uid], self.modseq = rows[uid]._replace(flags=flags, modseq=modseq), modseq
            case Remove(mailbox_id), Removed():
                for uid in result.uids:
                    self._drop(the(mailbox_id), uid, modseq)
            case _:
                raise Broken(f"{op} was answered with {result}")

    def _put(self, box: str, uid: int, row: Row) -> None:
        if uid < self.uidnext[box]:
            raise Broken(f"UID {uid} of {self.boxes[box][0]} was used before: UIDNEXT was {self.uidnext[box]} already")
        self.rows[box][uid], self.uidnext[box], self.modseq = row, uid + 1, row.modseq
        self.unread.add((box, uid))

    def _drop(self, box: str, uid: int, modseq: int) -> None:
        row = self.rows[box].pop(uid, None)
        if row is None:
            raise Broken(f"UID {uid} of {self.boxes[box][0]} was removed at {modseq}, and was not there")
        self.removals.append((modseq, box, uid, row.created))
        self.modseq = modseq

    # --- looking -----------------------------------------------------------------------------------------------------

    async def look(self, account: IAccount, chance: random.Random, is_read_only: bool) -> None:
        """Raise Broken where the store's account is not so. One that may be read-only is not asked for tokens."""
        for token in list(self.begun):
            event = self.begun.pop(token)
            applied = await account.apply([], token=token)
            if applied.replayed:
                self.answers[token] = event, applied._replace(replayed=False)
                self.waiting.append(self.answers[token])
        try:
            self.settle()
        except KeyError as error:
            raise Broken(f"an answer speaks of {error}, which is not there") from error
        now = await snapshot(account)
        self._look_at_facts(now)
        await self._look_at_octets(account, now, chance)
        for since in {0, chance.choice(self.modseqs), chance.choice(self.modseqs[-8:])}:
            await self._look_at_changes(account, since, chance.choice([1, 3, 10, 1000]))
        if is_read_only:
            return
        for token in chance.sample(sorted(self.answers), min(4, len(self.answers))):
            again = await account.apply([], token=token)
            if again != self.answers[token][1]._replace(replayed=True):
                raise Broken(f"token {token} answers {again}, first it was {self.answers[token][1]}")

    def _look_at_facts(self, now: Snapshot) -> None:
        _same("the account's modseq", now.state, self.modseq)
        if now.state < self.seen:
            raise Broken(f"a reader was told modseq {self.seen}, and now it is {now.state}")
        found = {box.id: (box.name, box.role, box.subscribed, box.uidvalidity) for box in now.mailboxes.values()}
        _same("mailboxes", found, self.boxes)
        for box in now.mailboxes.values():
            rows, must = now.messages[box.id], self.rows[box.id]
            _same(f"UIDs in {box.name}", [row.uid for row in rows], sorted(must))
            for row in rows:
                is_now = (row.email_id, row.size, row.flags, row.internal_date, row.summary, row.created, row.modseq)
                one = must[row.uid]
                has_to = (one.email_id, one.body.size, one.flags, one.internal_date, one.summary)
                _same(f"UID {row.uid} in {box.name}", is_now, (*has_to, one.created, one.modseq))
            counts = len(rows), sum("\\Seen" not in row.flags for row in rows), sum(row.size for row in rows)
            _same(f"total, unseen, size of {box.name}", (box.total, box.unseen, box.size), counts)
            known = max(self.uidnext[box.id], self.seen_uidnext.get(box.id, 1))
            if box.uidnext < known:
                raise Broken(f"UIDNEXT of {box.name} is {box.uidnext}, and was {known} already")
            self.uidnext[box.id] = box.uidnext

    async def _look_at_octets(self, account: IAccount, now: Snapshot, chance: random.Random) -> None:
        """Of the newest messages, which have the most to lose, and of some others."""
        there = [row for rows in now.messages.values() for row in rows]
        new = [row for row in there if (row.mailbox_id, row.uid) in self.unread]
        new.sort(key=lambda row: row.created)
        self.unread.clear()
        for row in [*new[-NEWEST:], *chance.sample(there, min(OTHERS, len(there)))]:
            box, uid = row.mailbox_id, row.uid
            try:
                octets = await read(account, row.blob_id, row.size + 1)
            except MailError as error:
                raise Broken(f"the octets of UID {uid} in {self.boxes[box][0]}: {error!r}") from error
            if octets != self.rows[box][uid].body.octets():
                size = self.rows[box][uid].body.size
                raise Broken(f"UID {uid} in {self.boxes[box][0]} has other octets ({len(octets)}, it was {size})")

    async def _look_at_changes(self, account: IAccount, since: int, limit: int) -> None:
        told = await history(account, since, limit=limit)
        _same(f"changes({since}): until", told.until, self.modseq)
        new = {(box, uid) for box, rows in self.rows.items() for uid, row in rows.items() if row.modseq > since}
        _same(f"changes({since}): messages", {(row.mailbox_id, row.uid) for row in told.messages}, new)
        may = {(box, uid) for modseq, box, uid, _ in self.removals if modseq > since}
        must = {
            (box, uid) for modseq, box, uid, created in self.removals if modseq > since >= created and box in self.boxes
        }
        gone = {(row.mailbox_id, row.uid) for row in told.removed}
        if not must <= gone <= may:
            raise Broken(f"changes({since}) tells removals {sorted(gone)}; they have to be {sorted(must)}")
        boxes_gone = {box for modseq, box in self.deleted if modseq > since}
        boxes_must = {box for box in boxes_gone if self.created[box] <= since}
        if not boxes_must <= set(told.removed_mailboxes) <= boxes_gone:
            raise Broken(f"changes({since}) tells deleted mailboxes {told.removed_mailboxes}, not {boxes_must}")


class Witness:
    """What was said by all the children so far."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.making: set[str] = set()
        self.to_look_at: set[str] = set()
        self.last: list[Event] = []
        """The last of what was said."""

    def hear(self, events: Iterable[Event]) -> None:
        """Take in what was said."""
        for event in events:
            self.last = [*self.last[-11:], event]
            self.to_look_at.add(event.account)
            if event.kind == "making":
                if event.account not in self.accounts:
                    self.making.add(event.account)
                continue
            account = self.accounts.get(event.account)
            if account is None:
                account = self.accounts[event.account] = Account(event.account)
                self.making.discard(event.account)
            if event.kind == "made":
                self._first_mailbox(account, event)
            elif event.kind == "begin":
                account.begun[event.token] = event
                account.bodies.update(event.bodies)
            elif event.kind == "not":
                account.begun.pop(event.token, None)
            elif event.kind == "done" and event.applied is not None:
                begun = account.begun.pop(event.token)
                account.answers[event.token] = begun, event.applied
                account.waiting.append(account.answers[event.token])
            elif event.kind == "seen":
                account.seen = max(account.seen, event.state)
                for box, uidnext in event.uidnexts:
                    account.seen_uidnext[box] = max(account.seen_uidnext.get(box, 1), uidnext)

    def _first_mailbox(self, account: Account, event: Event) -> None:
        """An account is made whole, with its inbox; its own answers say the rest."""
        if account.boxes or event.applied is None:
            return
        (box,) = event.applied.results
        assert isinstance(box, Mailbox)
        made = event._replace(ops=(CreateMailbox(box.name, box.role, box.subscribed),))
        waiting, account.waiting = account.waiting, [(made, event.applied)]
        account.settle()
        account.waiting = waiting
        account.uidnext[box.id] = max(box.uidnext, account.uidnext[box.id])

    async def look(self, store: IMailStore, chance: random.Random, is_read_only: bool = False) -> None:
        """Raise Broken where the store is not as it has to be."""
        names, self.to_look_at = self.to_look_at, set()
        for name in sorted(names):
            if name not in self.accounts:
                await self._look_at_one_in_the_making(store, name)
                continue
            try:
                account = await store.open_account(name)
            except AccountNotFound as error:
                raise Broken(f"account {name} is gone") from error
            try:
                await self.accounts[name].look(account, chance, is_read_only)
            except Broken as error:
                raise Broken(f"in account {name}: {error}") from error

    async def _look_at_one_in_the_making(self, store: IMailStore, name: str) -> None:
        self.making.discard(name)
        try:
            boxes = await (await store.open_account(name)).mailboxes()
        except AccountNotFound:
            return
        if [box.role for box in boxes] != ["inbox"]:
            raise Broken(f"account {name} was made by halves: its mailboxes are {boxes}")

    def story(self) -> str:
        """The last of what was said, a line each."""
        return "\n".join(f"    {event}" for event in self.last)


def _changes(applied: Applied) -> bool:
    """One that changes nothing answers the modseq of the one before it."""
    for result in applied.results:
        told = result[0] if isinstance(result, Removed | FlagsSet) else getattr(result, "pairs", True)
        if told:
            return True
    return False


def _same(what: str, found: object, wanted: object) -> None:
    if found == wanted:
        return
    if isinstance(found, Sequence) and isinstance(wanted, Sequence) and len(found) > 8:
        lacking, extra = [x for x in wanted if x not in found], [x for x in found if x not in wanted]
        raise Broken(f"{what}: lacking {lacking}, too many {extra}")
    raise Broken(f"{what}: found {found}, it has to be {wanted}")
