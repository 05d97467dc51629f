"""A message that is damaged: a backup tells whose it is and takes all else; so does a restore that is asked to."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor

from tests.stores.sqlite.filled import SETTINGS, fill, read_all
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.backup import backup
from twisted_mail_kit.stores.sqlite.restore import restore


def flip(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 0x10
    path.write_bytes(octets)


FIRST = ("alice", ("INBOX",), 1)
COPY_OF_FIRST = ("alice", ("Sent",), 1)


async def restored(root: Path) -> dict:
    store = SQLiteStore(root, reactor, SETTINGS)
    kept, errors = await read_all(store)
    assert not errors
    await store.close()
    return kept


async def test_a_backup_tells_which_messages_are_hurt_and_takes_all_others(tmp_path: Path) -> None:
    kept = await fill(tmp_path / "store")
    segment = tmp_path / "store" / "segments" / "00000001.log"
    flip(segment, 28 + 300)
    for _ in range(2):  # the second copies nothing, and tells it too
        found = backup(tmp_path / "store", tmp_path / "backup")
        *hurt, advice = found.problems
        assert len(hurt) == found.counts["messages damaged"] == 2
        assert "account alice, mailbox INBOX, UID 1, of 2023-11-14" in hurt[0] and str(segment) in hurt[0]
        assert "account alice, mailbox Sent, UID 1" in hurt[1]
        assert "mailkit fsck" in advice
    with pytest.raises(Unavailable, match=r"the backup is damaged, nothing was restored.*--partial"):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    found = restore(tmp_path / "backup", tmp_path / "new", is_partial=True)
    assert sum(line.startswith("removed: account alice") for line in found.problems) == 2
    assert str(tmp_path / "new" / "lost+found") in "".join(found.problems)
    assert await restored(tmp_path / "new") == {
        key: octets for key, octets in kept.items() if key not in (FIRST, COPY_OF_FIRST)
    }


@pytest.mark.parametrize("how", ["cut", "missing", "large file cut", "large file missing"])
async def test_what_is_missing_does_not_stop_the_backup_of_all_else(tmp_path: Path, how: str) -> None:
    kept = await fill(tmp_path / "store")
    path = tmp_path / "store" / "segments" / "00000002.log"
    if "large" in how:
        path = sorted((tmp_path / "store").glob("large/*/*.blob"))[0]
    if "missing" in how:
        path.unlink()
    else:
        os.truncate(path, 1000)
    found = backup(tmp_path / "store", tmp_path / "backup")
    hurt = [line for line in found.problems if line.startswith("hurt: ")]
    assert hurt and all(str(path) in line for line in hurt)
    restore(tmp_path / "backup", tmp_path / "new", is_partial=True)
    after = await restored(tmp_path / "new")
    assert after.items() <= kept.items()
    assert len(after) == len(kept) - len(hurt)


async def test_what_an_earlier_backup_has_whole_stays_whole_in_it(tmp_path: Path) -> None:
    kept = await fill(tmp_path / "store")
    assert backup(tmp_path / "store", tmp_path / "backup").problems == ()
    for number, path in enumerate(sorted((tmp_path / "store" / "segments").iterdir())):
        if number:
            path.unlink()
        else:
            os.truncate(path, 100)
    for path in sorted((tmp_path / "store").glob("large/*/*.blob")):
        path.unlink()
    assert backup(tmp_path / "store", tmp_path / "backup").problems == (), "in the backup all is there"
    restore(tmp_path / "backup", tmp_path / "new")
    assert await restored(tmp_path / "new") == kept


async def test_a_damaged_index_never_takes_the_place_of_a_sound_one(tmp_path: Path) -> None:
    kept = await fill(tmp_path / "store")
    assert backup(tmp_path / "store", tmp_path / "backup").problems == ()
    index = tmp_path / "store" / "index.sqlite"
    connection = sqlite3.connect(index)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries_modseq'").fetchone()
    connection.close()
    with index.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    with pytest.raises(Unavailable, match=r"index\.sqlite.*the earlier backup is as it was: run mailkit fsck"):
        backup(tmp_path / "store", tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new")
    assert await restored(tmp_path / "new") == kept
    found = backup(tmp_path / "store", tmp_path / "another")
    assert "is damaged, and so is its copy" in found.problems[0]
    restore(tmp_path / "another", tmp_path / "newer", is_partial=True)
    assert await restored(tmp_path / "newer") == kept


async def test_a_backup_that_rots_is_found_when_it_is_restored(tmp_path: Path) -> None:
    kept = await fill(tmp_path / "store")
    assert backup(tmp_path / "store", tmp_path / "backup").problems == ()
    flip(tmp_path / "backup" / "segments" / "00000001.log", 28 + 300)
    with pytest.raises(Unavailable, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "new")
    restore(tmp_path / "backup", tmp_path / "new", is_partial=True)
    assert len(await restored(tmp_path / "new")) == len(kept) - 2
