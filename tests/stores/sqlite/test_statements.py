"""Statements about many rows at once: nothing is left out, nothing is asked twice that may not be, and few differ."""

from __future__ import annotations

import sqlite3

import pytest

from twisted_mail_kit.stores.sqlite.statements import ForEach, Insert, portions

COUNTS = [0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 129, 200]


@pytest.fixture
def connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE numbers (number INTEGER, name TEXT)")
    return connection


@pytest.mark.parametrize("count", COUNTS)
def test_portions_have_every_key_in_order_and_only_the_last_one_again(count: int) -> None:
    found = [list(some) for some in portions(range(count), (1, 4, 64))]
    assert len(found) == -(-count // 64)
    assert {len(some) for some in found} <= {1, 4, 64}
    said = [key for some in found for key in some]
    assert said[:count] == list(range(count))
    assert set(said[count:]) <= {count - 1}
    if found:
        assert len(found[-1]) == next(size for size in (1, 4, 64) if size >= count - 64 * (len(found) - 1))


@pytest.mark.parametrize("count", COUNTS)
def test_each_row_is_put_in_once_and_found_and_taken_out_by_its_key(count: int, connection: sqlite3.Connection) -> None:
    rows = [(number, f"name {number}") for number in range(count)]
    Insert("INSERT INTO numbers", "(?,?)").run(connection, rows)
    assert connection.execute("SELECT number, name FROM numbers ORDER BY rowid").fetchall() == rows
    connection.execute("INSERT INTO numbers VALUES (-1, 'stays')")
    take = ForEach("DELETE FROM numbers WHERE {} RETURNING number, name", "(number = ? AND name = ?)", " OR ")
    assert sorted(take.run(connection, dict(rows).items())) == rows
    assert connection.execute("SELECT number FROM numbers").fetchall() == [(-1,)]


def test_whatever_the_counts_there_are_few_different_statements(connection: sqlite3.Connection) -> None:
    said: set[str] = set()
    connection.set_trace_callback(said.add)
    there = ForEach("SELECT number FROM numbers WHERE number IN ({})", "?")
    for count in range(1, 200):
        there.run(connection, [(7,)] * count)
    assert len({one.count("7") for one in said}) == len(ForEach.SIZES)
