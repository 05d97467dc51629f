"""`mailkit fsck`, as an operator types it: with a running server, and without."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from twisted_mail_kit.control.place import SOCKET, take_lock
from twisted_mail_kit.control.server import Control
from twisted_mail_kit.control.store_verbs import store_verbs
from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.stores.sqlite import SQLiteStore

CONFIGURATION = 'hostname = "mx.example.org"\nstate = "state"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n'


@pytest_twisted.async_yield_fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A configuration, and a store with one message in its state."""
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    (tmp_path / "state").mkdir()
    store = SQLiteStore(tmp_path / "state" / "store", reactor)
    account = await store.open_account("alice", create=True)
    writer = account.new_blob()
    await writer.write(b"Subject: one\r\n\r\n")
    blob_id = await writer.commit()
    await account.apply([Add((await account.mailboxes())[0].id, blob_id, 0)])
    await store.close()
    yield tmp_path


async def fsck(folder: Path, *arguments: str, code: int) -> tuple[str, str]:
    command = [sys.executable, "-W", "error", "-m", "twisted_mail_kit.cli", "fsck", *arguments]
    done = await deferToThread(subprocess.run, command, cwd=folder, capture_output=True, timeout=60, check=False)
    out, told = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, out + told
    assert "Traceback" not in told
    return out, told


def spoil(folder: Path) -> None:
    connection = sqlite3.connect(folder / "state" / "store" / "index.sqlite")
    connection.execute("UPDATE mailboxes SET total = 7")
    connection.commit()
    connection.close()


async def test_a_sound_store_ends_with_0(folder: Path) -> None:
    out, told = await fsck(folder, code=0)
    assert "1 messages" in out
    assert "the server is not running" in told
    found = json.loads((await fsck(folder, "--json", code=0))[0])
    assert found["problems"] == [] and found["counts"]["records"] == 1


async def test_what_is_wrong_ends_with_1_until_it_is_repaired(folder: Path) -> None:
    spoil(folder)
    out, _ = await fsck(folder, code=1)
    assert "alice: counts 7 messages" in out
    out, _ = await fsck(folder, "--repair", code=0)
    assert "the index as it was" in out
    await fsck(folder, code=0)


async def test_a_running_server_is_asked_and_its_store_is_not_repaired(folder: Path) -> None:
    spoil(folder)
    store = SQLiteStore(folder / "state" / "store", reactor)
    control = Control(folder / "state" / SOCKET, reactor, store_verbs(store, folder / "state"))
    control.start()
    try:
        out, told = await fsck(folder, code=1)
        assert "counts 7 messages" in out and not told
        _, told = await fsck(folder, "--repair", code=2)
        assert f"process {os.getpid()}" in told
        await fsck(folder, "--salvage", "saved", code=2)
        await fsck(folder, code=1)
    finally:
        await control.stop()
        await store.close()


async def test_no_server_can_be_started_while_one_repairs(folder: Path) -> None:
    lock = take_lock(folder / "state" / f"{SOCKET}.lock")
    try:
        _, told = await fsck(folder, "--repair", code=2)
        assert "end it first" in told
    finally:
        os.close(lock)


async def test_a_lost_index_points_to_salvage_which_saves_the_mail(folder: Path) -> None:
    index = folder / "state" / "store" / "index.sqlite"
    index.unlink()
    for more in ((), ("--repair",)):
        _, told = await fsck(folder, *more, code=2)
        assert str(index) in told and "--salvage" in told
    out, _ = await fsck(folder, "--salvage", "saved", code=0)
    assert "1 messages saved" in out
    (saved,) = (folder / "saved").iterdir()
    assert saved.read_bytes() == b"Subject: one\r\n\r\n"


async def test_where_there_is_no_store_it_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    _, told = await fsck(tmp_path, code=2)
    assert "there is no store here" in told
