"""A backup is the store as it was at one moment, whatever happens meanwhile; what is restored goes on from there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from twisted_mail_kit.errors import ConfigurationError, OverQuota, StateTooOld, Unavailable
from twisted_mail_kit.interfaces import IMaintenance
from twisted_mail_kit.mail.operations import Add, CreateMailbox, Remove
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore
from twisted_mail_kit.stores.sqlite.backup import backup
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.restore import restore
from twisted_mail_kit.testing.contracts.steps import snapshot

from .conftest import BadFiles, add, blob
from .filled import SETTINGS, fill, read_all


def changed(root: Path) -> dict[str, tuple[int, int]]:
    """What tells whether a file was written: its inode, and when."""
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


async def everything(root: Path) -> tuple[object, ...]:
    """All facts of both accounts, and all octets."""
    store = SQLiteStore(root, reactor, SETTINGS)
    try:
        facts = [await snapshot(await store.open_account(name)) for name in ("alice", "bob")]
        kept, errors = await read_all(store)
        assert not errors
        return (*facts, kept)
    finally:
        await store.close()


def copy_of(root: Path, to: Path) -> Path:
    """A backup, as a store that can be opened without its being restored."""
    shutil.copytree(root, to)
    return to


async def test_a_backup_is_the_store_to_the_octet(tmp_path: Path) -> None:
    root, copy = tmp_path / "store", tmp_path / "backup"
    kept = await fill(root)
    found = backup(root, copy)
    assert found.counts["accounts"] == 2
    assert check(copy).problems == ()
    assert (await everything(copy_of(copy, tmp_path / "opened"))) == await everything(root)
    assert found.counts["octets copied"] >= sum(len(octets) for octets in set(kept.values()))
    assert oct(copy.stat().st_mode)[-3:] == "700"


async def test_the_store_says_that_it_can(store: SQLiteStore, tmp_path: Path) -> None:
    assert IMaintenance.providedBy(store)
    account = await store.open_account("alice", create=True)
    await add(account, (await account.mailboxes())[0].id, b"x" * 1_300_000)
    assert (await store.backup(tmp_path / "backup")).counts["large files"] == 1
    assert check(tmp_path / "backup").problems == ()


async def test_only_what_is_new_is_copied(tmp_path: Path) -> None:
    root, copy = tmp_path / "store", tmp_path / "backup"
    await fill(root)
    backup(root, copy)
    before = changed(copy)
    again = backup(root, copy)
    index = (copy / "index.sqlite").stat().st_size
    assert (again.counts["files copied"], again.counts["octets copied"]) == (1, index)
    store = SQLiteStore(root, reactor, SQLiteSettings(small_message=4000))
    account = await store.open_account("alice")
    box = (await account.mailboxes())[0].id
    sizes = []
    for number in range(3):
        # The segment that grows is continued, not copied anew.
        await add(account, box, b"%d" % number * 500)
        sizes.append((await store.backup(copy)).counts["octets copied"] - (copy / "index.sqlite").stat().st_size)
    assert sizes == [528, 528, 528]
    await add(account, box, b"L" * 5000)
    assert (await store.backup(copy)).counts["files copied"] == 2
    await store.close()
    after = changed(copy)
    assert [name for name in before if after.get(name) != before[name]] == ["index.sqlite"]
    assert await everything(copy_of(copy, tmp_path / "opened")) == await everything(root)


async def test_what_is_gone_leaves_the_backup_too(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store", reactor, SQLiteSettings(segment_size=1000, blob_grace=-1.0))
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for number in range(6):
        await add(account, box, b"%d" % number * (1_300_000 if number == 3 else 900))
    await store.backup(tmp_path / "backup")
    assert len(list((tmp_path / "backup").rglob("*.log"))) == 3
    await account.apply([Remove(box, range(1, 6))])
    await deferLater(reactor, 1.1)
    await store.compact()
    await store.backup(tmp_path / "backup")
    assert len(list((tmp_path / "backup").rglob("*.log"))) == 1
    assert not list((tmp_path / "backup").rglob("*.blob"))
    await store.close()
    assert check(tmp_path / "backup").problems == ()


async def test_a_backup_is_one_moment_while_mail_comes_and_goes(tmp_path: Path) -> None:
    settings = SQLiteSettings(segment_size=5000, small_message=2000, blob_grace=-1.0, compact_share=0.1)
    store = SQLiteStore(tmp_path / "store", reactor, settings)
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    # One apply adds one to each: whatever the moment, both have the same.
    other = (await account.apply([CreateMailbox(("Twin",))])).results[0].id
    is_over = False
    states: list[int] = []

    async def live(number: int) -> None:
        count = 0
        while not is_over:
            count += 1
            octets = b"%d/%d " % (number, count) * (400 if count % 7 == 0 else 40)
            one = await blob(account, octets)
            applied = await account.apply([Add(box, one, 0), Add(other, one, 0)])
            if count % 3 == 0:
                uids = [result.uid for result in applied.results]
                await account.apply([Remove(box, uids[:1]), Remove(other, uids[1:])])
                await store.keep_house()

    lives = [Deferred.fromCoroutine(live(number)) for number in range(4)]
    compactions = []
    for number in range(8):
        await deferLater(reactor, 0.03)
        compactions.append(Deferred.fromCoroutine(store.compact()))
        least = await account.state()
        await store.backup(tmp_path / "backup")
        most = await account.state()
        assert check(tmp_path / "backup").problems == ()
        copy = SQLiteStore(copy_of(tmp_path / "backup", tmp_path / f"copy{number}"), reactor, settings)
        there = await copy.open_account("alice")
        states.append(await there.state())
        assert least <= states[-1] <= most
        one, twin = await there.messages(box, limit=100_000), await there.messages(other, limit=100_000)
        assert [row.blob_id for row in one] == [row.blob_id for row in twin]
        for row in one:
            octets = await there.read_blob(row.blob_id, 0, row.size)
            assert len(octets) == row.size and len(set(octets.split())) == 1
        await copy.close()
    is_over = True
    await gatherResults([*lives, *compactions])
    await store.close()
    assert states == sorted(set(states))
    assert check(tmp_path / "store").problems == ()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_a_disk_that_fails_leaves_the_earlier_backup_whole(tmp_path: Path, number: int) -> None:
    root, copy = tmp_path / "store", tmp_path / "backup"
    await fill(root)
    backup(root, copy)
    earlier = await everything(copy_of(copy, tmp_path / "earlier"))
    store = SQLiteStore(root, reactor, SETTINGS)
    account = await store.open_account("alice")
    for count in range(12):
        await add(account, (await account.mailboxes())[0].id, b"%d" % count * (5000 if count % 5 == 2 else 700))
    await store.close()
    at = 0
    while True:
        files = BadFiles()
        files.fail_at, files.failures, files.errno = at, 1, number
        try:
            backup(root, copy, files)
        except (OverQuota, Unavailable) as error:
            assert isinstance(error, OverQuota) == (number == errno.ENOSPC)
            assert str(tmp_path) in str(error)
        else:
            break
        assert check(copy).problems == ()
        assert not list(copy.rglob("*.part"))
        if at % 5 == 0:
            assert await everything(copy_of(copy, tmp_path / f"after{at}")) == earlier
        at += 1
    assert at > 8
    assert await everything(copy_of(copy, tmp_path / "later")) == await everything(root)


KILLED = """
import os, sys
from pathlib import Path
from twisted_mail_kit.stores.sqlite.backup import backup
from twisted_mail_kit.stores.sqlite.files import Files

