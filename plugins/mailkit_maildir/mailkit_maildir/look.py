"""A look at what other programs have done to an account's files: folders, subscriptions, and which were touched."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from attrs import define, field

from mailkit_maildir import lists, names, uidlist
from mailkit_maildir.files import Files, signature, touched
from mailkit_maildir.folder import FolderLook, vanish
from mailkit_maildir.index import Index
from mailkit_maildir.uidlist import UidList, new_guid
from twisted_mail_kit.interfaces import Mailbox

SETTLED = 0.05
"""Seconds after which a directory's time tells every later change from an earlier one."""
SHARE = 5
"""To look at a folder that changes all the time takes one part in so many of the time."""


@define
class Seen:
    """What was seen: signatures of files, and times of directories."""

    root: int = -1
    folders: set[str] = field(factory=set)
    subscriptions: str = "?"
    listed: dict[str, tuple[int, int]] = field(factory=dict)
    """Folder -> when `new` and `cur` were touched, when they were listed."""
    due: dict[str, float] = field(factory=dict)
    """Folder -> when it is listed once more: it was touched just before it was listed, so more may have come since."""
    cost: dict[str, float] = field(factory=dict)
    """Folder -> seconds that it took to list it."""
    uidlists: dict[str, str] = field(factory=dict)
    keywords: dict[str, str] = field(factory=dict)
    pending: set[str] = field(factory=set)
    """Folders in which a message was there that could not be taken in yet, nor those after it."""

    @classmethod
    def kept(cls, index: Index) -> Seen:
        """As it was kept when the index was closed last."""
        seen = cls()
        for directory, text in index.all("SELECT dir, seen FROM box WHERE dir NOT NULL AND seen <> ''"):
            new, cur, seen.uidlists[directory], seen.keywords[directory] = json.loads(text)
            seen.listed[directory] = new, cur
        with index.transaction(durable=False):
            index.db.execute("UPDATE box SET seen = '' WHERE seen <> ''")
        return seen

    def keep(self, index: Index, root: Path) -> None:
        """For the next time."""
        with index.transaction(durable=False):
            for directory, times in self.listed.items():
                if directory not in self.due and directory not in self.pending:
                    said = [*times, self.uidlists.get(directory, "?"), self.keywords.get(directory, "?")]
                    index.db.execute("UPDATE box SET seen = ? WHERE dir = ?", [json.dumps(said), directory])


