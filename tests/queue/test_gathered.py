"""Rows that are gathered over a transaction leave behind what they would have left one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.outcome import Delivered
from twisted_mail_kit.mail.queued import QueuedRecipient, Settled, TraceEvent
from twisted_mail_kit.queue.codec import encode_envelope
from twisted_mail_kit.queue.sqlite import jobs, leasing, rows, schema
from twisted_mail_kit.queue.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.blobs import Pending
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.testing.contracts.spool_bench import NOW, envelope

RUN = 1
TABLES = {"messages": "*", "blobs": "*", "recipients": "*", "destinations": "name, due"}
"""What is compared. Not the turn in which a destination was served: one that has no work for a moment forgets it, where
that moment is between two transactions, and keeps it, where it is within one."""


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Batch]:
    yield from opened(tmp_path / "queue")


def opened(root: Path) -> Iterator[Batch]:
    connection = schema.open_writer(schema.prepare(root, Files()), 1.0, 1 << 20)
    yield Batch(connection, RUN, lambda: NOW)
    connection.close()


def recipients(name: str, count: int) -> list[QueuedRecipient]:
    to = Recipient(Address("joe", "example.org"))
    return [QueuedRecipient(name, number, to, f"host{number % 2}.example", NOW) for number in range(count)]


def add(batch: Batch, name: str, count: int = 1, blob: int = 0) -> None:
    number = blob or int(name[1:]) + 1
    octets = b"octets of %d" % number
    pending = Pending(number, rows.blob_id(number), 0, [octets], len(octets), NOW)
    row = (name, number, 10, encode_envelope(envelope(name)))
    new = [rows.new_recipient(one, "queue", RUN, NOW + 300) for one in recipients(name, count)]
    jobs.add(batch, row, new, "queue", pending, [TraceEvent(name, NOW, "queued", "", "", "")])


def done(batch: Batch, name: str, *numbers: int) -> None:
    settled = [Settled(one, Delivered(), None) for one in recipients(name, 10) if one.number in numbers]
    jobs.settle(batch, settled, [TraceEvent(name, NOW, "delivered", "", "", "")])


def content(batch: Batch) -> dict[str, list[Any]]:
    return {
        table: sorted(batch.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
        for table, columns in TABLES.items()
    }


def names(batch: Batch) -> list[str]:
    return [name for (name,) in batch.execute("SELECT id FROM messages ORDER BY id").fetchall()]


def test_hundreds_come_and_go_in_one_transaction(batch: Batch) -> None:
    batch.begin()
    for number in range(300):
        add(batch, f"m{number}", 3)
    batch.commit()
    assert len(names(batch)) == 300
    assert batch.execute("SELECT name, due FROM destinations").fetchall() == [
        ("host0.example", NOW + 300),
        ("host1.example", NOW + 300),
    ]
    batch.begin()
    for number in range(299):
        done(batch, f"m{number}", 0, 1, 2)
    done(batch, "m299", 1)
    batch.commit()
    assert names(batch) == ["m299"] and batch.execute("SELECT count(*) FROM blobs").fetchall() == [(1,)]
    assert batch.execute("SELECT destination, number FROM recipients").fetchall() == [
        ("host0.example", 0),
        ("host0.example", 2),
    ]
    assert batch.execute("SELECT name FROM destinations").fetchall() == [("host0.example",)]
    assert batch.execute("SELECT count(*) FROM events").fetchall() == [(600,)]


def test_the_same_id_twice_is_one_message_whether_it_was_there_or_comes_with_it(batch: Batch) -> None:
    batch.begin()
    add(batch, "m1", 2)
    add(batch, "m1", 1, blob=77)
    batch.commit()
    once = content(batch)
    batch.begin()
    add(batch, "m1", 1, blob=78)
    add(batch, "m2")
    batch.commit()
    assert names(batch) == ["m1", "m2"] and len(once["recipients"]) == 2 and len(once["blobs"]) == 1
    assert batch.execute("SELECT count(*) FROM recipients WHERE message = 'm1'").fetchall() == [(2,)]
    assert batch.execute("SELECT count(*) FROM events WHERE trace_id = 'm1'").fetchall() == [(1,)]


def test_an_id_that_leaves_may_come_again_with_the_same_transaction(batch: Batch) -> None:
    batch.begin()
    add(batch, "m1")
    batch.commit()
    batch.begin()
    done(batch, "m1", 0)
    add(batch, "m1", 1, blob=9)
    batch.commit()
    assert batch.execute("SELECT id, blob FROM messages").fetchall() == [("m1", 9)]
    assert batch.execute("SELECT id FROM blobs").fetchall() == [(9,)]


def test_whose_destination_is_called_otherwise_by_now_leaves_all_the_same(batch: Batch) -> None:
    batch.begin()
    add(batch, "m1")
    add(batch, "m2")
    batch.commit()
    batch.execute("UPDATE recipients SET destination = 'smarthost' WHERE message = 'm1'")
    batch.execute("INSERT INTO destinations VALUES ('smarthost', 0, 0)")
    batch.begin()
    done(batch, "m1", 0)
    batch.commit()
    assert names(batch) == ["m2"]
    assert batch.execute("SELECT name FROM destinations").fetchall() == [("host0.example",)]


def test_what_was_gathered_is_gone_with_a_rollback(batch: Batch) -> None:
    batch.begin()
    add(batch, "m1")
    done(batch, "m2", 0)
    batch.rollback()
    batch.begin()
    assert batch.commit() == []
    assert names(batch) == [] and batch.execute("SELECT count(*) FROM events").fetchall() == [(0,)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "done", "lease", "remove", "commit"]), st.integers(0, 3), st.integers(1, 3)),
    max_size=15,
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Batch]]:
    makers = [opened(tmp_path_factory.mktemp("queue") / "queue") for _ in range(2)]
    yield [next(maker) for maker in makers]
    for maker in makers:
        next(maker, None)


@settings(max_examples=100, deadline=None)
@given(STEPS)
@example([("add", 2, 1), ("lease", 0, 1), ("done", 2, 1), ("add", 0, 1)])
def test_one_transaction_or_many_make_no_difference(two: list[Batch], steps: Any) -> None:
    for batch, commits_each in zip(two, (True, False), strict=True):
        for table in TABLES:
            batch.execute(f"DELETE FROM {table}")
        batch.begin(is_durable=False)
        for step, number, count in steps:
            if step == "add":
                add(batch, f"m{number}", count)
            elif step == "done":
                done(batch, f"m{number}", *range(count))
            elif step == "lease":
                leasing.lease(batch, "queue", NOW + 400, NOW + 900, count, ())
            elif step == "remove":
                jobs.remove(batch, f"m{number}", [0])
            if commits_each or step == "commit":
                batch.commit()
                batch.begin(is_durable=False)
        batch.commit()
    one, other = map(content, two)
    assert one == other
