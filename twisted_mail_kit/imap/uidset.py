"""A packed set of UIDs: a bit each, so that all of a mailbox of a million are a few hundred kilobytes."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress
from typing import TypeGuard

BITS = 10
SIZE = 1 << BITS
"""UIDs in one block."""
_LOW = SIZE - 1
_TRUTH = bytes.maketrans(b"01", b"\0\1")


class UidSet:
    """Blocks of bits, by the upper bits of the UIDs. All that goes over many is bound by blocks, not by UIDs."""

    __slots__ = ("_before", "_blocks", "_keys")

    def __init__(self, uids: Iterable[int] = ()) -> None:
        self._blocks: dict[int, int] = {}
        self._keys: list[int] | None = None
        """The blocks' numbers, ascending; None: not known at the moment."""
        self._before: list[int] = []
        """How many UIDs the blocks before each have; one more at the end: all."""
        if uids != ():
            self.update(uids)

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def __len__(self) -> int:
        return sum(map(int.bit_count, self._blocks.values()))

    def __contains__(self, uid: int) -> bool:
        return bool(self._blocks.get(uid >> BITS, 0) >> (uid & _LOW) & 1)

    def __iter__(self) -> Iterator[int]:
        for key in self._index():
            yield from _uids(key, self._blocks[key])

    # --- changing it -------------------------------------------------------------------------------------------------

    def update(self, uids: Iterable[int]) -> None:
        """Put all of them in; they ascend, or they come one by one from an iterator."""
        self._keys = None
        blocks = self._blocks
        if isinstance(uids, UidSet):
            for key, bits in uids._blocks.items():
                blocks[key] = blocks.get(key, 0) | bits
        elif _is_run(uids):
            for key, bits in _run(uids):
                blocks[key] = blocks.get(key, 0) | bits
        else:
            for uid in uids:
                blocks[uid >> BITS] = blocks.get(uid >> BITS, 0) | 1 << (uid & _LOW)

    def difference_update(self, uids: Iterable[int]) -> None:
        """Take all of them out; they come as for `update`."""
        self._keys = None
        blocks = self._blocks
        if _is_run(uids):
            uids = UidSet(uids)
        elif not isinstance(uids, UidSet):
            uids = UidSet(uid for uid in uids if uid >> BITS in blocks)
        for key, bits in uids._blocks.items():
            left = blocks.get(key, 0) & ~bits
            if left:
                blocks[key] = left
            else:
                blocks.pop(key, None)

    # --- asking ------------------------------------------------------------------------------------------------------

    def up_to(self, greatest: int) -> UidSet:
        """Those that are not greater; the set itself where that is all."""
        keys = self._index()
        if not keys or (keys[-1] << BITS) + self._blocks[keys[-1]].bit_length() - 1 <= greatest:
            return self
        kept = UidSet()
        last = greatest >> BITS
        kept._blocks = {key: bits for key, bits in self._blocks.items() if key < last}
        bits = self._blocks.get(last, 0) & (2 << (greatest & _LOW)) - 1
        if bits:
            kept._blocks[last] = bits
        return kept

    def rank(self, uid: int) -> int:
        """How many are less than this one."""
        keys = self._index()
        key = uid >> BITS
        at = bisect_left(keys, key)
        before = self._before[at]
        if at < len(keys) and keys[at] == key:
            before += (self._blocks[key] & (1 << (uid & _LOW)) - 1).bit_count()
        return before

    def between(self, low: int, high: int) -> list[int]:
        """Those from `low` to `high`, ascending."""
        keys = self._index()
        some = keys[bisect_left(keys, low >> BITS) : bisect_right(keys, high >> BITS)]
        found = [uid for key in some for uid in _uids(key, self._blocks[key])]
        return found[bisect_left(found, low) : bisect_right(found, high)]

    def first(self, many: int) -> list[int]:
        """The smallest ones, ascending."""
        found: list[int] = []
        for key in self._index():
            if len(found) >= many:
                break
            found += _uids(key, self._blocks[key])
        return found[:many]

    def last(self, many: int) -> list[int]:
        """The greatest ones, ascending."""
        pieces: list[list[int]] = []
        for key in reversed(self._index()):
            if many <= 0:
                break
            pieces.append(_uids(key, self._blocks[key])[-many:])
            many -= len(pieces[-1])
        return [uid for piece in reversed(pieces) for uid in piece]

    def _index(self) -> list[int]:
        if self._keys is None:
            if len(self._blocks) < 2:  # as most often
                self._keys = [*self._blocks]
                self._before = [0, *map(int.bit_count, self._blocks.values())]
                return self._keys
            self._keys = sorted(self._blocks)
            self._before = [0, *accumulate(self._blocks[key].bit_count() for key in self._keys)]
        return self._keys


def _is_run(uids: Iterable[int]) -> TypeGuard[Sequence[int]]:
    """Ascending numbers that are all those from the first to the last."""
    return isinstance(uids, (list, array, range)) and len(uids) > 1 and uids[-1] - uids[0] == len(uids) - 1


def _uids(key: int, bits: int) -> list[int]:
    base = key << BITS
    if bits & bits - 1 == 0:  # one alone, as most often
        return [base + bits.bit_length() - 1]
    truth = format(bits, "b").encode().translate(_TRUTH)[::-1]
    return list(compress(range(base, base + len(truth)), truth))


def _run(uids: Sequence[int]) -> Iterator[tuple[int, int]]:
    low, high = uids[0], uids[-1]
    for key in range(low >> BITS, (high >> BITS) + 1):
        first, last = max(low, key << BITS), min(high, (key << BITS) + _LOW)
        yield key, (1 << (last - first + 1)) - 1 << (first & _LOW)
