"""Whole servers on damaged, foreign, full and read-only state folders, and two on one: what the operator reads."""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.damage.rooms import octets_of
from tests.interop.server import Server

pytestmark = pytest.mark.interop

CONFIGURATION = """
hostname = "mx.example.org"
domains = ["example.org"]
state = "{state}"
{more}
[[listen]]
service = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
"""
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server.configured(tmp_path, CONFIGURATION.format(state="state", more=""))
    yield server
    server.kill()


def send(server: Server, text: str = "x") -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        client.sendmail("ann@example.net", ["joe@example.org"], f"Subject: {text}\r\n\r\nx\r\n")


def refusal(server: Server) -> tuple[int, str]:
    """(exit code, what it said) of a start that comes to nothing."""
    command = [*server.prefix, *TWISTD, "-n", "--pidfile=", "mailkit", *server.arguments]
    done = subprocess.run(command, cwd=server.folder, capture_output=True, timeout=60, check=False)
    assert "Traceback" not in done.stdout.decode(), done.stdout.decode()
    return done.returncode, done.stderr.decode()


def mailkit(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*server.prefix, sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(server.folder / "mailkit.toml")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def messages(server: Server) -> int:
    shown = mailkit(server, "store", "show", "--json")
    assert not shown.returncode, shown.stderr
    import json

    return int(json.loads(shown.stdout)["counts"]["messages"])


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """State folders with five messages: of a server that was killed, and of one that came to its end."""
    server = Server.configured(tmp_path_factory.mktemp("states"), CONFIGURATION.format(state="state", more=""))
    server.start()
    for number in range(5):
        send(server, str(number))
    server.kill()
    shutil.copytree(server.folder / "state", server.folder / "killed", ignore=shutil.ignore_patterns("*.socket"))
    server.start()
    server.stop()
    return {"killed": server.folder / "killed", "ended": server.folder / "state"}


def flip(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 0x10
    path.write_bytes(octets)


def log_in_the_middle(state: Path) -> str:
    log = state / "store" / "index.sqlite-wal"
    flip(log, 32 + 20 * (24 + 4096) + 2000)
    return str(log)


def first_page(state: Path) -> str:
    index = state / "store" / "index.sqlite"
    flip(index, 5)
    return str(index)


def schema_page(state: Path) -> str:
    """After a clean end: all is in the index."""
    index = state / "store" / "index.sqlite"
    with index.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 300)
    return str(index)


def queue_of_another(state: Path) -> str:
    path = state / "queue" / "queue.sqlite"
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    return str(path)


def newer(state: Path) -> str:
    path = state / "store" / "index.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 77")
    connection.close()
    return str(path)


def lock_is_a_folder(state: Path) -> str:
    path = state / "control.socket.lock"
    path.unlink()
    path.mkdir()
    return str(path)


