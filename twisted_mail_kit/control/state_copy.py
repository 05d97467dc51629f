"""The state folder beside the store: its small files and the queue, copied into a backup and put back."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from twisted_mail_kit.control.place import SOCKET
from twisted_mail_kit.errors import ConfigurationError, OverQuota, Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.queue.sqlite import schema as queue_schema
from twisted_mail_kit.queue.sqlite.backup import backup as backup_queue
from twisted_mail_kit.queue.sqlite.fsck import check as check_queue
from twisted_mail_kit.stores.sqlite import schema as store_schema
from twisted_mail_kit.stores.sqlite.backup import see_that_they_are_two
from twisted_mail_kit.stores.sqlite.files import PART, Files, copy_file, copy_into_place, is_full

STORE, QUEUE, FILES = "store", "queue", "files"
"""The folders of a backup: as in the state folder, and what lies beside them there."""
LARGEST = 64 << 20
"""Octets of a file that is taken along; passwords, keys and policies are far smaller."""
ELSEWHERE = {STORE, QUEUE, "spool", "search", SOCKET}
"""What is copied in another way, is made anew from mail, or means nothing without its process."""


def make_place(state: Path, directory: Path) -> None:
    """Make the folder of a backup, for us alone, where it is missing.

    Raises ConfigurationError where `directory` is no place for a backup of `state`, and Unavailable.
    """
    see_that_they_are_two(state, directory, "the state folder")
    if directory.is_dir():
        strangers = {one.name for one in directory.iterdir() if not one.name.startswith(".")} - {STORE, QUEUE, FILES}
        if strangers:
            raise ConfigurationError([f"{directory}: not a backup, {min(strangers)} is in it"])
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{directory}: cannot be made: {error.strerror}") from error


def copy_state(state: Path, directory: Path) -> Findings:
    """Copy queue and small files; waits for the disk. `problems`: what was left out. Raises Unavailable, OverQuota."""
    counts, files = {"queued messages": 0, "state files": 0}, Files()
    problems: list[str] = []
    if (state / QUEUE / queue_schema.DATABASE).exists():
        counts["queued messages"] = backup_queue(state / QUEUE, directory / QUEUE, files)
        problems += check_queue(directory / QUEUE, files).problems
    there = directory / FILES
    try:
        there.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = set()
        for name, mode, size in _small_files(state):
            if size > LARGEST:
                problems.append(f"{state / name}: was left out: it has {size} octets")
                continue
            counts["state files"] += 1
            kept.add(there / name)
            _copy_if_changed(state / name, there / name, mode, files)
        for path in there.rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()
        files.sync_directory(there)
        files.sync_directory(directory)
    except OSError as error:
        if is_full(error):
            raise OverQuota(f"{directory}: the disk is full") from error
        raise Unavailable(f"{error.filename or directory}: could not be copied: {error.strerror}") from error
    return Findings(counts, tuple(problems))


def put_back(source: Path, target: Path, without: str = "") -> int:
    """Copy a folder of a backup to where it was, without that folder in it; answers how many files. Raises OSError."""
    files, count = Files(), 0
    for folder, folders, names in os.walk(source):
        if Path(folder) == source:
            folders[:] = [name for name in folders if name != without]
        place = target / Path(folder).relative_to(source)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in sorted(names):
            if name.endswith(PART):
                continue
            copy_file(Path(folder) / name, place / name, files)
            shutil.copymode(Path(folder) / name, place / name)
            count += 1
        files.sync_directory(place)
    return count


def _small_files(state: Path) -> Iterator[tuple[Path, int, int]]:
    """(name below the state folder, mode, size). What a repair has put aside in the store's folder is among them."""
    places = [state, *(path for path in (state / STORE / store_schema.LOST,) if path.is_dir())]
    for place in places:
        for folder, folders, names in os.walk(place):
            if Path(folder) == state:
                folders[:] = [name for name in folders if name not in ELSEWHERE]
            for name in names:
                path = Path(folder) / name
                try:
                    found = path.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if path.name in ELSEWHERE or path.suffix in (".lock", ".pid", PART) or not stat.S_ISREG(found.st_mode):
                    continue
                yield path.relative_to(state), stat.S_IMODE(found.st_mode), found.st_size


def _copy_if_changed(source: Path, target: Path, mode: int, files: Files) -> None:
    if target.is_file() and target.stat().st_size <= LARGEST and target.read_bytes() == source.read_bytes():
        target.chmod(mode)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy_into_place(source, target, files, mode)
