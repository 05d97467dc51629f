"""Does to the files what was decided in the index; done again after a crash, the end is the same.

A file is never taken away before the name that it goes on under is durable. So links come as they were planned, and
what takes away waits: for the end, or for the next deed that moves or removes a folder.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from mailkit_maildir import lists, names, uidlist
from mailkit_maildir.dotlock import dotlock
from mailkit_maildir.filename import FileName, parse
from mailkit_maildir.files import Files, copy, sync, sync_directory
from mailkit_maildir.layout import OWN

NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM)


def find(folder: Path, file: FileName) -> Path | None:
    """The file as it was called, or as another program calls it by now; None: it is gone."""
    path = folder / file.path
    if path.exists():
        return path
    for place in ("cur", "new"):
        try:
            with os.scandir(folder / place) as entries:
                for entry in entries:
                    if parse(place, entry.name).base == file.base:
                        return Path(entry.path)
        except FileNotFoundError:
            continue
    return None


class Doing:
    """One list of deeds."""

    log = Logger()

    def __init__(
        self,
        root: Path,
        pen: Path,
        files: Files,
        timeout: float,
        held: frozenset[str] = frozenset(),
        again: bool = False,
    ) -> None:
        self.root = root
        self.pen = pen
        self.files = files
        self.timeout = timeout
        self.held = held
        """Folders whose list of UIDs is locked already."""
        self.again = again
        """They may have been done before, some of them, or all."""
        self.dirty: set[Path] = set()
        self.late: list[Path] = []
        """Files that go when everything else is durable."""
        self.subscribed: dict[str, bool] = {}
        self.bases: dict[Path, set[str]] = {}
        self.rest: list[list[Any]] = []
        """Deeds that come after this one."""

    def all(self, deeds: list[list[Any]]) -> None:
        """Do them, and return when that is durable."""
        does: dict[str, Callable[..., None]] = {
            "make": self.make,
            "move": self.move,
            "gone": self.gone,
            "subscribe": self.subscribe,
            "keywords": self.keywords,
            "uids": self.uids,
            "link": self.link,
            "copy": self.copy,
            "flag": self.flag,
            "drop": self.drop,
        }
        for number, (what, *args) in enumerate(deeds):
            self.rest = deeds[number + 1 :]
            does[what](*args)
        self.settle()
        if self.subscribed:
            lists.write_subscriptions(self.root, self.subscribed, self.files, self.timeout)

    def settle(self) -> None:
        """All links are durable, and then what was to go is gone, durably too."""
        self.sync()
        for path in self.late:
            path.unlink(missing_ok=True)
            self.dirty.add(path.parent)
        self.late.clear()
        self.sync()

    def sync(self) -> None:
        for path in self.dirty:
            if path.is_dir():  # a folder may have been removed, or moved, since
                sync_directory(path)
        self.dirty.clear()

    def folder(self, directory: str) -> Path | None:
        """Where the folder is now: under its name, or, after a crash, under that which it is to have in the end."""
        path = self.root / directory
        if self.again and not (path / "cur").is_dir():
            for what, *args in self.rest:
                if what == "move" and args[0] == directory:
                    directory = args[1]
                elif what == "gone" and args[0] == directory:
                    return None
            path = self.root / directory
        return path if (path / "cur").is_dir() else None

    # --- folders -----------------------------------------------------------------------------------------------------

    def make(self, directory: str, uidvalidity: int, guid: str, name: list[str] | None) -> None:
        """A new folder."""
        moved = [args[1] for what, *args in self.rest if what == "move" and args[0] == directory]
        if self.again and moved and uidlist.read(self.root / moved[0]).guid == guid:
            return
        folder = self.root / directory
        for place in ("tmp", "new"):
            self.files.make_directory(folder / place)
        if directory != names.INBOX and not (folder / "maildirfolder").exists():
            os.close(self.files.create(folder / "maildirfolder"))
        if name is not None:
            self.files.replace(folder / names.NAME_FILE, json.dumps(name).encode(), folder / "tmp")
        if not uidlist.read(folder).uidvalidity:
            uidlist.write(folder, uidlist.UidList(uidvalidity, 1, guid), self.files)
        self.files.make_directory(folder / "cur")  # last: with it, it is a folder, and a directory is an account
        lists.keep_uidvalidity(self.root, uidvalidity)
        self.dirty |= {folder, self.root}

    def move(self, old: str, new: str, name: list[str] | None) -> None:
        """A folder gets another name."""
        self.settle()
        if (self.root / old).is_dir() and not (self.root / new).exists():
            if name is not None:
                octets = json.dumps(name).encode()
                self.files.replace(self.root / old / names.NAME_FILE, octets, self.root / old / "tmp")
            (self.root / old).rename(self.root / new)
            if name is None:
                (self.root / new / names.NAME_FILE).unlink(missing_ok=True)
        elif not self.again:
            self.log.warn("{old} is not there, or {new} is: not renamed", old=self.root / old, new=self.root / new)
        self.dirty.add(self.root)

    def gone(self, directory: str, guid: str) -> None:
        """A folder goes, with all that is in it; unless it is another one of the same name by now."""
        self.settle()
        folder = self.root / directory
        if folder.is_dir() and uidlist.read(folder).guid in ("", guid):
            away = self.root / OWN / f"gone-{guid}"
            shutil.rmtree(away, ignore_errors=True)
            folder.rename(away)
        shutil.rmtree(self.root / OWN / f"gone-{guid}", ignore_errors=True)
        self.dirty.add(self.root)

    def subscribe(self, name: str, is_in: bool) -> None:
        self.subscribed[name] = is_in

    def keywords(self, directory: str, keywords: dict[str, str]) -> None:
        """Letters for new keywords."""
        folder = self.folder(directory)
        if folder is not None:
            lists.write_keywords(folder, keywords, self.files, self.timeout)

    def uids(self, directory: str, uids: dict[str, int], uidvalidity: int, uidnext: int, guid: str) -> None:
        """UIDs of new messages."""
        folder = self.folder(directory)
        if folder is None:
            return
        if directory in self.held and not self.again and uids:
            uidlist.add_known(folder, uids)
            return
        locked = nullcontext() if directory in self.held else dotlock(folder / uidlist.NAME, self.files, self.timeout)
        with locked:
            uidlist.add(folder, uids, uidlist.UidList(uidvalidity, uidnext, guid), self.files)

    # --- messages ----------------------------------------------------------------------------------------------------

    def link(self, whence: list[Any], directory: str, place: str, base: str, info: str | None, date: int) -> None:
        """A message gets a file, which is the same as another one, or as one in the pen."""
        self.place(whence, directory, FileName(place, base, info), date, is_link=True)

    def copy(self, whence: list[Any], directory: str, place: str, base: str, info: str | None, date: int) -> None:
        """A message gets a file of its own, with another date than that of the octets that are there."""
        self.place(whence, directory, FileName(place, base, info), date, is_link=False)

    def place(self, whence: list[Any], directory: str, file: FileName, date: int, is_link: bool) -> None:
        folder = self.folder(directory)
        if folder is None or (self.again and self.is_there(folder, file.base)):
            return
        source, path = self.source(*whence), folder / file.path
        if source is None:
            if not self.again:
                self.log.warn("{path}: the octets are gone, another program was quicker", path=path)
            return
        try:
            if is_link:
                try:
                    path.hardlink_to(source)
                    os.utime(path, (date, date))
                except FileExistsError:
                    return
                except OSError as error:
                    if error.errno not in NO_LINK:
                        raise
                    is_link = False
            if not is_link:
                self.copy_file(source, folder / "tmp" / file.base, path, date)
        except FileNotFoundError:
            self.log.warn("{path}: the octets are gone, another program was quicker", path=path)
            return
        self.dirty.add(path.parent)

    def copy_file(self, source: Path, half: Path, path: Path, date: int) -> None:
        half.unlink(missing_ok=True)
        number = self.files.create(half)
        try:
            copy(source, number)
            os.utime(number, (date, date))
            sync(number)
        finally:
            os.close(number)
        half.rename(path)

    def source(self, blob_id: str, directory: str | None = None, *file: Any) -> Path | None:
        if directory is not None:
            folder = self.folder(directory)
            found = None if folder is None else find(folder, FileName(*file))
            if found is not None:
                return found
        pen = self.pen / blob_id
        return pen if pen.exists() else None

    def is_there(self, folder: Path, base: str) -> bool:
        """Whether a file of that base is in the folder, under any flags."""
        if folder not in self.bases:
            self.bases[folder] = {
                parse(place, name).base
                for place in ("new", "cur")
                for name in os.listdir(folder / place)  # noqa: PTH208
            }
        return base in self.bases[folder]

    def flag(self, directory: str, *both: Any) -> None:
        """A message's file gets another name in its folder."""
        folder, old, new = self.folder(directory), FileName(*both[:3]), FileName(*both[3:])
        if folder is None or (self.again and (folder / new.path).exists() and not (folder / old.path).exists()):
            return
        path = find(folder, old)
        if path is None:
            return  # another program has removed it: told as a removal at the next look
        found = parse(path.parent.name, path.name)
        if found.info != old.info:
            # Another program was quicker: what we take away goes, what we add comes, the rest stays as it has said.
            ours, theirs, were = set(new.letters), set(found.letters), set(old.letters)
            new = found.flagged((theirs - (were - ours)) | (ours - were), ours | theirs | were)
        there = folder / new.path
        path.rename(there)
        if path != there:
            path.unlink(missing_ok=True)  # to rename one hard link to another does nothing
        self.dirty |= {path.parent, there.parent}

    def drop(self, directory: str | None, place: str, base: str, info: str | None, blob_id: str | None) -> None:
        """A message's file goes; into the pen, where it is the last with its octets."""
        folder = None if directory is None else self.folder(directory)
        path = None if folder is None else find(folder, FileName(place, base, info))
        if path is None:
            return
        if blob_id is not None:
            try:
                (self.pen / blob_id).hardlink_to(path)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
                self.copy_file(path, self.pen / f"{blob_id}.half", self.pen / blob_id, 0)
            self.dirty.add(self.pen)
        self.late.append(path)
