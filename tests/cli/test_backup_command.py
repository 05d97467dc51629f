"""`mailkit backup` and `mailkit restore`, as an operator types them: with a running server, and without."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor

from tests.cli.commands import mailkit
from twisted_mail_kit.control.place import SOCKET, take_lock
from twisted_mail_kit.control.server import Control
from twisted_mail_kit.control.store_verbs import store_verbs
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.queue.desk import Desk
from twisted_mail_kit.queue.sqlite import SQLiteSpool
from twisted_mail_kit.stores.sqlite import SQLiteStore

CONFIGURATION = 'hostname = "mx.example.org"\nstate = "state"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n'


async def fill(state: Path) -> None:
    """A store with one message, a queue with two (one of them large), and the small files of a server."""
    store = SQLiteStore(state / "store", reactor)
    account = await store.open_account("alice", create=True)
    writer = account.new_blob()
    await writer.write(b"Subject: one\r\n\r\n")
    await account.apply([Add((await account.mailboxes())[0].id, await writer.commit(), 0)])
    await store.close()
    spool = SQLiteSpool(state / "queue", reactor)
    for id, size in (("m1", 10), ("m2", 400_000)):
        blob = spool.new_blob(size)
        await blob.write(b"q" * size)
        to = Recipient(Address("joe", "example.net"))
        row = QueuedRecipient(message_id=id, number=0, recipient=to, destination="example.net", next_try=9e9)
        envelope = Envelope(Address("ann", "example.org"), Peer("192.0.2.7"), id)
        await spool.add(QueuedMessage(envelope, await blob.commit(), size), [row])
    await spool.close()
    for name, text in (
        ("passwords", "alice:secret"),
        ("dkim/mx.pem", "key"),
        ("mta-sts.json", "{}"),
        ("store/lost+found/1.eml", "half a letter"),
        ("spool/on-its-way", "nobody's"),
        ("search/0a1b/1.block", "made of mail"),
        ("twistd.pid", "17"),
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(text)
        (state / name).chmod(0o600)


@pytest_twisted.async_yield_fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    (tmp_path / "state").mkdir()
    await fill(tmp_path / "state")
    yield tmp_path


async def holds_what_there_was(state: Path) -> None:
    store = SQLiteStore(state / "store", reactor)
    account = await store.open_account("alice")
    (row,) = await account.messages((await account.mailboxes())[0].id)
    assert await account.read_blob(row.blob_id, 0, 100) == b"Subject: one\r\n\r\n"
    await store.close()
    spool = SQLiteSpool(state / "queue", reactor)
    queued = await Desk(spool, clock=reactor).list()
    assert [message["id"] for message in queued] == ["m1", "m2"]
    assert all(one["is_held"] for message in queued for one in message["recipients"])
    for message, _ in await spool.messages():
        assert await spool.read_blob(message.blob_id, 0, message.size) == b"q" * message.size
    await spool.close()
    assert (state / "passwords").read_text() == "alice:secret"
    assert (state / "passwords").stat().st_mode & 0o777 == 0o600
    assert (state / "dkim" / "mx.pem").read_text() == "key"
    assert (state / "store" / "lost+found" / "1.eml").read_text() == "half a letter"
    assert not (state / "twistd.pid").exists() and not (state / "spool").exists()
    assert not (state / "search").exists()
    assert not list(state.rglob("*.part"))


async def test_what_was_backed_up_is_restored_elsewhere(folder: Path) -> None:
    _, told = await mailkit(folder, "backup", "backup")
    assert "the server is not running" in told
    out, _ = await mailkit(folder, "restore", "backup", "--to", "other/state", "--json")
    counts = json.loads(out)["counts"]
    assert (counts["messages"], counts["state files"], counts["queued recipients held"]) == (1, 4, 2)
    await holds_what_there_was(folder / "other" / "state")


async def test_a_running_server_makes_the_backup_itself(folder: Path) -> None:
    store = SQLiteStore(folder / "state" / "store", reactor)
    control = Control(folder / "state" / SOCKET, reactor, store_verbs(store, folder / "state"))
    control.start()
    try:
        out, told = await mailkit(folder, "backup", "backup", "--json")
        assert not told
        assert json.loads(out)["counts"]["queued messages"] == 2
        assert (folder / "backup").stat().st_mode & 0o777 == 0o700
        (folder / "state" / "passwords").write_text("alice:other")
        (folder / "state" / "mta-sts.json").unlink()
        out, _ = await mailkit(folder, "backup", "backup", "--json")
        assert json.loads(out)["counts"]["files copied"] == 1, "the index, and nothing else of the store"
        assert (folder / "backup" / "files" / "passwords").read_text() == "alice:other"
        assert not (folder / "backup" / "files" / "mta-sts.json").exists()
        _, told = await mailkit(folder, "backup", "state/inside", code=1)
        assert "outside of the state folder" in told
        _, told = await mailkit(folder, "restore", "backup", code=1)
        assert f"process {os.getpid()}" in told
    finally:
        await control.stop()
        await store.close()


async def test_a_state_folder_that_is_lost_is_put_back_in_its_place(folder: Path) -> None:
    await mailkit(folder, "backup", "backup")
    _, told = await mailkit(folder, "restore", "backup", code=1)
    assert "is not empty" in told
    (folder / "state").rename(folder / "lost")
    await mailkit(folder, "restore", "backup")
    await holds_what_there_was(folder / "state")
    _, told = await mailkit(folder, "backup", "backup", code=1)
    assert "before it was restored" in told
    await mailkit(folder, "backup", "backup2")


async def test_a_damaged_backup_leaves_the_folder_empty(folder: Path) -> None:
    await mailkit(folder, "backup", "backup")
    (segment,) = (folder / "backup" / "store" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    _, told = await mailkit(folder, "restore", "backup", "--to", "new", code=1)
    assert "damaged" in told and "00000001.log" in told
    assert [one.name for one in (folder / "new").iterdir()] == [f"{SOCKET}.lock"]


async def test_a_folder_that_is_no_backup_is_refused(folder: Path) -> None:
    _, told = await mailkit(folder, "restore", "state/queue", "--to", "new", code=1)
    assert "no backup" in told
    (folder / "letters").mkdir()
    (folder / "letters" / "a.txt").write_text("mine")
    _, told = await mailkit(folder, "backup", "letters", code=1)
    assert "not a backup" in told


async def test_no_server_can_be_started_while_files_are_copied(folder: Path) -> None:
    lock = take_lock(folder / "state" / f"{SOCKET}.lock")
    try:
        _, told = await mailkit(folder, "backup", "backup", code=1)
        assert "end it first" in told
    finally:
        os.close(lock)