class Look:
    """One look. Where nothing was touched it is a few `stat` calls a folder; all that it finds is one modseq."""

    def __init__(
        self,
        name: str,
        root: Path,
        files: Files,
        index: Index,
        seen: Seen,
        now: float,
        timeout: float,
        held: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.root = root
        self.files = files
        self.index = index
        self.seen = seen
        self.now = int(now)
        self.timeout = timeout
        self.held = held
        """Folders whose list of UIDs is locked already."""
        self.modseq = 0

    def look(self) -> None:
        """Bring the index up to date."""
        root_touched = touched(self.root)
        if root_touched != self.seen.root or self._is_due("/"):
            folders = self._folders()
        else:
            folders = self.seen.folders
        subscriptions = signature(self.root / lists.SUBSCRIPTIONS)
        directories = self.index.directories()
        to_list = {one: times for one in folders if (times := self._touched(one)) is not None}
        if folders == directories.keys() and not to_list and subscriptions == self.seen.subscriptions:
            self._saw_root(root_touched, folders)
            return

        with self.index.transaction():
            state = self.index.state()
            if not state:
                # Found, not made: whoever knew an older index of it must not take this one for its future.
                state = int(time.time() * 1000)
                self.index.keep_about("forgotten", state)
            self.modseq = state + 1
            self._compare_folders(folders, directories)
            if folders != directories.keys() or subscriptions != self.seen.subscriptions:
                self._compare_subscriptions()
            looks = [
                self._list(directory, box_id)
                for directory, box_id in self.index.directories().items()
                if directory in to_list
            ]
            for one in looks:
                one.take_in()
            for one in looks:
                one.take_out()
        for one in looks:
            self._saw(one, to_list[one.directory])
        for gone in self.seen.listed.keys() - folders:
            del self.seen.listed[gone]
        self.seen.subscriptions = subscriptions
        self._saw_root(root_touched, folders)

    # --- what was touched --------------------------------------------------------------------------------------------

    def _is_due(self, directory: str) -> bool:
        return self.seen.due.get(directory, float("inf")) <= time.monotonic()

    def _touched(self, directory: str) -> tuple[int, int, str, str] | None:
        folder = self.root / directory
        new, cur = touched(folder / "new"), touched(folder / "cur")
        uids, keywords = signature(folder / uidlist.NAME), signature(folder / lists.KEYWORDS)
        is_new = (new, cur) != self.seen.listed.get(directory)
        if is_new and directory in self.seen.due and not self._is_due(directory):
            # Touched again, just after it was listed: wait, where to list it takes long.
            is_new = self.seen.cost.get(directory, 0) < SETTLED / SHARE
        is_new = is_new or self._is_settled_now(directory)
        is_other = uids != self.seen.uidlists.get(directory) or keywords != self.seen.keywords.get(directory)
        if not (is_new or is_other or self._is_due(directory)):
            return None
        return new, cur, uids, keywords

    def _is_settled_now(self, directory: str) -> bool:
        """With its lock held nobody is about to put anything there."""
        return directory in self.held and directory in self.seen.pending

    def _saw(self, one: FolderLook, times: tuple[int, int, str, str]) -> None:
        directory = one.directory
        new, cur, uids, keywords = times
        self.seen.listed[directory] = new, cur
        self.seen.cost[directory] = one.seconds
        self.seen.uidlists[directory] = one.written or uids
        self.seen.keywords[directory] = keywords
        (self.seen.pending.add if one.is_pending else self.seen.pending.discard)(directory)
        self._settle(directory, max(new, cur), one.seconds, one.is_whole)

    def _settle(self, directory: str, last: int, cost: float = 0.0, is_whole: bool = True) -> None:
        wait = max(SETTLED, cost * SHARE)
        if not is_whole or last / 1e9 > time.time() - wait:
            self.seen.due[directory] = time.monotonic() + wait
        else:
            self.seen.due.pop(directory, None)

    def _saw_root(self, root_touched: int, folders: set[str]) -> None:
        if root_touched != self.seen.root or self._is_due("/"):
            self._settle("/", root_touched)
        self.seen.root, self.seen.folders = root_touched, folders

    # --- folders -----------------------------------------------------------------------------------------------------

    def _folders(self) -> set[str]:
        found = {names.INBOX}
        for path in self.root.iterdir():
            if path.name.startswith(".") and not path.name.startswith("..") and (path / "cur").is_dir():
                found.add(path.name)
        return found

    def _compare_folders(self, folders: set[str], directories: dict[str, str]) -> None:
        gone = {directory: box_id for directory, box_id in directories.items() if directory not in folders}
        by_guid = {self._guid(box_id): (directory, box_id) for directory, box_id in gone.items()}
        for directory in sorted(folders - directories.keys()):
            said = uidlist.read(self.root / directory)
            renamed = by_guid.pop(said.guid, None) if said.guid else None
            if renamed is None:
                adopt(self, directory, said)
                continue
            del gone[renamed[0]]
            box = self.index.box(renamed[1])
            assert box is not None
            self.index.keep_box(box._replace(name=self._new_name(directory), modseq=self.modseq), dir=directory)
        for box_id in gone.values():
            vanish(self.index, box_id, self.modseq)

    def _guid(self, box_id: str) -> str:
        return str(self.index.one("SELECT guid FROM box WHERE id = ?", box_id)[0])

    def _new_name(self, directory: str) -> tuple[str, ...]:
        try:
            said = json.loads((self.root / directory / names.NAME_FILE).read_bytes())
            name = tuple(str(part) for part in said)
        except (OSError, ValueError, TypeError):
            name = names.name_of(directory)
        taken = {box.name for box in self.index.boxes()}
        return name if name not in taken else (*name[:-1], f"{name[-1]} ({directory})")

    def _compare_subscriptions(self) -> None:
        subscribed = lists.read_subscriptions(self.root)
        for directory, box_id in self.index.directories().items():
            box = self.index.box(box_id)
            assert box is not None
            is_in = lists.subscription(directory) in subscribed
            if box.subscribed != is_in:
                self.index.keep_box(box._replace(subscribed=is_in, modseq=self.modseq))

    # --- one folder --------------------------------------------------------------------------------------------------

    def _list(self, directory: str, box_id: str) -> FolderLook:
        said: UidList | None = None
        path = self.root / directory / uidlist.NAME
        if signature(path) != self.seen.uidlists.get(directory) or directory in self.seen.pending:
            said = uidlist.read(self.root / directory)
            box = self.index.box(box_id)
            assert box is not None
            if said.uidvalidity and said.uidvalidity != box.uidvalidity:
                # Another program began anew: for clients this is another mailbox of the same name.
                vanish(self.index, box_id, self.modseq)
                box_id = adopt(self, directory, said)
        return FolderLook(self, directory, box_id, said)


def adopt(look: Look, directory: str, said: UidList) -> str:
    """A folder that was not known becomes a mailbox; gives its id."""
    index = look.index
    name = look._new_name(directory)
    role = "inbox" if directory == names.INBOX else names.role_of(name)
    boxes = index.boxes()
    if role in {box.role for box in boxes}:
        role = None
    above = max([lists.last_uidvalidity(look.root), *(box.uidvalidity for box in boxes)])
    uidvalidity = said.uidvalidity or max(above + 1, look.now)
    guid = said.guid or new_guid()
    box_id = f"M{guid}"
    if len(box_id) > 64 or not box_id.isalnum() or index.box(box_id) is not None:
        box_id = f"M{new_guid()}"
    is_in = lists.subscription(directory) in lists.read_subscriptions(look.root)
    box = Mailbox(box_id, name, role, uidvalidity, 1, look.modseq, 0, 0, 0, is_in)
    more: dict[str, Any] = {"dir": directory, "guid": guid}
    index.keep_box(box, **more)
    return box_id
