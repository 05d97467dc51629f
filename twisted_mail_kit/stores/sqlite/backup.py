"""Backup: a copy of the store as it is at one moment, made while mail goes in and out."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from attrs import define, field

from twisted_mail_kit.errors import ConfigurationError, OverQuota, Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite import schema
from twisted_mail_kit.stores.sqlite.files import PART, PIECE, Files, OpenFile, is_full, read_all, read_around, write_all
from twisted_mail_kit.stores.sqlite.hold import hold
from twisted_mail_kit.stores.sqlite.hurt import tell_hurt
from twisted_mail_kit.stores.sqlite.keeping import snapshot
from twisted_mail_kit.stores.sqlite.records import check_record_in, record_path
from twisted_mail_kit.stores.sqlite.segments import LARGE, Damaged, Location, large_path, segment_path

# A backup is laid out as a store is. What makes it cheap and safe: octets that the index names never change. So a
# segment that has grown is only continued in the copy, which does not touch what the earlier backup names, and all
# other files are copied once, under another name until they are whole and synced. The new index takes the place of the
# earlier one when all that it names is there; only then the files go that it does not name.

MARK = "backup-of"
"""The file that says which store a directory is a backup of."""
NEW_INDEX = f"{schema.INDEX}{PART}"
TAIL = 4096
"""Octets by which it is seen that a segment in the backup is the store's."""
KNOWN_HURT = ".damaged"
"""The file that has the numbers of blobs that were damaged when they were copied."""
TOLD = 1000
"""Messages that are told one by one."""
IN_SEGMENT = (
    "WHERE blob BETWEEN (SELECT low FROM segments WHERE id = ?) AND (SELECT high FROM segments WHERE id = ?)"
    ' AND segment = ? AND "offset" > ? ORDER BY "offset"'
)
IN_FILE = "WHERE blob = ?"
PAGES = 256
"""Pages of the index that are copied at once."""


@define
class _Copied:
    counts: dict[str, int] = field(
        factory=lambda: {"accounts": 0, "segments": 0, "large files": 0, "files copied": 0, "octets copied": 0}
    )

    def file(self, octets: int) -> None:
        self.counts["files copied"] += 1
        self.counts["octets copied"] += octets


def backup(
    root: Path, directory: Path, files: Files | None = None, is_wanted: Callable[[], bool] = lambda: True
) -> Findings:
    """As IMaintenance.backup, of the store in `root`; waits for the disk.

    Raises Unavailable, OverQuota, ConfigurationError; what was in `directory` can be restored as before then.
    """
    files = files or Files()
    see_that_they_are_two(root, directory, "the store")
    held: OpenFile | None = None
    try:
        held = hold(root, files)
        return Backup(root, directory, files, is_wanted).run()
    except sqlite3.Error as error:
        if is_full(error):
            raise OverQuota(f"{directory}: the disk is full: the earlier backup is as it was") from error
        raise schema.trouble(root / schema.INDEX, error) from error
    except OSError as error:
        if is_full(error):
            raise OverQuota(f"{directory}: the disk is full: the earlier backup is as it was") from error
        raise Unavailable(f"{error.filename or directory}: no backup was made: {error.strerror}") from error
    finally:
        if held is not None:
            files.unlock(held.fd)  # a traceback may live longer than we do


def identity(connection: sqlite3.Connection) -> str:
    """Which store this is: another one after it was restored, as it goes another way from there."""
    kept = dict(connection.execute("SELECT key, value FROM store WHERE key IN ('identity', 'secret')"))
    octets: bytes = kept.get("identity") or kept["secret"]
    return octets.hex()


