"""Each page of the index, and each kind of place in a segment, is damaged in turn: what can be saved is saved."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor

from tests.damage.rooms import octets_of
from tests.stores.sqlite.conftest import blob
from tests.stores.sqlite.filled import SETTINGS, fill, read_all
from twisted_mail_kit.errors import MailError
from twisted_mail_kit.mail.operations import Add, Remove
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.backup import backup
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.repair import repair
from twisted_mail_kit.stores.sqlite.salvage import salvage

PAGE = 4096


async def fill_pages(root: Path) -> dict:
    """An index with tables, indexes, overflow pages (long summaries) and free pages (messages that are gone)."""
    chance = random.Random(3)
    store = SQLiteStore(root, reactor)
    for name in ("alice", "bob"):
        account = await store.open_account(name, create=True)
        box = (await account.mailboxes())[0].id
        for number in range(20):
            octets, summary = chance.randbytes(300), chance.randbytes(9000 if number % 4 == 0 else 300)
            await account.apply([Add(box, await blob(account, octets), 0, summary)], token=str(number))
        await account.apply([Remove(box, [1, 2, 3, 4, 5, 6, 7, 8])])
    kept, _ = await read_all(store)
    await store.close()
    return kept


def saved_in(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*.eml")}


async def test_whichever_page_of_the_index_is_damaged_no_message_is_lost(tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    kept = await fill_pages(sound)
    connection = sqlite3.connect(sound / "index.sqlite")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    roots = {page: name for name, page in connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage")}
    connection.close()
    assert free and pages >= 40
    chance, refused, whole = random.Random(9), [], 0
    for page in range(1, pages + 1):
        root = tmp_path / str(page)
        shutil.copytree(sound, root)
        with (root / "index.sqlite").open("r+b") as file:
            file.seek((page - 1) * PAGE + (100 if page == 1 else 0))
            file.write(chance.randbytes(200))
        before, what = octets_of(root), f"page {page} ({roots.get(page, 'a leaf, an overflow page, or a free one')})"
        try:
            found = check(root)
        except MailError as error:
            assert "index.sqlite" in str(error), what
        else:
            assert all("\n" not in line and "index.sqlite" in line for line in found.problems), what
            whole += not found.problems
        assert octets_of(root) == before, what
        try:
            mended = repair(root)
        except MailError as error:
            assert str(root / "index.sqlite") in str(error) and "\n" not in str(error), what
            assert (root / "index.sqlite").read_bytes() == before["index.sqlite"][1], what
            salvage(root, tmp_path / "saved" / str(page))
            assert set(kept.values()) <= saved_in(tmp_path / "saved" / str(page)), what
            refused.append(roots.get(page, page))
            shutil.rmtree(root)
            continue
        assert mended.counts.get("problems left", 0) == 0, what
        store = SQLiteStore(root, reactor)
        after, errors = await read_all(store)
        await store.close()
        assert not errors, what
        assert after.items() <= kept.items(), what
        assert set(kept.values()) <= set(after.values()) | saved_in(root / "lost+found"), what
        shutil.rmtree(root)
    # Without these nobody knows whose mail it is.
    assert set(refused) <= {1, "accounts", "mailboxes", "store", *range(2, 5)}, refused
    assert whole < pages / 2


@pytest.mark.parametrize(
    "how",
    [
        "length 0",
        "in a header",
        "between two records",
        "in the octets",
        "garbage after it",
        "another's",
        "a pipe",
        "a folder",
    ],
)
async def test_wherever_a_segment_is_cut_its_messages_alone_are_lost(tmp_path: Path, how: str) -> None:
    root = tmp_path / "store"
    kept = await fill(root)
    first, second, *_ = sorted((root / "segments").iterdir())
    whole = first.read_bytes()
    if how in ("a pipe", "a folder"):
        first.unlink()
        os.mkfifo(first) if how == "a pipe" else first.mkdir()
    elif how == "garbage after it":
        first.write_bytes(whole + b"TMKb" + os.urandom(1000))
    elif how == "another's":
        first.write_bytes(second.read_bytes())
    else:
        os.truncate(first, {"length 0": 0, "in a header": 738, "between two records": 728, "in the octets": 1000}[how])
    store = SQLiteStore(root, reactor, SETTINGS)
    after, errors = await read_all(store)
    await store.close()
    assert after.items() <= kept.items()
    assert len(after) + len(errors) == len(kept)
    assert bool(errors) == (how != "garbage after it")
    found = check(root)
    assert bool(found.problems) == bool(errors)
    assert all(str(first) in line and "mailkit fsck --repair" in line for line in found.problems)
    copied = backup(root, tmp_path / "backup")
    assert len([line for line in copied.problems if line.startswith("hurt: ")]) == len(errors)
    mended = repair(root)
    assert mended.counts.get("problems left", 0) == 0
    store = SQLiteStore(root, reactor, SETTINGS)
    assert await read_all(store) == (after, []), "what is not damaged is not lost"
    account = await store.open_account("alice")
    box = (await account.mailboxes())[0].id
    await account.apply([Add(box, await blob(account, b"and on it goes"), 0)])
    await store.close()
