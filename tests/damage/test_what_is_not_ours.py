"""Directories that are somebody else's, or cannot be used: one clear line, and not an octet of them is changed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.damage.rooms import ROOMS, Room, octets_of
from twisted_mail_kit.errors import ConfigurationError, MailError, Unavailable

pytestmark = pytest.mark.parametrize("room", ROOMS, ids=[room.name for room in ROOMS])


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    """A pipe that nobody writes to would be waited for until the end of time."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def maildir(root: Path, room: Room) -> str:
    for folder in ("cur", "new", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "cur" / "1.mx.S=3:2,S").write_text("abc")
    return "cur is in it"


def git(root: Path, room: Room) -> str:
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "README").write_text("mine")
    return "README is in it"


def another_database(root: Path, room: Room) -> str:
    root.mkdir()
    connection = sqlite3.connect(root / room.database, isolation_level=None)
    connection.execute("CREATE TABLE precious (what)")
    connection.execute("INSERT INTO precious VALUES ('x')")
    connection.close()
    return "database of another program"


def another_database_in_use(root: Path, room: Room) -> str:
    """Its last commits are still in its log: to open it would be to write them into the database."""
    beside = root.with_name("beside")
    beside.mkdir()
    connection = sqlite3.connect(beside / room.database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE precious (what)")
    connection.execute("INSERT INTO precious VALUES ('x')")
    shutil.copytree(beside, root)
    connection.close()
    return "database of another program"


def the_other_room(root: Path, room: Room) -> str:
    root.mkdir()
    connection = sqlite3.connect(root / room.database, isolation_level=None)
    connection.execute("PRAGMA application_id = 1")
    connection.execute("CREATE TABLE precious (what)")
    connection.close()
    return "database of another program"


def text(root: Path, room: Room) -> str:
    root.mkdir()
    (root / room.database).write_text("Dear diary, " * 1000)
    return "not a database"


def empty_among_others(root: Path, room: Room) -> str:
    root.mkdir()
    (root / room.database).touch()
    (root / "letters").mkdir()
    return "letters is in it"


def directory(root: Path, room: Room) -> str:
    (root / room.database).mkdir(parents=True)
    return "no file"


def link_to_nowhere(root: Path, room: Room) -> str:
    root.mkdir()
    (root / room.database).symlink_to("/nowhere/at/all")
    return "a link to /nowhere/at/all"


def pipe(root: Path, room: Room) -> str:
    root.mkdir()
    os.mkfifo(root / room.database)
    return "no file"


def root_is_a_file(root: Path, room: Room) -> str:
    root.write_text("mine")
    return "no folder"


def root_is_a_pipe(root: Path, room: Room) -> str:
    os.mkfifo(root)
    return "no folder"


def root_is_a_link_to_nowhere(root: Path, room: Room) -> str:
    root.symlink_to("/nowhere/at/all")
    return "a link to /nowhere/at/all"


STRANGERS = (
    maildir,
    git,
    another_database,
    another_database_in_use,
    the_other_room,
    text,
    empty_among_others,
    directory,
    link_to_nowhere,
    pipe,
    root_is_a_file,
    root_is_a_pipe,
    root_is_a_link_to_nowhere,
)


@pytest.mark.parametrize("stranger", STRANGERS, ids=[one.__name__ for one in STRANGERS])
def test_what_is_not_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, room: Room, stranger: Callable[[Path, Room], str]
) -> None:
    root = tmp_path / room.name
    says = stranger(root, room)
    before = octets_of(tmp_path)
    for _ in range(2):
        with pytest.raises((ConfigurationError, Unavailable)) as told:
            room.open(root)
        assert str(root) in str(told.value) and says in str(told.value)
        assert "\n" not in str(told.value)
        assert octets_of(tmp_path) == before


async def test_a_newer_format_is_refused_whole_also_where_its_log_is_not_empty(tmp_path: Path, room: Room) -> None:
    await room.fill(tmp_path / "first")
    held = room.open(tmp_path / "first")
    connection = sqlite3.connect(tmp_path / "first" / room.database, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    root = tmp_path / room.name
    shutil.copytree(tmp_path / "first", root)
    connection.close()
    await held.close()
    assert (root / f"{room.database}-wal").stat().st_size
    before = octets_of(root)
    with pytest.raises(ConfigurationError, match=r"format 99 is newer.*: run the newer program"):
        room.open(root)
    assert octets_of(root) == before


@pytest.mark.parametrize("how", ["missing", "empty"])
async def test_a_database_that_is_lost_is_not_begun_anew_on_top_of_the_mail(
    tmp_path: Path, room: Room, how: str
) -> None:
    root = tmp_path / room.name
    await room.fill(root)
    (root / room.database).unlink()
    if how == "empty":
        (root / room.database).touch()
    before = octets_of(root)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"missing or empty.*mailkit restore.*mailkit fsck --salvage"):
            room.open(root)
        assert octets_of(root) == before


def as_nobody(action: Callable[[], None]) -> str:
    """What a user without rights is told by `action`, in a process of his own."""
    here, there = os.pipe()
    pid = os.fork()
    if not pid:
        said = "nothing"
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            action()
        except MailError as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        os.write(there, said.encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may do less")
@pytest.mark.parametrize(("what", "mode"), [("", 0o500), ("", 0o000), ("database", 0o400), ("database", 0o000)])
async def test_rights_that_were_taken_away_are_told_with_the_name_of_the_file(room: Room, what: str, mode: int) -> None:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="mailkit-rights-", dir="/tmp"))  # pytest's own is root's alone
    try:
        root = folder / room.name
        await room.fill(root)
        for path in (folder, root, *root.rglob("*")):
            os.chown(path, 65534, 65534)
        before = octets_of(root)
        path = root / room.database if what else root
        was = path.stat().st_mode & 0o777
        path.chmod(mode)
        said = as_nobody(lambda: room.open(root))
        assert str(root) in said, said
        assert "may not" in said or "denied" in said, said
        path.chmod(was)
        assert octets_of(root) == before
    finally:
        shutil.rmtree(folder)
