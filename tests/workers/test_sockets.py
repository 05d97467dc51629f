"""Sockets of other people's making: from systemd, behind a proxy, opened as root; all of them shared with workers."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.interop.server import Server, environment
from tests.interop.test_main_job import over_imap
from tests.workers.test_server import all_gone, replaced, until, workers_of
from twisted_mail_kit.net.tls import self_signed_pem

CONFIGURATION = """
workers = 2
hostname = "mx.example.org"
domains = ["example.org"]
state = "state"

[[listen]]
service = "smtp"
endpoint = "systemd:domain=INET:index=0"

[[listen]]
service = "lmtp"
endpoint = "systemd:domain=UNIX:name=unix"

[[listen]]
service = "submission"
endpoint = "haproxy:tcp:0:interface=127.0.0.1"

[[listen]]
service = "imap"
endpoint = "tcp:0:interface=127.0.0.1"

[submission.connections]
per_address = 2

[tls]
certificate = "certificate.pem"
"""
# systemd gives sockets the numbers from 3 on, and tells the process that it is meant; the pid is known only in the
# process itself. Not by a preexec_fn, which may wait for ever for what another thread of ours had when it was forked.
# bash, since sh knows no numbers above 9.
START = """
exec 3<&$1- 4<&$2-
shift 2
export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=inet:unix
exec "$@"
"""


NOBODY = pwd.getpwnam("nobody")


def environment_of_nobody() -> dict[str, str]:
    # Another Python has a standard library of its own.
    ours = [one for one in sys.path if one and not Path(one).is_relative_to(Path(sys.base_prefix) / "lib")]
    return environment() | {"PYTHONPATH": os.pathsep.join(ours)}


def can_run(python: str) -> bool:
    """Whether nobody can run us with that Python: root's own may lie where only root may look."""
    command = [python, "-c", "import twisted_mail_kit.assembly"]
    try:
        done = subprocess.run(
            command,
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            env=environment_of_nobody(),
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


class Activated(Server):
    """As systemd starts it, by root: with sockets that listen already, to become nobody."""

    python = sys.executable

    def start(self, seconds: float = 90.0) -> None:
        self.inet = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.folder / "lmtp.socket"))
        self.unix.listen()
        ready = self.folder / "ready"
        ready.mkdir()
        os.chown(ready, NOBODY.pw_uid, NOBODY.pw_gid)
        self.ready_file = ready / "ready.json"
        twistd = [self.python, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
        twistd += ["--uid", str(NOBODY.pw_uid), "--gid", str(NOBODY.pw_gid), "mailkit", *self.arguments]
        # Numbers that are out of the way of 3 and 4.
        given = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (self.inet, self.unix)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", START, "bash", *map(str, given), *twistd, "--ready-file", str(self.ready_file)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment_of_nobody(),
                pass_fds=given,
            )
        for one in given:
            os.close(one)
        deadline = time.monotonic() + seconds
        while not self.ready_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        self.read_ready_file()

    def kill(self) -> None:
        super().kill()
        self.inet.close()
        self.unix.close()


pytestmark = [pytest.mark.interop, pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not pytest's own folder, which nobody but root may look into.
    folder = Path(tempfile.mkdtemp(prefix="mailkit-sockets-", dir="/tmp"))
    folder.chmod(0o755)
    key = folder / "certificate.pem"  # which only root may read
    key.write_bytes(self_signed_pem("mx.example.org"))
    key.chmod(0o600)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    python = next((one for one in (sys.executable, "/usr/bin/python3") if can_run(one)), None)
    if python is None:
        pytest.skip("nobody can run no Python with this package")
    server = Activated.configured(folder, CONFIGURATION)
    server.python = python  # type: ignore[attr-defined]
    with server:
        yield server


def proxied(server: Server, client: str) -> tuple[socket.socket, bytes]:
    """A connection through a proxy, and the first line of the greeting."""
    line = socket.create_connection(("127.0.0.1", server.port("submission")), 20)
    line.sendall(f"PROXY TCP4 {client} 127.0.0.1 40000 587\r\n".encode())
    return line, until(line, b"\r\n")


def test_mail_goes_in_by_systemds_sockets_and_out(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        client.starttls()
        client.sendmail("ann@example.net", ["joe@example.org"], "Subject: inet\r\n\r\nx\r\n")
    with smtplib.LMTP(str(server.folder / "lmtp.socket")) as client:
        client.sendmail("ann@example.net", ["joe@example.org"], "Subject: unix\r\n\r\nx\r\n")
    assert len(over_imap(server)) == 2


def test_all_processes_are_nobody_and_so_is_what_they_make(server: Server) -> None:
    assert server.process is not None
    nobody = NOBODY.pw_uid
    for pid in (server.process.pid, *workers_of(server).values()):
        assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}" in Path(f"/proc/{pid}/status").read_text()
    state = server.folder / "state"
    assert {made.lstat().st_uid for made in (state, *state.rglob("*"))} == {nobody}


def test_a_worker_that_comes_later_has_sockets_and_certificate_too(server: Server) -> None:
    for number, pid in workers_of(server).items():
        os.kill(pid, 9)
        replaced(server, number, pid)
    for _ in range(4):
        with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
            client.starttls()
            client.ehlo()


def until_true(true: Callable[[], bool], seconds: float = 10.0) -> None:
    over = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < over
        time.sleep(0.02)


def test_behind_a_proxy_the_clients_address_is_what_counts(server: Server) -> None:
    there = [proxied(server, "192.0.2.7")]
    time.sleep(0.05)
    there.append(proxied(server, "192.0.2.7"))
    time.sleep(0.05)
    there.append(proxied(server, "192.0.2.7"))
    there.append(proxied(server, "192.0.2.8"))
    assert [said[:3] for _, said in there] == [b"220", b"220", b"421", b"220"]
    line, _ = there[3]
    line.sendall(b"EHLO [192.0.2.8]\r\n")
    assert b"AUTH" not in until(line, b"\r\n250 ")  # no password in clear text from elsewhere
    for line, _ in there:
        line.close()
    until_true(lambda: "too many from 192.0.2.7" in server.log.read_text())  # a worker's lines come over its line


def test_systemds_sockets_go_on_listening_after_the_end(server: Server) -> None:
    assert server.process is not None
    pids = workers_of(server)
    port = server.port("smtp")
    server.process.terminate()
    server.process.wait(30)
    all_gone(pids.values(), 1)
    with socket.create_connection(("127.0.0.1", port), 5) as waiting:  # for the server's next start
        waiting.settimeout(0.3)
        with suppress(TimeoutError):
            assert waiting.recv(1) == b"never"
    assert (server.folder / "lmtp.socket").exists()


def test_a_user_who_cannot_run_python_is_told_so(folder: Path) -> None:
    if can_run(sys.executable):
        pytest.skip("nobody can run this Python")
    shutil.rmtree(folder / "ready", ignore_errors=True)
    (folder / "lmtp.socket").unlink(missing_ok=True)
    server = Activated.configured(folder, CONFIGURATION, "ann@example.org")
    with pytest.raises(AssertionError, match="cannot be started as the user that the server has become"):
        server.start()
