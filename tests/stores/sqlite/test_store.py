"""The embedded store's directory, its limits, and what it forgets."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from twisted_mail_kit.errors import AccountNotFound, BlobNotFound, ConfigurationError, MailboxNotFound, Unavailable
from twisted_mail_kit.mail.operations import Add, Copy, CreateMailbox, DeleteMailbox, Move, Remove, SetFlags
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore

from .conftest import add, blob


async def test_nobody_else_may_look_in(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"x")
    await add(account, box, b"x" * 1_300_000)
    assert store.path.stat().st_mode & 0o777 == 0o700
    for path in store.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_directory_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cur").mkdir()
    with pytest.raises(ConfigurationError, match="cur"):
        SQLiteStore(tmp_path, reactor)
    assert not (tmp_path / "index.sqlite").exists()


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("CREATE TABLE songs (title)")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"index\.sqlite"):
        SQLiteStore(tmp_path, reactor)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(ConfigurationError, match=r"index\.sqlite"):
        SQLiteStore(tmp_path, reactor)


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    await SQLiteStore(tmp_path, reactor).close()
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="99"):
        SQLiteStore(tmp_path, reactor)


def test_a_file_in_its_place_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        SQLiteStore(tmp_path / "file" / "store", reactor)


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor)
    account = await store.open_account("alice", create=True)
    begun = ensureDeferred(account.apply([CreateMailbox(("Sent",))]))
    await store.close()
    await store.close()
    assert (await begun).modseq == 2
    with pytest.raises(Unavailable):
        await account.state()
    with pytest.raises(Unavailable):
        await account.apply([CreateMailbox(("Sent",))])


async def test_a_uid_never_reaches_into_the_next_mailbox(store: SQLiteStore) -> None:
    alice = await store.open_account("alice", create=True)
    bob = await store.open_account("bob", create=True)
    hers, his = [(await account.mailboxes())[0].id for account in (alice, bob)]
    await add(bob, his, b"secret")
    beyond = (1 << 32) + 1
    assert await alice.messages(hers, [beyond]) == []
    assert await alice.messages(hers, after=1 << 32) == []
    assert await alice.messages(hers, after=-1) == []
    before = await bob.messages(his)
    for op in (Remove(hers, [beyond]), SetFlags(hers, [beyond], frozenset({"x"})), Copy(hers, [beyond], hers)):
        await alice.apply([op])
    await alice.apply([Move(hers, [beyond, -(1 << 32)], hers)])
    assert await bob.messages(his) == before
    for stranger in (his, "m0", "m-1", "m1 ", "", "m", "m٣"):
        with pytest.raises(MailboxNotFound):
            await alice.messages(stranger)


async def test_blob_ids_of_others_are_not_found_however_they_are_written(store: SQLiteStore) -> None:
    alice = await store.open_account("alice", create=True)
    bob = await store.open_account("bob", create=True)
    box = (await bob.mailboxes())[0].id
    his = await blob(bob, b"secret")
    await bob.apply([Add(box, his, 0)])
    for name in (his, "s" + his[1:], "s" + his[1:] + "-" + "0" * 20, "b0" + his[1:], his + " ", "", "b", "b-", "é"):
        with pytest.raises(BlobNotFound):
            await alice.read_blob(name, 0, 10)
        with pytest.raises(BlobNotFound):
            await alice.apply([Add((await alice.mailboxes())[0].id, name, 0)])


async def test_one_bad_apply_among_many_fails_alone(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    good = [Add(box, await blob(account, b"x"), 0) for _ in range(20)]
    bad = [
        [Add(box, await blob(account, b"x"), 0), Remove("m999", [1])],
        [Add(box, await blob(account, b"x"), 1 << 70)],
        [Add(box, await blob(account, b"x"), 0, "text")],  # type: ignore[arg-type]
        [CreateMailbox(("A",)), CreateMailbox(("A",))],
        [Add(box, await blob(account, b"x"), 0, b"", frozenset(), "\ud800")],
        ["nonsense"],
    ]
    failures: list[object] = []
    waiting = []
    for number, op in enumerate(good):
        waiting.append(ensureDeferred(account.apply([op])))
        if number < len(bad):
            ensureDeferred(account.apply(bad[number])).addErrback(failures.append)
    applied = await gatherResults(waiting)
    await account.state()
    assert [one.results[0].uid for one in applied] == list(range(1, 21))
    assert len(failures) == len(bad)
    (inbox,) = await account.mailboxes()
    assert (inbox.total, inbox.size, inbox.unseen, inbox.uidnext) == (20, 20, 20, 21)
    assert [row.uid for row in await account.messages(box)] == list(range(1, 21))


async def test_a_token_given_twice_at_once_is_done_once(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    op = Add(box, await blob(account, b"x"), 0)
    answers = await gatherResults([ensureDeferred(account.apply([op], token="t")) for _ in range(5)])
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True, True]
    assert len({answer.results for answer in answers}) == 1
    assert len(await account.messages(box)) == 1


async def test_what_nobody_has_any_more_leaves_the_disk(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor, SQLiteSettings(segment_size=1000, blob_grace=-1.0))
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    other = (await account.apply([CreateMailbox(("Sent",))])).results[0].id
    for number in range(10):
        await add(account, box if number % 2 else other, b"x" * 600)
    await add(account, other, b"x" * 1_500_000)
    kept = (await account.messages(box))[0]
    await account.apply([Copy(box, [kept.uid], other)])
    await account.apply([Remove(box, [row.uid for row in await account.messages(box)][1:])])
    await account.apply([DeleteMailbox(other)])
    await store.keep_house()
    for _ in range(100):  # a segment that is just being looked at stays until the next round
        await deferLater(reactor, 0.01)
        await store.keep_house()
        if len(list((tmp_path / "segments").iterdir())) <= 2:
            break
    assert not list((tmp_path / "large").rglob("*.blob"))
    # The kept message's segment, and the one that is written to.
    assert len(list((tmp_path / "segments").iterdir())) <= 2
    assert await account.read_blob(kept.blob_id, 0, 1000) == b"x" * 600
    await store.remove_account("alice")
    await store.keep_house()
    await store.keep_house()
    with pytest.raises(AccountNotFound):
        await account.state()
    for table in ("messages", "blobs", "mailboxes", "graves", "removals"):
        assert store._batch.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    await store.close()


async def test_an_aborted_large_message_leaves_nothing(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    for end in ("abort", "lose"):
        writer = account.new_blob(5_000_000)
        for _ in range(3):
            await writer.write(b"x" * 1_000_000)
        if end == "abort":
            await writer.abort()
            await writer.abort()
        del writer
        assert not list(store.path.rglob("*.blob"))
    assert store.workroom.gathered == 0


async def test_nothing_is_held_in_memory_when_all_is_done(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for size in (0, 1, 100_000, 1_300_000, 3_000_000):
        octets = b"ab" * (size // 2) + b"c" * (size % 2)
        uid = await add(account, box, octets)
        (row,) = await account.messages(box, [uid])
        assert row.size == size
        assert await account.read_blob(row.blob_id, 0, size + 10) == octets
        assert await account.read_blob(row.blob_id, size - 1, 10) == octets[-1:] if size else True
    assert store.workroom.gathered == 0
    assert not store.workroom.pending


async def test_a_lock_that_another_process_holds_is_unavailable_and_nothing_else(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor, SQLiteSettings(lock_timeout=0.05))
    account = await store.open_account("alice", create=True)
    other = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    box = (await account.mailboxes())[0].id
    waiting = ensureDeferred(account.apply([CreateMailbox(("Sent",))], token="t"))
    waiting.addErrback(lambda failure: failure.trap(Unavailable))
    assert await waiting is Unavailable
    assert len(await account.mailboxes()) == 1
    other.execute("ROLLBACK")
    other.close()
    assert not (await account.apply([CreateMailbox(("Sent",))], token="t")).replayed
    assert await add(account, box, b"x") == 1
    await store.close()


async def test_a_half_written_tail_is_passed_over_and_said_once(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor)
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"x")
    await store.close()
    (segment,) = (tmp_path / "segments").iterdir()
    with segment.open("ab") as file:
        file.write(b"TMKb torn")
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("UPDATE segments SET closed = 0")  # as after a kill
    connection.commit()
    connection.close()
    for expected in (1, 0):
        with capturedLogs() as captured:
            store = SQLiteStore(tmp_path, reactor)
        said = [event for event in captured if event.get("octets") == len(b"TMKb torn")]
        assert len(said) == expected
        account = await store.open_account("alice")
        assert await add(account, box, b"y")
        (row,) = await account.messages(box, [1])
        assert await account.read_blob(row.blob_id, 0, 10) == b"x"
        await store.close()


async def test_one_large_write_waits_for_the_disk_and_not_for_memory(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    writer = account.new_blob()
    piece = bytes(range(256)) * 256
    most = 0
    for _ in range(640):
        await writer.write(piece)
        most = max(most, store.workroom.gathered)
    blob_id = await writer.commit()
    assert most <= 2 << 20
    (added,) = (await account.apply([Add(box, blob_id, 0)])).results
    (row,) = await account.messages(box, [added.uid])
    assert row.size == 640 * len(piece)
    assert await account.read_blob(blob_id, 300 * len(piece) + 3, 5) == piece[3:8]
    assert await account.read_blob(blob_id, row.size - 2, 50) == piece[-2:]
