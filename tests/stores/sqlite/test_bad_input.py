"""Directories that are damaged, or somebody else's: clear words, nothing made worse, all else is served."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs

from twisted_mail_kit.errors import BlobNotFound, ConfigurationError, MailError, Unavailable
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.repair import repair

from .conftest import add
from .filled import SETTINGS, fill, read_all


def segments(root: Path) -> list[Path]:
    return sorted((root / "segments").iterdir())


@pytest.mark.parametrize("how", ["missing", "empty"])
async def test_a_lost_index_is_never_taken_for_a_new_store(tmp_path: Path, how: str) -> None:
    await fill(tmp_path, 8)
    index = tmp_path / "index.sqlite"
    index.unlink()
    if how == "empty":
        index.touch()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"index\.sqlite.*mailkit restore.*--salvage"):
            SQLiteStore(tmp_path, reactor)
        assert index.exists() == (how == "empty")
        assert not index.exists() or not index.stat().st_size


def test_a_directory_that_may_not_be_written_to_is_told_at_the_start(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody who may not write")
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001:
            break  # from here up everybody may look in
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        with pytest.raises(Unavailable, match=r"store: .*may not write"):
            SQLiteStore(root, reactor)
    except PermissionError:
        pytest.skip("nobody may not even look here")
    finally:
        os.seteuid(0)
    assert not list(root.iterdir())


@pytest.mark.parametrize("how", ["end", "middle", "header", "missing", "another file's"])
async def test_a_segment_that_is_cut_costs_its_own_messages_only(tmp_path: Path, how: str) -> None:
    kept = await fill(tmp_path)
    first, *others = segments(tmp_path)
    if how == "missing":
        first.unlink()
    elif how == "another file's":
        first.write_bytes(others[0].read_bytes())
    else:
        os.truncate(first, {"end": first.stat().st_size - 1, "middle": 2000, "header": 728 * 3 + 10}[how])
    with capturedLogs() as captured:
        store = SQLiteStore(tmp_path, reactor, SETTINGS)
    critical = [event for event in captured if event["log_level"] is LogLevel.critical]
    if how != "another file's":  # which has the right length
        (event,) = critical
        assert event["first"].startswith(str(first))
    after, errors = await read_all(store)
    assert errors and all(isinstance(error, BlobNotFound | Unavailable) for error in errors)
    assert after.items() <= kept.items()
    assert len(after) + len(errors) == len(kept)
    account = await store.open_account("alice")
    assert await add(account, (await account.mailboxes())[0].id, b"more") == 25
    await store.close()
    assert check(tmp_path).problems
    assert repair(tmp_path).counts["problems left"] == 0
    store = SQLiteStore(tmp_path, reactor)
    repaired, errors = await read_all(store)
    assert not errors
    assert after.items() <= repaired.items()
    await store.close()


async def test_a_flipped_bit_is_told_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    await fill(tmp_path, 8)
    path = segments(tmp_path)[0]
    octets = bytearray(path.read_bytes())
    octets[100] ^= 1
    path.write_bytes(octets)
    store = SQLiteStore(tmp_path, reactor)
    _, errors = await read_all(store)
    assert errors
    assert all(str(path) in str(error) and "mailkit fsck" in str(error) for error in errors)
    await store.close()


async def test_a_log_that_is_cut_or_gone_and_stale_memory_do_not_matter(tmp_path: Path) -> None:
    kept = await fill(tmp_path, 8)
    (tmp_path / "index.sqlite-shm").write_bytes(b"stale" * 1000)
    (tmp_path / "index.sqlite-wal").write_bytes(b"\x37\x7f\x06\x82 torn")
    store = SQLiteStore(tmp_path, reactor)
    assert await read_all(store) == (kept, [])
    await store.close()
    assert check(tmp_path).problems == ()


def test_twistd_says_one_line_and_ends(tmp_path: Path) -> None:
    store = tmp_path / "state" / "store"
    store.mkdir(parents=True)
    (store / "cur").mkdir()
    (tmp_path / "mailkit.toml").write_text(
        'hostname = "mx.example.org"\nstate = "state"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n'
    )
    command = [sys.executable, "-m", "twisted", "mailkit", "--config", "mailkit.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode
    assert "Traceback" not in said
    assert "not a mail store, cur is in it" in said
    assert [path.name for path in store.iterdir()] == ["cur"]


async def damage_and_look(root: Path, kept: dict, chance: random.Random) -> None:
    """Change one place, open, read all, check, repair: what is answered is right, or an error."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    path = chance.choice(files)
    octets = bytearray(path.read_bytes())
    is_index = path.name == "index.sqlite"
    if not is_index and chance.random() < 0.3:
        del octets[chance.randrange(len(octets)) :]
    else:
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    path.write_bytes(octets)
    what = f"{path}"
    wrong = 0
    try:
        store = SQLiteStore(root, reactor, SETTINGS)
    except MailError as error:
        assert "index.sqlite" in str(error) and is_index, what
    else:
        after, errors = await read_all(store)
        wrong = len(kept) - len(after.items() & kept.items())
        if not is_index:
            assert after.items() <= kept.items(), what
            assert len(after) + len(errors) == len(kept), what
        else:
            # SQLite has no checksums: a number may be another one. Octets are right, or an error.
            assert set(after.values()) <= set(kept.values()), what
        await store.close()
    try:
        found = await deferToThread(check, root)
    except MailError:
        assert is_index, what
        return
    if not is_index:
        # Damage in octets of a removed message, which may still be read for an hour, is told as well.
        assert found.problems or not wrong, what
    try:
        await deferToThread(repair, root)
    except MailError as error:
        assert is_index and "index.sqlite" in str(error), what
        return
    assert (await deferToThread(check, root)).problems == (), what
    store = SQLiteStore(root, reactor, SETTINGS)
    repaired, errors = await read_all(store)
    assert not errors, what
    if not is_index:
        assert len(kept) - len(repaired) == wrong, "what is not damaged is not lost"
        assert repaired.items() <= kept.items(), what
    account = await store.open_account("carol", create=True)
    await add(account, (await account.mailboxes())[0].id, b"new mail")
    await store.close()


async def test_random_damage_is_an_error_or_nothing_and_never_another_answer(tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    kept = await fill(sound, 12)
    for seed in range(60):
        root = tmp_path / str(seed)
        shutil.copytree(sound, root)
        await ensureDeferred(damage_and_look(root, kept, random.Random(seed)))
        shutil.rmtree(root)


async def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    await fill(tmp_path, 8)
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "index.sqlite").read_bytes()
    with pytest.raises(ConfigurationError, match="format 99 is newer"):
        SQLiteStore(tmp_path, reactor)
    with pytest.raises(ConfigurationError, match="format 99"):
        repair(tmp_path)
    assert (tmp_path / "index.sqlite").read_bytes() == before