class Killed(Files):
    left = int(sys.argv[3])
    def write(self, fd, octets, offset):
        self.left -= 1
        if not self.left:
            super().write(fd, octets[:len(octets) // 2], offset)
            os.kill(os.getpid(), 9)
        return super().write(fd, octets, offset)
    def sync(self, fd):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), 9)
        return super().sync(fd)

backup(Path(sys.argv[1]), Path(sys.argv[2]), Killed())
"""


async def test_a_backup_that_is_killed_leaves_the_earlier_one_whole(tmp_path: Path) -> None:
    root, copy = tmp_path / "store", tmp_path / "backup"
    await fill(root)
    backup(root, copy)
    earlier = await everything(copy_of(copy, tmp_path / "earlier"))
    store = SQLiteStore(root, reactor, SQLiteSettings(small_message=4000))
    account = await store.open_account("bob")
    for count in range(4):
        await add(account, (await account.mailboxes())[0].id, b"%d" % count * 5000)
    await store.close()
    for at in (1, 2, 3, 4, 7):
        done = subprocess.run([sys.executable, "-c", KILLED, root, copy, str(at)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert check(copy).problems == ()
        assert await everything(copy_of(copy, tmp_path / f"after{at}")) == earlier
    backup(root, copy)
    assert await everything(copy_of(copy, tmp_path / "later")) == await everything(root)
    assert not list(copy.rglob("*.part*"))


async def test_what_a_power_cut_has_left_of_a_backup_is_not_trusted(tmp_path: Path) -> None:
    root, copy = tmp_path / "store", tmp_path / "backup"
    store = SQLiteStore(root, reactor)
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"one" * 100)
    await store.backup(copy)
    await add(account, box, b"two" * 100)
    # As after a backup that had come to continue the segment, but not to sync it.
    (segment,) = (root / "segments").iterdir()
    os.truncate(copy / "segments" / segment.name, segment.stat().st_size)
    await store.backup(copy)
    await store.close()
    assert check(copy).problems == ()


async def test_a_directory_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "store"
    await fill(root, 8)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not a backup"):
        backup(root, tmp_path / "letters")
    await fill(tmp_path / "other", 8)
    backup(tmp_path / "other", tmp_path / "backup")
    before = changed(tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="another store"):
        backup(root, tmp_path / "backup")
    assert changed(tmp_path / "backup") == before
    for inside in (root, root / "backup", tmp_path):
        with pytest.raises(ConfigurationError, match="outside"):
            backup(root, inside)


async def test_a_store_that_was_set_back_does_not_mix_with_its_backup(tmp_path: Path) -> None:
    root, back, copy = tmp_path / "store", tmp_path / "back", tmp_path / "backup"
    await fill(root, 8)
    shutil.copytree(root, back)  # as a disk's snapshot does it
    for place, letter in ((root, b"a"), (back, b"b")):
        store = SQLiteStore(place, reactor)
        account = await store.open_account("alice")
        await add(account, (await account.mailboxes())[0].id, letter * 500)
        await store.close()
    backup(root, copy)
    with pytest.raises(ConfigurationError, match="other octets"):
        backup(back, copy)
    assert check(copy).problems == ()


async def test_a_missing_segment_is_told_and_copied_when_it_is_there_again(tmp_path: Path) -> None:
    root, copy = tmp_path / "store", tmp_path / "backup"
    await fill(root)
    path = sorted((root / "segments").iterdir())[1]
    path.rename(tmp_path / "away")
    hurt = [line for line in backup(root, copy).problems if line.startswith("hurt: ")]
    assert hurt and all("00000002.log" in line for line in hurt)
    with pytest.raises(Unavailable, match="damaged, nothing was restored"):
        restore(copy, tmp_path / "restored")
    (tmp_path / "away").rename(path)
    assert backup(root, copy).problems == ()
    assert await everything(copy_of(copy, tmp_path / "opened")) == await everything(root)


# --- restore ---------------------------------------------------------------------------------------------------------


async def test_what_is_restored_has_every_message_to_the_octet(tmp_path: Path) -> None:
    root = tmp_path / "store"
    kept = await fill(root)
    backup(root, tmp_path / "backup")
    shutil.rmtree(root)
    found = restore(tmp_path / "backup", root)
    assert (found.counts["accounts"], found.counts["messages"]) == (2, len(kept))
    assert sorted(path.name for path in root.iterdir()) == ["index.sqlite", "large", "segments"]
    assert check(root).problems == ()
    store = SQLiteStore(root, reactor, SETTINGS)
    assert await read_all(store) == (kept, [])
    account = await store.open_account("alice")
    await add(account, (await account.mailboxes())[0].id, b"and on it goes")
    await store.close()
    assert check(root).problems == ()
    # It goes another way than the store that was backed up, so it is another one.
    with pytest.raises(ConfigurationError, match="before it was restored"):
        backup(root, tmp_path / "backup")


async def test_nothing_that_was_given_out_after_the_backup_is_given_out_again(tmp_path: Path) -> None:
    root = tmp_path / "store"
    await fill(root)
    backup(root, tmp_path / "backup")

    async def live(root: Path) -> tuple[set[object], int, int]:
        """What a mail program gets to see; the modseqs before and after."""
        store = SQLiteStore(root, reactor, SETTINGS)
        account = await store.open_account("alice")
        before = await account.state()
        box = next(box for box in await account.mailboxes() if box.role == "inbox")
        new = (await account.apply([CreateMailbox(("New",))])).results[0]
        added = [(await account.apply([Add(box.id, await blob(account, b"x"), 0)])).results[0] for _ in range(3)]
        stranger = await store.open_account("carol", create=True)
        theirs = (await stranger.mailboxes())[0]
        mail = (await stranger.apply([Add(theirs.id, await blob(stranger, b"y"), 0)])).results[0]
        rows = await account.messages(box.id, [one.uid for one in added])
        seen: set[object] = {new.id, theirs.id, mail.email_id, new.uidvalidity, theirs.uidvalidity}
        for one, row in zip(added, rows, strict=True):
            seen |= {(box.name, one.uidvalidity, one.uid), one.email_id, row.blob_id, row.modseq, row.thread_id}
        after = await account.state()
        await store.close()
        return seen, before, after

    seen, before, after = await live(root)
    shutil.rmtree(root)
    restore(tmp_path / "backup", root)
    store = SQLiteStore(root, reactor, SETTINGS)
    account = await store.open_account("alice")
    assert await account.state() > after
    for since in (0, before, after):
        with pytest.raises(StateTooOld):
            await account.changes(since)
    validities = [box.uidvalidity for box in await account.mailboxes()]
    assert len(set(validities)) == len(validities)
    await store.close()
    again, _, _ = await live(root)
    assert not seen & again
    assert check(root).problems == ()


async def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    await fill(tmp_path / "store")
    backup(tmp_path / "store", tmp_path / "backup")
    path = sorted((tmp_path / "backup" / "segments").iterdir())[0]
    octets = bytearray(path.read_bytes())
    octets[300] ^= 1
    path.write_bytes(octets)
    with pytest.raises(Unavailable, match=r"damaged, nothing was restored.*00000001\.log"):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


async def test_nothing_is_restored_on_top_of_something(tmp_path: Path) -> None:
    await fill(tmp_path / "store", 8)
    backup(tmp_path / "store", tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="not empty"):
        restore(tmp_path / "backup", tmp_path / "store")
    with pytest.raises(ConfigurationError, match="no backup"):
        restore(tmp_path / "store", tmp_path / "restored")
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backup", tmp_path / "empty")
    assert check(tmp_path / "empty").problems == ()


async def test_a_full_disk_leaves_nothing_half_restored(tmp_path: Path) -> None:
    await fill(tmp_path / "store", 8)
    backup(tmp_path / "store", tmp_path / "backup")
    for at in (1, 4, 6):
        files = BadFiles()
        files.fail_at, files.failures = at, 1
        with pytest.raises(OverQuota, match="nothing was restored"):
            restore(tmp_path / "backup", tmp_path / "restored", files)
        assert sorted(one.name for one in tmp_path.iterdir()) == ["backup", "store"]
    restore(tmp_path / "backup", tmp_path / "restored")


async def test_a_backup_of_an_older_format_is_brought_to_todays(tmp_path: Path) -> None:
    here, copy = Path(__file__).parent, tmp_path / "backup"
    for name, octets in {**json.loads((here / "format1.json").read_text())["files"], "backup-of": "00"}.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(octets.encode("latin-1"))
    with closing(sqlite3.connect(copy / "index.sqlite")) as index:
        index.executescript((here / "format1.sql").read_text())
    before = changed(copy)
    restore(copy, tmp_path / "restored")
    assert changed(copy) == before
    assert check(tmp_path / "restored").problems == ()
    (segment, *_) = sorted((copy / "segments").iterdir())
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    with pytest.raises(Unavailable, match="damaged, nothing was restored"):
        restore(copy, tmp_path / "again")
    assert not (tmp_path / "again").exists()
