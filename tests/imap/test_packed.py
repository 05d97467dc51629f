"""Packed sets and columns are what plain sets and dictionaries are, in little room and in small pieces."""

from __future__ import annotations

import random
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap import packed
from twisted_mail_kit.imap.packed import Columns, Packed, first_place
from twisted_mail_kit.imap.uidset import SIZE, UidSet
from twisted_mail_kit.mail.facts import Listing

SPARSE = st.lists(st.integers(1, 5 * SIZE), unique=True, max_size=60).map(sorted)
RUN = st.tuples(st.integers(1, 3 * SIZE), st.integers(1, 2 * SIZE)).map(lambda run: list(range(run[0], sum(run))))
UIDS = st.one_of(SPARSE, RUN)


@given(UIDS, UIDS, st.integers(0, 6 * SIZE), st.integers(0, 100))
@settings(max_examples=150, deadline=None)
def test_a_packed_set_is_a_set(some: list[int], others: list[int], uid: int, many: int) -> None:
    one, other = UidSet(some), UidSet(others)
    assert list(one) == some and len(one) == len(some) and bool(one) == bool(some)
    assert (uid in one) == (uid in set(some))
    assert one.rank(uid) == sum(each < uid for each in some)
    assert list(one.up_to(uid)) == [each for each in some if each <= uid]
    assert one.between(uid, uid + SIZE) == [each for each in some if uid <= each <= uid + SIZE]
    assert one.first(many) == some[:many] and one.last(many) == some[len(some) - min(many, len(some)) :]
    for more in (other, others, iter(others)):
        both, rest = UidSet(some), UidSet(some)
        both.update(more if not hasattr(more, "__next__") else iter(others))
        rest.difference_update(more)
        assert list(both) == sorted({*some, *others})
        assert list(rest) == sorted({*some} - {*others}) or hasattr(more, "__next__")
    assert list(one) == some and list(other) == others, "nothing was changed that is shared"


def test_all_of_a_million_are_a_few_hundred_kilobytes() -> None:
    everyone, every_other = UidSet(range(1, 1_000_001)), UidSet(iter(range(1, 1_000_001, 2)))
    for one in (everyone, every_other):
        octets = sum(bits.__sizeof__() for bits in one._blocks.values()) + one._blocks.__sizeof__()
        assert octets < 300_000
    assert len(everyone) == 1_000_000 and everyone.rank(777_777) == 777_776


Rows = dict[int, tuple[frozenset[str], int, int, int]]


def listing(rows: Rows) -> Listing:
    uids = sorted(rows)
    return Listing(uids, *(tuple(rows[uid][at] for uid in uids) for at in range(4)))  # type: ignore[arg-type]


def columns_of(model: Packed, rows: Rows) -> Columns:
    columns = Columns()
    for _ in model.pack(listing(rows), columns):
        pass
    return columns


def rows_of(model: Packed) -> Rows:
    flags = [model.flag_sets[number] for number in model.flag_ids]
    return {row[0]: row[1:] for row in zip(model.uids, flags, model.modseqs, model.sizes, model.dates, strict=True)}


@pytest.mark.parametrize("size", [3, 16, 4096])
def test_merging_piece_by_piece_ends_where_a_dictionary_would(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SLICE", size)
    for seed in range(60):
        chance = random.Random(seed)
        model, rows = Packed(), {}
        modseq, uidnext = 1, 1
        for _ in range(8):
            modseq += 1
            news: Rows = {}
            for uid in chance.sample(sorted(rows), chance.randint(0, len(rows))) if chance.random() < 0.7 else rows:
                news[uid] = (frozenset(chance.sample(["\\Seen", "a", "b"], 2)), modseq, *rows[uid][2:])
            come = range(uidnext, uidnext + chance.randint(0, 40), chance.choice([1, 3]))
            for uid in come:
                news[uid] = (frozenset(), modseq, chance.choice([1, 2**33]), chance.choice([-5, 2**31, 2**40]))
            uidnext = max([uidnext, *(uid + 1 for uid in come)])
            known = [*rows, *come]
            removed = set(chance.sample(known, min(chance.choice([0, 1, len(known) // 2, len(known)]), len(known))))
            changed, gone, last = set(), set(), max(rows, default=0)
            for step in model.merge(columns_of(model, news), UidSet(sorted(removed))):
                assert len(model.uids) == len(model.flag_ids) == len(model.modseqs) == len(model.sizes)
                assert len(step[0]) <= size
                changed |= set(step[0])
                gone |= set(step[1])
            rows = {uid: row for uid, row in {**rows, **news}.items() if uid not in removed}
            assert rows_of(model) == rows
            assert list(model.uids) == sorted(rows)
            assert gone == {uid for uid in removed if uid <= last}
            assert changed == {uid for uid in news if uid <= last}
            assert [one for some in model.missing(columns_of(model, {})) for one in some] == sorted(rows)


def test_columns_are_as_narrow_as_they_can_be() -> None:
    model = Packed()
    rows: Rows = {uid: (frozenset(), 5, 1000, 1_700_000_000) for uid in range(1, 5001)}
    model.take(columns_of(model, rows))
    assert model.octets == 18 * 5000
    before: Any = model.sizes
    rows[5001] = (frozenset(), 2**32, 2**32, -1)
    for _ in model.merge(columns_of(model, {5001: rows[5001]}), UidSet()):
        pass
    assert rows_of(model) == rows and model.sizes is not before


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from("HI"),
    st.lists(st.sampled_from([0, 1, 2, 255, 256, 257, 512, 65535]), max_size=40),
    st.lists(st.sampled_from([0, 1, 2, 3, 255, 256, 257, 65535, 65536, 70000]), max_size=12, unique=True),
)
def test_the_first_of_some_numbers_is_found_whatever_their_octets_look_like(
    kind: str, numbers: list[int], wanted: list[int]
) -> None:
    expected = next((at for at, number in enumerate(numbers) if number in wanted), -1)
    assert first_place(array(kind, numbers), wanted) == expected