@pytest.mark.parametrize(
    ("damage", "end", "cure"),
    [
        (log_in_the_middle, "killed", "--repair"),
        (first_page, "ended", ""),
        (schema_page, "ended", ""),
        (queue_of_another, "ended", ""),
        (newer, "ended", ""),
        (lock_is_a_folder, "ended", ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_damaged_state_is_refused_in_one_line_and_left_as_it_is(
    server: Server, states: dict[str, Path], damage: Callable[[Path], str], end: str, cure: str
) -> None:
    state = server.folder / "state"
    shutil.rmtree(state)
    shutil.copytree(states[end], state)
    named = damage(state)
    hurt = Path(named).parent  # the other room is sound, and may have been opened before
    before = octets_of(hurt)
    code, said = refusal(server)
    assert code == 1
    assert named in said and said.count("\n") == 1, said
    assert octets_of(hurt) == before
    if cure:
        found = mailkit(server, "fsck")
        assert found.returncode == 1 and named in found.stdout
        mended = mailkit(server, "fsck", cure)
        assert not mended.returncode, mended.stdout + mended.stderr
        server.start()
        send(server, "and on it goes")
        assert messages(server) >= 5
        assert not mailkit(server, "fsck").returncode


def test_a_segment_that_is_damaged_costs_its_message_alone_and_is_told(server: Server, states: dict[str, Path]) -> None:
    state = server.folder / "state"
    shutil.rmtree(state)
    shutil.copytree(states["killed"], state)
    (segment,) = (state / "store" / "segments").iterdir()
    flip(segment, 28 + 200)
    server.start()
    send(server)
    found = mailkit(server, "fsck")
    assert found.returncode == 1 and str(segment) in found.stdout and "joe@example.org" in found.stdout
    copied = mailkit(server, "backup", str(server.folder / "backup"))
    assert copied.returncode == 1 and "hurt: account joe@example.org, mailbox INBOX, UID 1" in copied.stderr
    server.stop()
    assert not mailkit(server, "fsck", "--repair").returncode
    server.start()
    assert messages(server) == 5
    server.stop()
    back = mailkit(server, "restore", str(server.folder / "backup"), "--to", str(server.folder / "new"))
    assert back.returncode == 1 and "--partial" in back.stderr
    back = mailkit(server, "restore", str(server.folder / "backup"), "--to", str(server.folder / "new"), "--partial")
    assert back.returncode == 1 and "removed: account joe@example.org" in back.stderr
    (server.folder / "state").rename(server.folder / "old")
    (server.folder / "new").rename(server.folder / "state")
    server.start()
    assert messages(server) == 5


# --- two servers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "workers = 1"])
def test_a_second_server_is_refused_and_the_first_goes_on(tmp_path: Path, more: str) -> None:
    server = Server.configured(tmp_path, CONFIGURATION.format(state="state", more=more))
    try:
        server.start()
        send(server)
        assert server.process is not None
        for _ in range(2):
            code, said = refusal(server)
            assert code == 1
            assert said == (
                f"{tmp_path / 'state'}: another server runs with this state folder (process {server.process.pid}):"
                " end it first\n"
            )
        send(server)
        assert messages(server) == 2
        # Killed, it leaves socket and lock behind; they stand in nobody's way.
        server.kill()
        assert (tmp_path / "state" / "control.socket").is_socket()
        server.start()
        send(server)
        assert messages(server) == 3
        assert server.stop() in (0, -signal.SIGTERM)
    finally:
        server.kill()


def test_of_servers_that_start_in_the_same_moment_one_lives(server: Server) -> None:
    command = [*TWISTD, "-n", "--pidfile=", "mailkit", *server.arguments]
    all_of_them = [
        subprocess.Popen(
            [*command, "--ready-file", str(server.folder / f"ready{number}")],
            cwd=server.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]
    try:
        deadline = time.monotonic() + 60
        while sum(one.poll() is None for one in all_of_them) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (alive,) = [one for one in all_of_them if one.poll() is None]
        for one in all_of_them:
            if one is not alive:
                assert one.returncode == 1
                assert one.stderr is not None
                said = one.stderr.read().decode()
                assert "another server runs with this state folder" in said and said.count("\n") == 1
                assert f"(process {alive.pid})" in said or "process" not in said.partition("folder")[2]
        while not (ready := [server.folder / f"ready{number}" for number in range(3)])[
            all_of_them.index(alive)
        ].exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert sum(path.exists() for path in ready) == 1
        assert messages(server) == 0
    finally:
        for one in all_of_them:
            one.kill()
            one.wait()
            if one.stderr is not None:
                one.stderr.close()


def test_commands_on_the_files_and_a_server_that_starts_wait_for_each_other(server: Server) -> None:
    server.start()
    send(server)
    server.stop()
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(server.folder / "mailkit.toml"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for words in (["queue", "list"], ["queue", "stats"], ["store", "show"], ["fsck"], ["queue", "list"])
    ]
    server.start()
    for one in commands:
        out, _ = one.communicate(timeout=60)
        assert one.returncode == 0, out
    send(server)
    assert messages(server) == 2
    done = mailkit(server, "fsck", "--repair")
    assert done.returncode == 2 and "end it first" in done.stderr


def test_it_leaves_the_terminal_and_still_takes_mail(server: Server) -> None:
    """Without -n, twistd forks: what was opened before would be lost in the child."""
    pid_file = server.folder / "twistd.pid"
    command = [*TWISTD, f"--pidfile={pid_file}", f"--logfile={server.log}", "mailkit", *server.arguments]
    subprocess.run([*command, "--ready-file", str(server.ready_file)], cwd=server.folder, check=True, timeout=60)
    deadline = time.monotonic() + 30
    while not server.ready_file.exists():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)
    pid = int(pid_file.read_text())
    try:
        server.read_ready_file()
        send(server)
        assert messages(server) == 1
        second = [*TWISTD, f"--pidfile={pid_file}2", f"--logfile={server.log}2", "mailkit", *server.arguments]
        done = subprocess.run(second, cwd=server.folder, capture_output=True, timeout=60, check=False)
        assert done.returncode == 1
        assert b"An error has occurred" in done.stderr
        said = Path(f"{server.log}2").read_text()
        assert f"(process {pid}): end it first" in said and "Traceback" not in said
        assert not Path(f"{pid_file}2").exists()
        os.kill(pid, signal.SIGTERM)
        while pid_file.exists():
            assert time.monotonic() < deadline + 60
            time.sleep(0.05)
    finally:
        if pid_file.exists():
            os.kill(pid, signal.SIGKILL)


# --- disks -----------------------------------------------------------------------------------------------------------


class Disk:
    """A disk of its own for the state folder, which nobody sees but the server: it is in a mount namespace."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "disk"
        self.place.mkdir()
        if os.geteuid() != 0 or shutil.which("nsenter") is None:
            pytest.skip("only root can mount a disk")
        self._holder = subprocess.Popen(["unshare", "-m", "sleep", "600"], stderr=subprocess.DEVNULL)
        self.prefix = ("nsenter", "-t", str(self._holder.pid), "-m", "--")
        for _ in range(100):
            here, there = Path("/proc/self/ns/mnt"), Path(f"/proc/{self._holder.pid}/ns/mnt")
            if self._holder.poll() is not None:
                pytest.skip("mount namespaces are not permitted here")
            if here.readlink() != there.readlink():
                break
            time.sleep(0.05)

    def mount(self, *words: str) -> None:
        done = subprocess.run(["nsenter", "-t", str(self._holder.pid), "-m", "mount", *words], capture_output=True)
        if done.returncode:
            pytest.skip(f"mount {' '.join(words)} is not permitted here: {done.stderr.decode().strip()}")

    @property
    def files(self) -> Path:
        """As it is seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root{self.place}")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def on_disk(disk: Disk, folder: Path) -> Server:
    file = folder / "mailkit.toml"
    file.write_text(CONFIGURATION.format(state=disk.place / "state", more=""))
    server = Server(folder, "--config", str(file))
    server.prefix = disk.prefix
    add = [*disk.prefix, sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(file), "user", "add"]
    subprocess.run([*add, "joe@example.org", "--password-stdin"], input=b"secret\n", check=True, capture_output=True)
    return server


def test_a_read_only_disk_is_told_and_its_mail_can_be_copied_from_it(disk: Disk, tmp_path: Path) -> None:
    disk.mount("-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk.place))
    server = on_disk(disk, tmp_path)
    server.start()
    send(server)
    server.stop()
    disk.mount("-o", "remount,ro", str(disk.place))
    before = octets_of(disk.files)
    code, said = refusal(server)
    assert code == 1
    assert str(disk.place / "state") in said and "a disk that is writable" in said and said.count("\n") == 1
    assert messages(server) == 1
    assert not (found := mailkit(server, "fsck")).returncode, found.stdout + found.stderr
    assert not (found := mailkit(server, "backup", str(tmp_path / "backup"))).returncode, found.stderr
    assert not (found := mailkit(server, "fsck", "--salvage", str(tmp_path / "saved"))).returncode, found.stderr
    assert len(list((tmp_path / "saved").glob("*.eml"))) == 1
    found = mailkit(server, "fsck", "--repair")
    assert found.returncode in (0, 2), found.stderr
    assert octets_of(disk.files) == before
    disk.mount("-o", "remount,rw", str(disk.place))
    server.start()
    send(server)
    assert messages(server) == 2
    server.kill()


def test_a_disk_that_is_full_takes_mail_again_when_there_is_room(disk: Disk, tmp_path: Path) -> None:
    disk.mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk.place))
    server = on_disk(disk, tmp_path)
    server.start()
    send(server)
    with (disk.files / "rubbish").open("wb") as rubbish, pytest.raises(OSError, match="No space"):
        while True:
            rubbish.write(b"x" * 65536)
            rubbish.flush()
    with pytest.raises(smtplib.SMTPException) as told:
        send(server, "no room")
    assert str(told.value).find("45") >= 0, told.value
    assert messages(server) == 1
    (disk.files / "rubbish").unlink()
    deadline = time.monotonic() + 30
    while True:
        try:
            send(server, "room again")
            break
        except smtplib.SMTPException as error:
            assert "45" in str(error)
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert messages(server) == 2
    assert not mailkit(server, "fsck").returncode
    assert server.stop() in (0, -signal.SIGTERM)


def test_a_disk_that_becomes_read_only_under_the_server_loses_nothing(disk: Disk, tmp_path: Path) -> None:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
    disk.mount("-o", "loop", str(image), str(disk.place))
    server = on_disk(disk, tmp_path)
    server.start()
    send(server)
    disk.mount("-o", "remount,abort", str(disk.place))  # what the kernel does after an error of the disk
    for _ in range(3):
        with pytest.raises(smtplib.SMTPException) as told:
            send(server, "lost?")
        assert "45" in str(told.value), told.value
    assert messages(server) == 1, "reading goes on"
    server.stop()
    subprocess.run(["nsenter", "-t", disk.prefix[2], "-m", "umount", str(disk.place)], check=True)
    subprocess.run(["e2fsck", "-p", "-f", str(image)], check=False, capture_output=True)
    disk.mount("-o", "loop", str(image), str(disk.place))
    server.start()
    assert messages(server) == 1
    send(server, "again")
    assert messages(server) == 2
    assert not mailkit(server, "fsck").returncode
    server.kill()
