"""SQLite's write-ahead log, read without SQLite: which commits of it SQLite would drop, and say nothing.

SQLite takes a log up to the first frame whose checksum is wrong, and forgets the rest. Where a power cut has torn the
last commit that is right: nobody was told that it is done. But every commit is synced before the next one is begun, so
a broken frame *before* a whole commit that others come after is damage: what follows was promised. To open such a
database is to lose it, as the next commit is written over it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from operator import mul
from pathlib import Path
from struct import Struct
from typing import NamedTuple

# https://www.sqlite.org/fileformat2.html#walformat
HEAD = Struct(">8I")
"""Magic, version, page size, checkpoint number, two salts, two checksums."""
FRAME = Struct(">6I")
"""Page number, pages of the database after a commit (else 0), two salts, two checksums."""
MAGIC = 0x377F0682
"""The lowest bit says in which order the octets of the checksummed words are: set, big first."""
MASK = 0xFFFFFFFF
PAUSE = 0.02
"""Seconds between two looks at a log that seems damaged: another process may just write to it."""

Sums = tuple[int, int]


class Frame(NamedTuple):
    """A page that was written."""

    page: int
    offset: int
    """Of the page's octets in the log."""
    is_whole: bool
    """It is what was written, as the frame before it or the one after it shows."""
    is_taken: bool
    """Its checksum fits that of the frame before it: what SQLite asks for."""
    is_commit: bool
    pages: int
    """Of the database, after a commit."""


class Log(NamedTuple):
    """What is in a log."""

    page_size: int
    frames: tuple[Frame, ...]
    """Those of today's log; what an earlier one has left behind them is not among them."""
    taken: int
    """Frames that SQLite would take."""
    head_is_whole: bool

    @property
    def dropped(self) -> int:
        """Commits that SQLite would drop, and that were promised to somebody."""
        late = [number for number, frame in enumerate(self.frames) if frame.is_commit and number >= self.taken]
        if self.head_is_whole and late in ([], [len(self.frames) - 1]):
            return 0  # the last commit may have been torn by a power cut: it was not synced yet
        return len(late)


def log_path(database: Path) -> Path:
    """Where a database has its log."""
    return database.with_name(f"{database.name}-wal")


def damage(database: Path, log: Log | None = None) -> str:
    """What is wrong with a database's log, in words that begin with the file's name; "": nothing. Changes nothing.

    Whoever has read the log already gives it. Waits for the disk. Raises OSError.
    """
    path = log_path(database)
    log = read_log(path) if log is None else log
    before: tuple[int, int] | None = None
    while log is not None and log.dropped:
        now = _seen(path)
        if now == before:
            break
        before = now
        time.sleep(PAUSE)
        log = read_log(path)
    if log is None or not log.dropped:
        return ""
    where = log.frames[log.taken].offset if log.taken < len(log.frames) and log.head_is_whole else 0
    return f"{path}: is damaged at octet {where}, and {log.dropped} commits behind that would be lost"


