"""What other programs have done in one folder: delivered, flagged, removed."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.logger import Logger

from mailkit_maildir import codec, filename, lists, uidlist
from mailkit_maildir.dotlock import dotlock
from mailkit_maildir.filename import FLAGS, FileName
from mailkit_maildir.files import signature, touched
from mailkit_maildir.index import Index
from mailkit_maildir.lines import size_with_crlf
from mailkit_maildir.uidlist import UidList
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import Mailbox, Message, Removal

if TYPE_CHECKING:
    from mailkit_maildir.look import Look

log = Logger()

TRIES = 10
PATIENCE = 0.5
"""Seconds that one who only looks waits for a lock: new mail can wait, and the rest can be told."""


class FolderLook:
    """One folder, within one look."""

    def __init__(self, look: Look, directory: str, box_id: str, said: UidList | None) -> None:
        self.look = look
        self.index = look.index
        self.modseq = look.modseq
        self.directory = directory
        self.folder = look.root / directory
        box = look.index.box(box_id)
        assert box is not None
        self.box: Mailbox = box
        self.said = said
        """The list of UIDs, where it is not as it was."""
        self.is_locked = directory in look.held
        """The list of UIDs, so that nobody else writes it."""
        self.written = ""
        """The list's signature, after we have written it."""
        self.is_pending = False
        """A message was there and could not be taken in, so those after it were not either."""
        self.is_sure = True
        """What was not seen is gone."""
        self.is_whole = True
        """Nothing has to be looked for again."""
        self.seconds = 0.0
        self.is_changed = False
        """`box` is other than in the index."""
        self.gone: list[int] = []
        """UIDs of messages that are no longer there."""

    def take_in(self) -> None:
        """What has come, and what has other flags."""
        began = time.perf_counter()
        if not self._compare():
            self._compare_locked()
        if self.is_changed:
            self.index.keep_box(self.box)
        self.seconds = time.perf_counter() - began

    def _compare_locked(self) -> None:
        """There is something to write into the list of UIDs. What was read before the lock may be old."""
        path = self.folder / uidlist.NAME
        try:
            with dotlock(path, self.look.files, min(self.look.timeout, PATIENCE)):
                self.is_locked = True
                self.said = uidlist.read(self.folder)
                self._compare()
                self.written = signature(path)
        except Unavailable as error:
            log.warn("{folder}: new messages wait: {error}", folder=self.folder, error=error)
            self.is_whole = False

    def _compare(self) -> bool:
        """False: the list has to be locked for it, and nothing new was taken in."""
        listed = self._listed()
        query = (
            "SELECT place || '/' || base || ifnull(':' || info, ''), uid FROM message WHERE box = ? AND blob NOT NULL"
        )
        known: dict[str, int] = dict(self.index.all(query, self.box.id))
        if known.keys() - listed:
            listed |= self._listed_again()
        keywords, is_other = self._keywords()
        gone = {_base(path): known[path] for path in known.keys() - listed}
        there = {_base(path): path for path in sorted(listed - known.keys(), reverse=True)}  # `cur` goes before `new`
        for base in gone.keys() & there.keys():
            self._compare_flags(gone.pop(base), filename.parse(*there.pop(base).split("/", 1)), keywords)
        if is_other:
            for path in known.keys() & listed:
                self._compare_flags(known[path], filename.parse(*path.split("/", 1)), keywords)
        lost: dict[str, int] = {}
        if self.said is not None:
            for path in known.keys() & listed:
                base, uid = _base(path), self.said.uids.get(_base(path))
                if uid is None:
                    lost[base] = known[path]
                elif uid != known[path]:  # another program has given it another UID
                    gone[base] = known[path]
                    there[base] = path
        if there:
            # A file that is in both places, as a crash of another program may leave it, is one message.
            numbered = {_base(path) for path in known.keys() & listed} - gone.keys()
            there = {base: path for base, path in there.items() if base not in numbered}
        if self.is_sure:
            self.gone = list(gone.values())
        new = {base: filename.parse(*path.split("/", 1)) for base, path in there.items()}
        return self._number(new, lost, keywords)

    def take_out(self) -> None:
        """What has gone. After all folders have taken in: a message that was moved is known by its name."""
        for uid in self.gone:
            row = self.index.one(
                "SELECT email, blob, flags, size FROM message WHERE box = ? AND uid = ?", self.box.id, uid
            )
            email_id, blob_id, flags, size = row
            if blob_id is None:
                continue
            self.index.keep_removal(Removal(self.box.id, uid, email_id, self.modseq), self.look.now)
            if not self.index.is_used(blob_id):
                self.index.db.execute("UPDATE blob SET idle = ? WHERE id = ?", [self.look.now, blob_id])
            self._count(codec.flags_of(flags), size, -1)
        if self.gone and self.is_changed:
            self.index.keep_box(self.box)

    # --- files -------------------------------------------------------------------------------------------------------

    def _listed(self) -> set[str]:
        """``new/…`` and ``cur/…``, in this order: nothing that moves on from `new` is missed."""
        found: set[str] = set()
        for place in ("new", "cur"):
            try:
                names = os.listdir(self.folder / place)  # noqa: PTH208 (half the time)
            except FileNotFoundError:
                self.is_whole = False
            else:
                found.update(f"{place}/{name}" for name in names if not name.startswith("."))
        return found

    def _listed_again(self) -> set[str]:
        """Something is missing. A file that gets another name while its directory is read may be read under neither:
        so what is missing is gone only where nothing was touched in the meantime."""
        found: set[str] = set()
        for _ in range(TRIES):
            before = self._touched()
            found |= self._listed()
            if self._touched() == before:
                return found
        self.is_sure = self.is_whole = False
        return found

    def _touched(self) -> tuple[int, int]:
        return touched(self.folder / "new"), touched(self.folder / "cur")

    def _keywords(self) -> tuple[dict[str, str], bool]:
        """Letter -> keyword, and whether the file says other than before."""
        known, there = self.index.keywords(self.box.id), lists.read_keywords(self.folder)
        whole = {**known, **there}
        if whole == known:
            return known, False
        self.index.db.execute("UPDATE box SET keywords = ? WHERE id = ?", [json.dumps(whole), self.box.id])
        return whole, True

    def _compare_flags(self, uid: int, file: FileName, keywords: dict[str, str]) -> None:
        """The file of a known message has this name now."""
        text, size = self.index.one("SELECT flags, size FROM message WHERE box = ? AND uid = ?", self.box.id, uid)
        old = codec.flags_of(text)
        # Keywords without a letter are known to us alone: no file name can take them away.
        said = {*FLAGS, *keywords.values()}
        new = file.flags(keywords) | {flag for flag in old if flag not in said}
        if new == old:
            self.index.db.execute(
                "UPDATE message SET place = ?, info = ? WHERE box = ? AND uid = ?",
                [file.place, file.info, self.box.id, uid],
            )
            return
        self.index.db.execute(
            "UPDATE message SET place = ?, info = ?, flags = ?, modseq = ? WHERE box = ? AND uid = ?",
            [file.place, file.info, codec.flag_text(new), self.modseq, self.box.id, uid],
        )
        self._count(old, size, -1)
        self._count(new, size, +1)

    def _count(self, flags: frozenset[str], size: int, sign: int) -> None:
        box, self.is_changed = self.box, True
        self.box = box._replace(
            modseq=self.modseq,
            total=box.total + sign,
            unseen=box.unseen + (0 if "\\Seen" in flags else sign),
            size=box.size + sign * size,
        )

    # --- new messages ------------------------------------------------------------------------------------------------

    def _number(self, new: dict[str, FileName], lost: dict[str, int], keywords: dict[str, str]) -> bool:
        """Give UIDs to what is new, as the list has them; where it has none, write them into it. False: no lock."""
        if new and self.said is None:
            # Dovecot puts files in their place before it writes their UIDs: so what was listed is older than the list.
            self.said = uidlist.read(self.folder)
        said = self.said
        if said is None:
            return True
        if lost or not said.guid or not said.uidvalidity or any(self._is_free(said, base) for base in new):
            if not self.is_locked:
                return False
            self._write_uids(said, list(new), lost)
        uidnext = said.uidnext
        for base in sorted(new, key=lambda base: said.uids[base]):
            if not self._add(said.uids[base], new[base], keywords, said.sizes.get(base)):
                # Nothing above it is told yet: for clients a UID that was passed never comes.
                uidnext = said.uids[base]
                self.is_whole, self.is_pending = False, True
                break
        if uidnext > self.box.uidnext:
            self.box, self.is_changed = self.box._replace(uidnext=uidnext, modseq=self.modseq), True
        return True

    def _write_uids(self, said: UidList, new: list[str], lost: dict[str, int]) -> None:
        """UIDs for what has none; the list is locked."""
        said.uidnext = max(said.uidnext, self.box.uidnext)
        for base in sorted(new, key=filename.by_time):
            if self._is_free(said, base):
                said.uids[base] = said.uidnext
                said.uidnext += 1
        given = {**lost, **{base: said.uids[base] for base in new}}
        head = UidList(self.box.uidvalidity, self.box.uidnext, self._guid())
        uidlist.add(self.folder, given, head, self.look.files)

    def _is_free(self, said: UidList, base: str) -> bool:
        """Whether it needs a UID: it has none, or one that was told of before."""
        return said.uids.get(base, 0) < self.box.uidnext

    def _guid(self) -> str:
        return str(self.index.one("SELECT guid FROM box WHERE id = ?", self.box.id)[0])

    def _add(self, uid: int, file: FileName, keywords: dict[str, str], lines_size: int | None) -> bool:
        """Take in one message; False: it has another name by now, or is gone again."""
        path = self.folder / file.path
        try:
            there = path.stat()
            size = _mail_size(path, there.st_size, file.base, lines_size)
        except FileNotFoundError:
            return False
        same = self.index.one(
            "SELECT email, thread, blob, summary FROM message WHERE base = ? AND size = ? AND blob NOT NULL LIMIT 1",
            file.base,
            size,
        )
        if same is None:
            digest = hashlib.sha256(os.fsencode(file.base)).hexdigest()[:32]
            same = f"E{digest}", f"T{digest}", uuid.uuid4().hex, b""
            values = [same[2], size, int(size != there.st_size)]
            self.index.db.execute("INSERT INTO blob (id, size, lines) VALUES (?, ?, ?)", values)
        email_id, thread_id, blob_id, summary = same
        flags = file.flags(keywords)
        row = Message(
            mailbox_id=self.box.id,
            uid=uid,
            email_id=email_id,
            thread_id=thread_id,
            blob_id=blob_id,
            size=size,
            internal_date=int(there.st_mtime),
            saved_date=self.look.now,
            flags=flags,
            modseq=self.modseq,
            created=self.modseq,
            summary=summary,
        )
        self.index.keep_message(row, *file)
        self.box = self.box._replace(uidnext=max(self.box.uidnext, uid + 1))
        self._count(flags, size, +1)
        return True


def _base(path: str) -> str:
    return path[4:].partition(":")[0]  # after "new/" or "cur/"


def vanish(index: Index, box_id: str, modseq: int) -> None:
    """A folder is gone, and so are its mailbox and all messages in it."""
    box = index.box(box_id)
    assert box is not None
    index.db.execute("DELETE FROM message WHERE box = ?", [box_id])
    gone = box._replace(name=(), role=None, modseq=modseq, total=0, unseen=0, size=0)
    index.keep_box(gone, dir=None)


def _mail_size(path: Path, file_size: int, base: str, lines_size: int | None) -> int:
    """Octets with CR LF for every line end: as the name or the list says, else counted."""
    said, with_crlf = filename.sizes(base)
    if with_crlf is None:
        with_crlf = lines_size
    if with_crlf is None or with_crlf < file_size or (said is not None and said != file_size):
        return size_with_crlf(path)
    return with_crlf
