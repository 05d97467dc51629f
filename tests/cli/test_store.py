"""`mailkit store`, as an operator types it: with a running server, and without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.cli.commands import mailkit
from twisted_mail_kit.control.place import SOCKET
from twisted_mail_kit.control.server import Control
from twisted_mail_kit.control.store_verbs import store_verbs
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.operations import Add, Remove
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore

CONFIGURATION = 'hostname = "mx.example.org"\nstate = "state"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n'
AT_ONCE = SQLiteSettings(blob_grace=-1.0, segment_size=10_000)


@pytest_twisted.async_yield_fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A configuration, and a store with 20 messages of 1,000 octets and a large one; nine tenths are removed."""
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    (tmp_path / "state").mkdir()
    store = SQLiteStore(tmp_path / "state" / "store", reactor, AT_ONCE)
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for size in (*[1000] * 20, 1_300_000):
        writer = account.new_blob()
        await writer.write(b"x" * size)
        await account.apply([Add(box, await writer.commit(), 0)])
    await account.apply([Remove(box, [uid for uid in range(1, 21) if uid % 10])])
    await store.close()
    yield tmp_path


async def test_what_the_store_holds(folder: Path) -> None:
    out, told = await mailkit(folder, "store", "show", "--json")
    assert "the server is not running" in told
    counts = json.loads(out)["counts"]
    assert (counts["accounts"], counts["mailboxes"], counts["messages"]) == (1, 1, 3)
    assert counts["message octets"] == 1_302_000
    assert counts["segment octets"] == 20 * 1028
    assert counts["segment octets live"] + counts["segment octets dead"] == counts["segment octets"]
    assert counts["large files"] == 1
    assert counts["format"] >= 2 and counts["index octets"] > 4096
    out, _ = await mailkit(folder, "store", "show")
    assert "302,000 message octets" in out


async def test_a_running_server_is_asked(folder: Path) -> None:
    store = SQLiteStore(folder / "state" / "store", reactor, AT_ONCE)
    control = Control(folder / "state" / SOCKET, reactor, store_verbs(store, folder / "state"))
    control.start()
    try:
        before, told = await mailkit(folder, "store", "show", "--json")
        assert not told
        out, _ = await mailkit(folder, "store", "compact", "--json")
        assert json.loads(out)["counts"]["octets freed"] == 20 * 1028
        assert json.loads(out)["problems"] == []
        after, _ = await mailkit(folder, "store", "show", "--json")
        octets = [json.loads(text)["counts"]["segment octets"] for text in (before, after)]
        assert octets == [20 * 1028, 2 * 1028]
        account = await store.open_account("alice")
        rows = await account.messages((await account.mailboxes())[0].id)
        assert [len(await account.read_blob(row.blob_id, 0, row.size)) for row in rows] == [1000, 1000, 1_300_000]
    finally:
        await control.stop()
        await store.close()


async def test_without_a_server_the_files_are_compacted(folder: Path) -> None:
    out, told = await mailkit(folder, "store", "compact")
    assert "the server is not running" in told
    assert "octets freed" in out  # nothing yet: the grace time of an hour is not over


async def test_a_store_that_knows_nothing_of_it_says_so(tmp_path: Path) -> None:
    verbs = store_verbs(MemoryStore(reactor), tmp_path)
    for name, arguments in (("show", ()), ("compact", ()), ("backup", (str(tmp_path / "backup"),))):
        with pytest.raises(Unavailable, match="plugin does not know how"):
            await verbs[f"store.{name}"](*arguments)


async def test_where_there_is_no_store_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    for verb in ("show", "compact"):
        _, told = await mailkit(tmp_path, "store", verb, code=1)
        assert "there is no store here" in told
