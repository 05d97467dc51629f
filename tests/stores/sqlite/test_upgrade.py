"""A store of an older format opens with everything in it, or stays as it is."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.logger import capturedLogs

from twisted_mail_kit.errors import ConfigurationError, Unavailable
from twisted_mail_kit.interfaces import IAccount
from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore, fsck, schema
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.upgrade import STEPS, Step, upgrade

from .conftest import add, blob

HERE = Path(__file__).parent
KEPT = {version: json.loads((HERE / f"format{version}.json").read_text()) for version in (1, 2)}
"""Format -> what was in the store when its own program wrote it: files, and facts by account."""

DIES = """
import os, signal, sqlite3, sys
from pathlib import Path
from twisted_mail_kit.stores.sqlite.upgrade import STEPS, Step, upgrade
index, done = Path(sys.argv[1]), int(sys.argv[2])
connection = sqlite3.connect(index, isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # what is written goes to the disk, not only to memory
connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
(version,) = connection.execute("PRAGMA user_version").fetchone()
statements = [statement for step in STEPS if step.version > version for statement in step.statements][:done]
upgrade(connection, index, STEPS[-1].version, [Step(STEPS[-1].version, [*statements, "SELECT die()"])])
"""


@pytest.fixture(params=sorted(KEPT))
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def root(tmp_path: Path, version: int) -> Path:
    """A store of that format."""
    root = tmp_path / "store"
    root.mkdir(mode=0o700)
    for name, octets in KEPT[version]["files"].items():
        (root / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / name).write_bytes(octets.encode("latin-1"))
    with closing(sqlite3.connect(root / schema.INDEX, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((HERE / f"format{version}.sql").read_text())
        # Their tokens were written ten days ago at most: the time for which they count is not over.
        today = int(time.time()) // 86400
        connection.execute("UPDATE tokens SET day = ?", (today if version == 1 else today - today % 10,))
    return root


def format_of(root: Path) -> int:
    with closing(sqlite3.connect(root / schema.INDEX)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def contents(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / schema.INDEX)) as connection:
        return list(connection.iterdump())


async def facts(account: IAccount) -> dict[str, Any]:
    boxes = sorted(await account.mailboxes())
    messages = []
    for box in boxes:
        for row in await account.messages(box.id):
            octets = (await account.read_blob(row.blob_id, 0, 5000)).decode()
            messages.append([*row[:8], sorted(row.flags), *row[9:11], row.summary.hex(), octets])
    changes = await account.changes(0)
    told = {
        "state": await account.state(),
        "mailboxes": [list(box) for box in boxes],
        "messages": messages,
        "removed": [list(row) for row in changes.removed],
        "removed_mailboxes": list(changes.removed_mailboxes),
    }
    assert sorted(changes.messages) == sorted([row for box in boxes for row in await account.messages(box.id)])
    return json.loads(json.dumps(told))


async def test_everything_is_there_afterwards_and_the_log_says_so(root: Path, version: int) -> None:
    with capturedLogs() as captured:
        store = SQLiteStore(root, reactor, SQLiteSettings(blob_grace=1e12))
    told = [event["log_format"] for event in captured if event.get("new") == schema.VERSION]
    assert len(told) == 2 and "bringing" in told[0] and "now" in told[1]
    assert format_of(root) == schema.VERSION
    for name, kept in KEPT[version]["facts"].items():
        assert await facts(await store.open_account(name)) == kept
    await store.close()
    with capturedLogs() as captured:
        await SQLiteStore(root, reactor).close()
    assert not [event for event in captured if event.get("new") == schema.VERSION]


async def test_life_goes_on_where_it_stopped(root: Path) -> None:
    store = SQLiteStore(root, reactor, SQLiteSettings(blob_grace=1e12))
    account = await store.open_account("joe@example.org")
    inbox = next(box for box in await account.mailboxes() if box.role == "inbox")
    state = await account.state()
    emails = {row.email_id for box in await account.mailboxes() for row in await account.messages(box.id)}
    assert (await account.apply([Add(inbox.id, "never looked at", 0)], token="t3")).replayed
    assert await add(account, inbox.id, b"new") == inbox.uidnext
    (row,) = await account.messages(inbox.id, [inbox.uidnext])
    assert row.email_id not in emails
    assert row.modseq == row.created == state + 1
    shared = next(row for row in await account.messages(inbox.id) if row.blob_id.startswith("s"))
    assert (await account.apply([Add(inbox.id, shared.blob_id, 0)])).results[0].uid == inbox.uidnext + 1
    assert await blob(account, b"another") not in {row.blob_id for row in await account.messages(inbox.id)}
    await store.keep_house()  # the grave of format 1 is emptied too
    findings = await store.check()
    await store.close()
    assert findings.problems == ()


def tables(root: Path) -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(root / schema.INDEX)) as connection:
        found = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
        return {(*names, " ".join(sql.split())) for *names, sql in found}


async def test_its_tables_are_those_of_a_new_store(root: Path, tmp_path: Path) -> None:
    for path in (root, tmp_path / "new"):
        await SQLiteStore(path, reactor).close()
    assert tables(root) == tables(tmp_path / "new")


@pytest.mark.parametrize("done", range(sum(len(step.statements) for step in STEPS) + 1))
def test_killed_in_the_middle_it_is_as_it_was(root: Path, version: int, done: int) -> None:
    if done > sum(len(step.statements) for step in STEPS if step.version > version):
        return  # that many there are for an older one only
    before = contents(root)
    child = subprocess.run([sys.executable, "-c", DIES, str(root / schema.INDEX), str(done)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert (format_of(root), contents(root)) == (version, before)


async def test_killed_in_the_middle_the_next_start_does_it(root: Path, version: int) -> None:
    statements = str(len(STEPS[-1].statements))
    subprocess.run([sys.executable, "-c", DIES, str(root / schema.INDEX), statements], check=False)
    store = SQLiteStore(root, reactor, SQLiteSettings(blob_grace=1e12))
    for name, kept in KEPT[version]["facts"].items():
        assert await facts(await store.open_account(name)) == kept
    await store.close()


def test_a_full_disk_leaves_it_as_it_was_and_says_what_to_do(root: Path, version: int) -> None:
    before = contents(root)
    index = root / schema.INDEX
    steps = [*STEPS, Step(schema.VERSION + 1, ["CREATE TABLE one (more)", "CREATE TABLE another (more)"])]
    wanted = steps[-1].version
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        for more in range(2):
            connection.execute(f"PRAGMA max_page_count = {pages + more}")
            with pytest.raises(Unavailable, match="the disk is full: make room"):
                upgrade(connection, index, wanted, steps)
            assert not connection.in_transaction
            assert (format_of(root), contents(root)) == (version, before)
        connection.execute(f"PRAGMA max_page_count = {pages * 10}")
        upgrade(connection, index, wanted, steps)
    assert format_of(root) == wanted


def test_a_step_that_fails_leaves_it_as_it_was(root: Path, version: int) -> None:
    before = contents(root)
    index = root / schema.INDEX
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        steps = [Step(version + 1, ["DROP TABLE tokens", "SELECT nonsense"])]
        with pytest.raises(Unavailable, match="nothing was changed"):
            upgrade(connection, index, version + 1, steps)
    assert (format_of(root), contents(root)) == (version, before)


def test_steps_lead_to_this_programs_format_one_by_one() -> None:
    assert [step.version for step in STEPS] == list(range(2, schema.VERSION + 1))
    assert sorted(KEPT) == list(range(1, schema.VERSION))


def test_two_who_open_it_at_once_upgrade_it_once(root: Path, version: int) -> None:
    index = root / schema.INDEX
    script = (
        "import sys; from pathlib import Path; from twisted_mail_kit.stores.sqlite import schema;"
        "schema.open_writer(Path(sys.argv[1]), 30, 1 << 20).close()"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(index)]) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert format_of(root) == schema.VERSION


def test_a_check_says_that_it_is_old_and_changes_nothing(root: Path, version: int) -> None:
    with pytest.raises(Unavailable, match=f"format {version}: start the server once"):
        fsck.check(root, Files())
    assert format_of(root) == version


def test_a_newer_format_is_refused_by_the_check_too(root: Path) -> None:
    with closing(sqlite3.connect(root / schema.INDEX)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="99"):
        fsck.check(root, Files())