class Backup:
    """One backup, in one thread, while files are held."""

    def __init__(self, root: Path, directory: Path, files: Files, is_wanted: Callable[[], bool]) -> None:
        self._root = root
        self._directory = directory
        self._files = files
        self._is_wanted = is_wanted
        self._copied = _Copied()
        self._hurt: dict[int, str] = {}
        """Blob number -> what is wrong with its octets."""
        try:
            self._known_hurt = {int(word, 16) for word in (directory / KNOWN_HURT).read_text().split()}
        except (OSError, ValueError):
            self._known_hurt = set()

    def run(self) -> Findings:
        """All of it. Raises OSError, sqlite3.Error, Unavailable, ConfigurationError."""
        began = time.monotonic()
        with closing(schema.open_reader(self._root / schema.INDEX, 5.0)) as source:
            if not schema.see_that_it_is_ours(source, self._root / schema.INDEX):
                raise Unavailable(f"{self._root}: there is no mail store here yet")
            with self._prepared(identity(source)):
                trusted = self._trusted_ends()
                self._copy_index(source)
                problems = self._look_at_index()
                self._copy_octets(trusted)
                problems += self._tell_hurt()
                self._put_in_place()
        self._copied.counts["milliseconds"] = int((time.monotonic() - began) * 1000)
        return Findings(dict(self._copied.counts), tuple(problems))

    # --- the directory -----------------------------------------------------------------------------------------------

    @contextmanager
    def _prepared(self, whose: str) -> Iterator[None]:
        """The directory is ours, and nobody else makes a backup in it meanwhile."""
        directory, files = self._directory, self._files
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.sync_directory(directory.parent)
        lock = OpenFile(files, files.open(directory))
        if not files.lock(lock.fd):
            raise Unavailable(f"{directory}: another backup is being made here")
        try:
            self._mark(whose)
            yield
        finally:
            for left in (NEW_INDEX, f"{NEW_INDEX}-journal", f"{NEW_INDEX}-wal", f"{NEW_INDEX}-shm"):
                with suppress(OSError):
                    (directory / left).unlink(missing_ok=True)
            files.unlock(lock.fd)

    def _mark(self, whose: str) -> None:
        directory, mark = self._directory, self._directory / MARK
        there = {name for name in os.listdir(directory) if not name.startswith(".")}  # noqa: PTH208
        if mark.is_file():
            if mark.read_text(errors="replace").strip() != whose:
                raise ConfigurationError(
                    [f"{directory}: a backup of another store, or of this one before it was restored: take another"]
                )
        elif there - {MARK + PART}:
            raise ConfigurationError([f"{directory}: not a backup of a mail store, {min(there)} is in it"])
        else:
            directory.chmod(0o700)
            part = directory / (MARK + PART)
            part.unlink(missing_ok=True)
            file = OpenFile(self._files, self._files.create(part))
            write_all(self._files, file.fd, whose.encode() + b"\n", 0)
            self._files.sync(file.fd)
            part.replace(mark)
            self._files.sync_directory(directory)

    def _trusted_ends(self) -> dict[int, int]:
        """Segment -> octets of it that are durable in the copy, as the earlier backup's index says."""
        index = self._directory / schema.INDEX
        if not index.exists():
            return {}
        with closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro", uri=True)) as earlier:
            schema.see_that_it_is_ours(earlier, index)
            return dict(earlier.execute('SELECT id, "end" FROM segments').fetchall())

    # --- the index ---------------------------------------------------------------------------------------------------

    def _copy_index(self, source: sqlite3.Connection) -> None:
        """From one snapshot, which is let go of at once: the log cannot be emptied while it lasts."""
        new = self._directory / NEW_INDEX
        snapshot(source, new, self._files, "SELECT count(*) FROM segments", PAGES, self._rest)
        with closing(sqlite3.connect(new)) as target:
            (self._copied.counts["accounts"],) = target.execute("SELECT count(*) FROM accounts").fetchone()
        self._sync(new)
        self._copied.file(new.stat().st_size)

    def _look_at_index(self) -> list[str]:
        """A damaged one never takes the place of a sound one. Raises Unavailable."""
        with closing(sqlite3.connect(self._directory / NEW_INDEX)) as connection:
            try:
                found = [" ".join(line.split()) for (line,) in connection.execute("PRAGMA quick_check(1)").fetchall()]
            except sqlite3.DatabaseError as error:
                found = [str(error)]
        if found == ["ok"]:
            return []
        index = self._root / schema.INDEX
        if (self._directory / schema.INDEX).exists():
            raise Unavailable(f"{index}: is damaged: {found[0]}: the earlier backup is as it was: run mailkit fsck")
        return [f"{index}: is damaged, and so is its copy: {found[0]}: run mailkit fsck"]

    def _put_in_place(self) -> None:
        directory, files = self._directory, self._files
        with closing(sqlite3.connect(directory / NEW_INDEX)) as connection:
            segments = {segment_path(directory, number) for (number,) in connection.execute("SELECT id FROM segments")}
            large = {large_path(directory, number) for number in _large(connection)}
        (directory / NEW_INDEX).replace(directory / schema.INDEX)
        files.sync_directory(directory)
        # The earlier backup is none any more. What it alone has may go.
        for kept, pattern in ((segments, "segments/*"), (large, "large/*/*")):
            for path in directory.glob(pattern):
                if path not in kept:
                    files.remove(path)

    # --- the octets --------------------------------------------------------------------------------------------------

    def _copy_octets(self, trusted: dict[int, int]) -> None:
        directory, files = self._directory, self._files
        with closing(sqlite3.connect(directory / NEW_INDEX)) as connection:
            for number, end in connection.execute('SELECT id, "end" FROM segments ORDER BY id').fetchall():
                start = self._copy_segment(number, end, trusted.get(number, 0))
                self._copied.counts["segments"] += 1
                if start < end:
                    self._verify(connection, IN_SEGMENT, (number, number, number, start))
            for number in _large(connection):
                path = large_path(directory, number)
                if number in self._known_hurt:
                    files.remove(path)  # it may be whole by now
                if not path.exists():
                    files.make_directory(path.parent.parent)
                    files.make_directory(path.parent)
                    self._copy_whole(large_path(self._root, number), path, None)
                    self._verify(connection, IN_FILE, (number,))
                self._copied.counts["large files"] += 1
        # Also names that a backup which was never finished has left.
        for folder in (directory / "segments", *directory.glob("large/*")):
            if folder.is_dir():
                files.sync_directory(folder)

    def _verify(self, connection: sqlite3.Connection, sql: str, values: tuple[int, ...]) -> None:
        """Hold what has just been copied against its checksums: it is in memory still."""
        opened: tuple[Path, OpenFile] | None = None
        for row in connection.execute(f'SELECT DISTINCT blob, segment, "offset", size FROM blobs {sql}', values):
            location = Location(*row)
            path = record_path(self._directory, location)
            try:
                if opened is None or opened[0] != path:
                    opened = path, OpenFile(self._files, self._files.open(path))
                check_record_in(self._files, opened[1], location, self._rest)
            except (OSError, Damaged) as error:
                why = error.strerror if isinstance(error, OSError) else error
                self._hurt[location.number] = f"{record_path(self._root, location)}: {why}"

    def _tell_hurt(self) -> list[str]:
        """Whose messages are damaged in the backup; those of earlier times too, as long as they are in it."""
        directory, known = self._directory, self._directory / KNOWN_HURT
        with closing(sqlite3.connect(directory / NEW_INDEX)) as connection:
            for number in self._known_hurt:
                self._verify(connection, IN_FILE, (number,))
            if self._hurt:
                known.write_text("".join(f"{number:x}\n" for number in sorted(self._hurt)))
            else:
                known.unlink(missing_ok=True)
            try:
                told = tell_hurt(connection, self._hurt)
            except (sqlite3.Error, ValueError, TypeError) as error:
                told = [f"{self._root / schema.INDEX}: {error}: run mailkit fsck"]
        if self._hurt:
            self._copied.counts["messages damaged"] = len(told)
            advice = f"{self._root}: run mailkit fsck: all else is in the backup"
            return [*told[:TOLD], *([f"and {len(told) - TOLD} more"] if len(told) > TOLD else []), advice]
        return []

    def _copy_segment(self, number: int, end: int, trusted: int) -> int:
        """The first `end` octets; those after it are not this backup's. Answers from where on they are new."""
        source, target = segment_path(self._root, number), segment_path(self._directory, number)
        if not end:
            return end  # nothing was ever committed in it
        there = target.stat().st_size if target.exists() else -1
        if there >= 0:
            self._see_that_it_is_the_same(source, target, min(end, trusted or there))
        if there >= end and (trusted >= end or (not trusted and there == end)):
            # The earlier index says that it is whole and synced; or its name does, where no index knows it yet.
            return end if trusted >= end else 0
        if not 0 < trusted <= there:
            self._files.make_directory(target.parent)
            self._copy_whole(source, target, end)
            return 0
        fd = self._files.reopen(target)
        copy = OpenFile(self._files, fd)
        octets = self._copy(source, copy, trusted, end)
        self._files.sync(fd)
        self._copied.file(octets)
        return trusted

    def _see_that_it_is_the_same(self, source: Path, target: Path, end: int) -> None:
        """A store that a disk's snapshot has set back may have gone another way since, under the same numbers."""
        tails = []
        for path in (source, target):
            try:
                file = OpenFile(self._files, self._files.open(path))
                tails.append(read_all(self._files, file.fd, min(TAIL, end), end - min(TAIL, end)))
            except OSError:
                return  # its messages are told when they are looked at
        if tails[0] != tails[1] and len(tails[0]) == len(tails[1]):
            raise ConfigurationError(
                [f"{target}: has other octets than {source}: the store was set back, or is damaged: run mailkit fsck"]
            )

    def _copy_whole(self, source: Path, target: Path, end: int | None) -> None:
        """Under another name, until it is whole and synced. What is missing is told when its messages are looked at."""
        if not source.is_file():
            return
        part = target.with_name(target.name + PART)
        part.unlink(missing_ok=True)
        try:
            copy = OpenFile(self._files, self._files.create(part))
            octets = self._copy(source, copy, 0, end)
            self._files.sync(copy.fd)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)  # on a full disk the next attempt needs the room
            raise
        part.replace(target)
        self._copied.file(octets)

    def _copy(self, source: Path, copy: OpenFile, start: int, end: int | None) -> int:
        """Octets from `start` to `end`, or all there are; answers how many. Raises OSError, Unavailable."""
        original = OpenFile(self._files, self._files.open(source))
        at, end = start, self._files.size(original.fd) if end is None else end
        while at < end:
            self._rest()
            piece = read_around(self._files, original.fd, min(PIECE, end - at), at)
            if not piece:
                break  # it is cut short
            write_all(self._files, copy.fd, piece, at)
            at += len(piece)
        return at - start

    # --- small things ------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        time.sleep(0)  # sessions are served between two pieces
        if not self._is_wanted():
            raise Unavailable("the backup was given up: the store is closed; the earlier backup is as it was")

    def _sync(self, path: Path) -> None:
        file = OpenFile(self._files, self._files.open(path))
        self._files.sync(file.fd)


def _large(connection: sqlite3.Connection) -> list[int]:
    found = connection.execute("SELECT DISTINCT blob FROM blobs WHERE segment = ? ORDER BY blob", (LARGE,))
    return [number for (number,) in found]


def see_that_they_are_two(root: Path, directory: Path, what: str) -> None:
    """A backup inside of what it is of would be copied into itself. Raises ConfigurationError."""
    here, there = root.resolve(), directory.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ConfigurationError([f"{directory}: a backup has to be outside of {what}"])
