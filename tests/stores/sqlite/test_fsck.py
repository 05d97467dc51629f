"""`check` finds what is wrong, `repair` repairs it without inventing anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from twisted_mail_kit.errors import ConfigurationError, Unavailable
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.repair import repair
from twisted_mail_kit.stores.sqlite.salvage import salvage

from .conftest import add
from .filled import fill, read_all


def change(root: Path, sql: str) -> None:
    connection = sqlite3.connect(root / "index.sqlite")
    connection.execute(sql)
    connection.commit()
    connection.close()


def flip(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 0x10
    path.write_bytes(octets)


async def test_a_sound_store_has_no_problems(tmp_path: Path) -> None:
    kept = await fill(tmp_path)
    found = check(tmp_path)
    assert found.problems == ()
    assert found.counts["messages"] == len(kept)
    assert found.counts["accounts"] == 2
    assert found.counts["dead octets"] == 0


async def test_a_running_store_is_checked_while_mail_comes_in(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    checks = []
    for number in range(40):
        await add(account, box, b"%d" % number * 300)
        if number % 10 == 5:
            checks.append(ensureDeferred(store.check()))
    for one in checks:
        assert (await one).problems == ()
    assert (await store.check()).counts["messages"] == 40


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("UPDATE mailboxes SET total = total + 1", "counts"),
        ("UPDATE mailboxes SET unseen = 0", "unseen"),
        ("UPDATE mailboxes SET size = 3", "octets"),
        ("UPDATE mailboxes SET uidnext = 1", "UIDNEXT"),
        ("UPDATE mailboxes SET modseq = 1", "modseq"),
        ("UPDATE accounts SET modseq = 1", "modseq"),
        ("UPDATE accounts SET removals = 77", "removals"),
        ("UPDATE accounts SET emails = 0", "email ids"),
        ("UPDATE blobs SET refs = refs + 1", "references"),
        ("UPDATE blobs SET gone = 5", "references"),
        ("UPDATE segments SET low = high + 1", "outside"),
        ("UPDATE store SET value = 0 WHERE key = 'run'", "run"),
        ("UPDATE store SET value = 0 WHERE key = 'uidvalidity'", "uidvalidity"),
    ],
)
async def test_a_wrong_count_is_found_and_made_anew(tmp_path: Path, sql: str, word: str) -> None:
    kept = await fill(tmp_path, 8)
    change(tmp_path, sql)
    assert any(word in line for line in check(tmp_path).problems)
    assert repair(tmp_path).counts["problems left"] == 0
    assert check(tmp_path).problems == ()
    store = SQLiteStore(tmp_path, reactor)
    assert await read_all(store) == (kept, [])
    await store.close()


async def test_a_damaged_message_leaves_with_a_tombstone_and_is_put_aside(tmp_path: Path) -> None:
    kept = await fill(tmp_path)
    flip(sorted((tmp_path / "segments").iterdir())[0], 28 + 300)  # alice's first, which has a copy
    (problem,) = check(tmp_path).problems
    assert "alice" in problem and "00000001.log" in problem and "checksum" in problem
    told = repair(tmp_path).problems
    removed = [line for line in told if line.startswith("removed: ")]
    assert len(removed) == 2
    assert "account alice, mailbox INBOX, UID 1, of 2023-11-14" in removed[0] and "700 octets" in removed[0]
    saved = sorted((tmp_path / "lost+found").glob("*.eml"))
    assert len(saved) == 2
    original = kept["alice", ("INBOX",), 1]
    assert sum(a != b for a, b in zip(saved[0].read_bytes(), original, strict=True)) == 1
    assert check(tmp_path).problems == ()
    store = SQLiteStore(tmp_path, reactor)
    after, errors = await read_all(store)
    assert not errors
    assert kept.keys() - after.keys() == {("alice", ("INBOX",), 1), ("alice", ("Sent",), 1)}
    assert all(kept[key] == octets for key, octets in after.items())
    account = await store.open_account("alice")
    changes = await account.changes(await account.state() - 1)
    assert len(changes.removed) == 2
    box = next(box for box in await account.mailboxes() if box.name == ("INBOX",))
    assert await add(account, box.id, b"and on it goes") == 25
    await store.close()


async def test_the_index_is_copied_before_it_is_touched(tmp_path: Path) -> None:
    await fill(tmp_path, 8)
    change(tmp_path, "UPDATE mailboxes SET total = 99")
    before = (tmp_path / "index.sqlite").read_bytes()
    told = repair(tmp_path).problems
    (copy,) = (tmp_path / "lost+found").iterdir()
    assert (copy / "index.sqlite").read_bytes() == before
    assert any(str(copy) in line for line in told)


async def test_a_broken_index_of_messages_is_made_anew(tmp_path: Path) -> None:
    kept = await fill(tmp_path)
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries_modseq'").fetchone()
    connection.close()
    with (tmp_path / "index.sqlite").open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    assert check(tmp_path).problems
    assert repair(tmp_path).counts["problems left"] == 0
    store = SQLiteStore(tmp_path, reactor)
    assert await read_all(store) == (kept, [])
    await store.close()


async def test_what_cannot_be_repaired_stays_as_it_is(tmp_path: Path) -> None:
    await fill(tmp_path, 8)
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'accounts'").fetchone()
    connection.close()
    with (tmp_path / "index.sqlite").open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    before = (tmp_path / "index.sqlite").read_bytes()
    with pytest.raises(Unavailable, match="mailkit restore"):
        repair(tmp_path)
    assert (tmp_path / "index.sqlite").read_bytes() == before


async def test_a_store_that_is_open_is_not_repaired(tmp_path: Path) -> None:
    await fill(tmp_path, 8)
    store = SQLiteStore(tmp_path, reactor)
    account = await store.open_account("alice")
    await add(account, (await account.mailboxes())[0].id, b"x")
    with pytest.raises(Unavailable, match="running server"):
        repair(tmp_path)
    await store.close()


async def test_salvage_writes_every_whole_message_without_an_index(tmp_path: Path) -> None:
    kept = await fill(tmp_path / "store")
    (tmp_path / "store" / "index.sqlite").unlink()
    flip(sorted((tmp_path / "store" / "segments").iterdir())[0], 28 + 300)
    found = salvage(tmp_path / "store", tmp_path / "saved")
    saved = {path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert set(kept.values()) - saved == {kept["alice", ("INBOX",), 1]}
    (problem,) = found.problems
    assert "00000001.log: 728 octets" in problem
    with pytest.raises(ConfigurationError, match="not empty"):
        salvage(tmp_path / "store", tmp_path / "saved")


@pytest.mark.parametrize("table", ["facts", "entries"])
async def test_half_a_message_is_no_message(tmp_path: Path, table: str) -> None:
    kept = await fill(tmp_path, 40)
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        connection.execute("DROP TRIGGER entries_gone")
        connection.execute(f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})")
    connection.close()
    assert check(tmp_path).problems
    assert repair(tmp_path).counts["problems left"] == 0
    store = SQLiteStore(tmp_path, reactor)
    there, _ = await read_all(store)
    assert len(there) == len(kept) - 1
    await store.close()