def _seen(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def read_log(path: Path) -> Log | None:
    """Look at every frame; None where there is no log, or nothing in it. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        magic, _, page_size, _, *kept = HEAD.unpack(head)
        salts, sums = (kept[0], kept[1]), (kept[2], kept[3])
        endings = ">" if magic & 1 else "<"
        is_whole = magic & ~1 == MAGIC and _add(head[:24], (0, 0), endings) == sums
        if not is_whole:
            file.seek(0)
            page_size, endings, salts, sums = _guess(file.read(2 * (HEAD.size + FRAME.size + SIZES[-1])), page_size)
            file.seek(HEAD.size)
        if not page_size:
            return None
        # Where only the checksum in the head is wrong, the first frame fits what it should be.
        should_be = _add(head[:24], (0, 0), endings)
        frames = _frames(file.read, page_size, endings, salts, (sums, should_be))
    taken = 0
    if is_whole:
        for number, frame in enumerate(frames):
            if not frame.is_taken:
                break
            if frame.is_commit:
                taken = number + 1
    return Log(page_size, frames, taken, is_whole)


def _frames(
    read: Callable[[int], bytes], page_size: int, endings: str, salts: Sums, before: tuple[Sums, Sums]
) -> tuple[Frame, ...]:
    """`before`: the checksum that stands in front of the first frame, and what it should be."""
    size, offset = FRAME.size + page_size, HEAD.size
    frames: list[Frame] = []
    todays = 0
    while len(octets := read(size)) == size:
        page, pages, *kept = FRAME.unpack_from(octets)
        is_todays = (kept[0], kept[1]) == salts
        stands, should_be = before
        has = (kept[2], kept[3])
        # Each frame is held against the checksum that the one before it has, not that it should have.
        sums = _add(octets[FRAME.size :], _add(octets[:8], stands, endings), endings)
        fits = is_taken = sums == has and page > 0
        if not fits and stands != should_be:
            sums = _add(octets[FRAME.size :], _add(octets[:8], should_be, endings), endings)
            fits = sums == has and page > 0
            if fits and frames:
                frames[-1] = frames[-1]._replace(is_whole=True)  # all that was damaged there is its checksum
        frames.append(
            Frame(page, offset + FRAME.size, fits and is_todays, is_taken and is_todays, is_todays and pages > 0, pages)
        )
        before = has, sums
        offset += size
        if is_todays:
            todays = len(frames)
    # What does not look like today's is damage only where today's come after it.
    return tuple(frames[:todays])


def _guess(octets: bytes, page_size: int) -> tuple[int, str, Sums, Sums]:
    """(page size, order of octets, salts, checksum before the first frame) where the head does not fit its checksum.

    All of it is tried: a frame that fits what stands before it tells. Page size 0: nothing fits.
    """
    kept = HEAD.unpack_from(octets)[6:]
    sizes = sorted(SIZES, key=lambda size: size != page_size)
    for is_second in (False, True):  # where the checksum is what is damaged, the second frame tells as much
        for size in sizes:
            start = HEAD.size + is_second * (FRAME.size + size)
            end = start + FRAME.size + size
            if len(octets) < end:
                continue
            _, _, *before = FRAME.unpack_from(octets, HEAD.size)
            seed = (before[2], before[3]) if is_second else (kept[0], kept[1])
            _, _, *frame = FRAME.unpack_from(octets, start)
            for endings in "<>":
                sums = _add(octets[start : start + 8], seed, endings)
                if _add(octets[start + FRAME.size : end], sums, endings) == (frame[2], frame[3]):
                    return size, endings, (frame[0], frame[1]), (kept[0], kept[1])
    return 0, "<", (0, 0), (0, 0)


SIZES = [512 << power for power in range(8)]


# --- the checksum ----------------------------------------------------------------------------------------------------

# Word by word, with x the even and y the odd ones: s += x + t; t += y + s. That is linear, so many words are two sums
# of products with Fibonacci numbers, which Python does ten times as fast as a loop over them.


@lru_cache
def _weights(pairs: int) -> tuple[list[int], list[int]]:
    # Fibonacci: the words at the beginning weigh most.
    numbers = [0, 1]
    while len(numbers) < 2 * pairs + 3:
        numbers.append((numbers[-1] + numbers[-2]) & MASK)
    # An x that m steps follow becomes F(2m+1) of s and F(2m+2) of t; a y, F(2m) of s and F(2m+1) of t.
    first = [numbers[2 * m + 1 - odd] for m in range(pairs - 1, -1, -1) for odd in (0, 1)]
    second = [numbers[2 * m + 2 - odd] for m in range(pairs - 1, -1, -1) for odd in (0, 1)]
    return first, second


@lru_cache
def _start(pairs: int) -> tuple[int, int, int, int]:
    """What becomes of (s, t) after that many steps of nothing: (s of s, t of s, s of t, t of t)."""
    a, b, c, d = 1, 0, 0, 1
    for _ in range(pairs):
        a, c = (a + c) & MASK, c
        b, d = (b + d) & MASK, d
        c, d = (c + a) & MASK, (d + b) & MASK
    return a, b, c, d


@lru_cache
def _words(count: int, endings: str) -> Struct:
    return Struct(f"{endings}{count}I")


def _add(octets: bytes, sums: Sums, endings: str) -> Sums:
    """The checksum after these octets, whose number is a multiple of eight."""
    count = len(octets) // 4
    words = _words(count, endings).unpack(octets)
    first, second = _weights(count // 2)
    a, b, c, d = _start(count // 2)
    s, t = sums
    return (
        (a * s + b * t + sum(map(mul, words, first))) & MASK,
        (c * s + d * t + sum(map(mul, words, second))) & MASK,
    )


# --- what can be saved -----------------------------------------------------------------------------------------------


def apply_log(database: Path, log: Log, source: Path) -> int:
    """Write all whole frames of `log`, which was read from `source`, into a copy of its database; answers how many.

    Also those behind a damaged one. What comes of it may be no sound database: it has to be checked. Raises OSError.
    """
    frames = list(log.frames)
    commits = [number for number, frame in enumerate(frames) if frame.is_whole and frame.is_commit]
    if not commits:
        return 0
    # The first page has the names of the tables, and nothing else: better one with a wrong bit in it than none.
    has_first = any(frame.is_whole and frame.page == 1 for frame in frames)
    done = 0
    with source.open("rb") as octets, database.open("r+b") as target:
        for frame in islice(frames, commits[-1] + 1):
            if frame.is_whole or (frame.page == 1 and not has_first):
                octets.seek(frame.offset)
                target.seek((frame.page - 1) * log.page_size)
                target.write(octets.read(log.page_size))
                done += 1
        target.truncate(max(frames[commits[-1]].pages * log.page_size, 1))
        target.flush()
        os.fsync(target.fileno())
    return done
