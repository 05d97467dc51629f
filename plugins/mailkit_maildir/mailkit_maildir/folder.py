"""What other programs have done in one folder: delivered, flagged, removed."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Collection
from contextlib import nullcontext
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

FRESH = 2.0
"""Seconds after a list of UIDs was written in which the files of new ones may be yet to come."""
TRIES = 10


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
        self.written = ""
        """The list's signature, after we have written it."""
        self.is_pending = False
        """The list has UIDs without a file, which may be about to come."""
        self.is_sure = True
        """What was not seen is gone."""
        self.is_whole = True
        """Nothing has to be looked for again."""
        self.seconds = 0.0
        self.gone: list[tuple[int, str, str, str, int]] = []
        """UID, e-mail id, blob, flags and size of messages that are no longer there."""

    def take_in(self) -> None:
        """What has come, and what has other flags."""
        began = time.perf_counter()
        there = self._listed()
        self.seconds = time.perf_counter() - began
        query = "SELECT uid, base, place, info, email, blob, flags, size FROM message WHERE box = ? AND blob NOT NULL"
        rows = {row[1]: row for row in self.index.all(query, self.box.id)}
        if rows.keys() - there.keys():
            there |= self._listed_again()
        keywords, is_other = self._keywords()
        lost: dict[str, int] = {}
        new: list[str] = []
        for base, file in there.items():
            row = rows.get(base)
            if row is None:
                new.append(base)
                continue
            if self.said is not None:
                uid = self.said.uids.get(base)
                if uid is None:
                    lost[base] = row[0]
                elif uid != row[0]:
                    new.append(base)  # Dovecot has given it another UID
                    self.gone.append((row[0], row[4], row[5], row[6], row[7]))
                    continue
            if is_other or (row[2], row[3]) != (file.place, file.info):
                self._compare_flags(row, file, keywords)
        for base, row in rows.items():
            if base not in there and self.is_sure:
                self.gone.append((row[0], row[4], row[5], row[6], row[7]))
        self._number({base: there[base] for base in new}, lost, keywords, there)

    def take_out(self) -> None:
        """What has gone. After all folders have taken in: a message that was moved is known by its name."""
        for uid, email_id, blob_id, flags, size in self.gone:
            if self.index.one("SELECT blob FROM message WHERE box = ? AND uid = ?", self.box.id, uid)[0] is None:
                continue
            self.index.keep_removal(Removal(self.box.id, uid, email_id, self.modseq), self.look.now)
            if not self.index.is_used(blob_id):
                self.index.db.execute("UPDATE blob SET idle = ? WHERE id = ?", [self.look.now, blob_id])
            self._count(codec.flags_of(flags), size, -1)

    # --- files -------------------------------------------------------------------------------------------------------

    def _listed(self) -> dict[str, FileName]:
        found: dict[str, FileName] = {}
        for place in ("new", "cur"):
            try:
                for name in os.listdir(self.folder / place):
                    if not name.startswith("."):
                        file = filename.parse(place, name)
                        found[file.base] = file
            except FileNotFoundError:
                self.is_whole = False
        return found

    def _listed_again(self) -> dict[str, FileName]:
        """Something is missing. A file that gets another name while its directory is read may be read under neither:
        so what is missing is gone only where nothing was touched in the meantime."""
        found: dict[str, FileName] = {}
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

    def _compare_flags(self, row: tuple[int, str, str, str, str, str, str, int], file: FileName, keywords: dict[str, str]) -> None:
        old = codec.flags_of(row[6])
        # Keywords without a letter are known to us alone: no file name can take them away.
        said = {*FLAGS, *keywords.values()}
        new = file.flags(keywords) | {flag for flag in old if flag not in said}
        if new == old:
            self.index.db.execute(
                "UPDATE message SET place = ?, info = ? WHERE box = ? AND uid = ?",
                [file.place, file.info, self.box.id, row[0]],
            )
            return
        self.index.db.execute(
            "UPDATE message SET place = ?, info = ?, flags = ?, modseq = ? WHERE box = ? AND uid = ?",
            [file.place, file.info, codec.flag_text(new), self.modseq, self.box.id, row[0]],
        )
        self._count(old, row[7], -1)
        self._count(new, row[7], +1)

    def _count(self, flags: frozenset[str], size: int, sign: int) -> None:
        box = self.index.box(self.box.id)
        assert box is not None
        self.box = box._replace(
            modseq=self.modseq,
            total=box.total + sign,
            unseen=box.unseen + (0 if "\\Seen" in flags else sign),
            size=box.size + sign * size,
        )
        self.index.keep_box(self.box)

    # --- new messages ------------------------------------------------------------------------------------------------

    def _number(
        self, new: dict[str, FileName], lost: dict[str, int], keywords: dict[str, str], there: Collection[str]
    ) -> None:
        """Give UIDs to what is new, as the list has them; where it has none, write them into it."""
        if new and self.said is None:
            self.said = uidlist.read(self.folder)
        said = self.said
        if said is None:
            return
        if lost or not said.guid or not said.uidvalidity or any(self._is_free(said, base) for base in new):
            try:
                said = self._write_uids(list(new), lost)
            except Unavailable as error:
                log.warn("{folder}: new messages wait: {error}", folder=self.folder, error=error)
                self.is_whole = False
                new = {base: file for base, file in new.items() if not self._is_free(said, base)}
        uidnext = said.uidnext
        if self.directory not in self.look.held and self._is_fresh():
            # Another program has written UIDs for files that it is about to put here. Nothing above them is told yet:
            # for clients a UID that was passed never comes.
            to_come = [uid for base, uid in said.uids.items() if uid >= self.box.uidnext and base not in there]
            uidnext = min([uidnext, *to_come])
            self.is_pending = bool(to_come)
            self.is_whole = self.is_whole and not to_come
        for base in sorted(new, key=lambda base: said.uids[base]):
            uid = said.uids[base]
            if uid >= uidnext or not self._add(uid, new[base], keywords, said.sizes.get(base)):
                self.is_whole = False
                self.is_pending = True
                uidnext = min(uidnext, uid)
                break
        box = self.index.box(self.box.id)
        assert box is not None
        if uidnext > box.uidnext:
            self.box = box._replace(uidnext=uidnext, modseq=self.modseq)
            self.index.keep_box(self.box)

    def _write_uids(self, new: list[str], lost: dict[str, int]) -> UidList:
        """The list, with UIDs for what has none."""
        path = self.folder / uidlist.NAME
        is_held = self.directory in self.look.held
        with nullcontext() if is_held else dotlock(path, self.look.files, self.look.timeout):
            said = uidlist.read(self.folder)
            said.uidnext = max(said.uidnext, self.box.uidnext)
            for base in sorted(new, key=filename.by_time):
                if self._is_free(said, base):
                    said.uids[base] = said.uidnext
                    said.uidnext += 1
            given = {**lost, **{base: said.uids[base] for base in new}}
            head = UidList(self.box.uidvalidity, self.box.uidnext, self._guid())
            uidlist.add(self.folder, given, head, self.look.files)
            self.written = signature(path)
        return said

    def _is_fresh(self) -> bool:
        try:
            age = time.time() - (self.folder / uidlist.NAME).stat().st_mtime
        except FileNotFoundError:
            return False
        return abs(age) < FRESH

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
        self.box = self.index.box(self.box.id) or self.box
        self.box = self.box._replace(uidnext=max(self.box.uidnext, uid + 1))
        self.index.keep_box(self.box)
        self._count(flags, size, +1)
        return True


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
