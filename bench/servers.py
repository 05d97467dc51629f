"""The servers that are measured, each as a program of its own with a folder of its own; ours is here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from twisted_mail_kit.net.tls import self_signed_pem

USERS = 40
"""joe, u0, u1 …: a mailbox for each round, so that none is slowed down by what another has left."""

CONFIGURATION = """
hostname = "mx.example.org"
domains = ["example.org"]
state = "state"

[[listen]]
service = "smtp"
endpoint = "tcp:0:interface=127.0.0.1:backlog=1024"

[[listen]]
service = "lmtp"
endpoint = "tcp:0:interface=127.0.0.1:backlog=1024"

[[listen]]
service = "imap"
endpoint = "tcp:0:interface=127.0.0.1:backlog=1024"

[[listen]]
service = "pop3"
endpoint = "tcp:0:interface=127.0.0.1:backlog=1024"

# The load comes from one address and one account, which is what the limits are there to keep in bounds.
[smtp.connections]
per_address = 100000
per_minute = 100000
per_listener = 100000

[smtp]
messages = 1000000
message_size = 200000000

[lmtp.connections]
per_address = 100000
per_listener = 100000

[lmtp]
messages = 1000000

[imap]
sessions_per_account = 100000
message_size = 200000000

[imap.connections]
per_address = 100000
per_minute = 100000
per_listener = 100000
"""


class Server:
    """What benchmarks ask of ours and of every peer. `ports` by service: smtp, lmtp, imap, imaps, pop3."""

    name: str
    ports: dict[str, int]
    seconds_to_start: float

    def __init__(self, prefix: str = "peer-bench-") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))

    def roots(self) -> list[int]:
        """The processes that all its others come from."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, and take its folder away."""
        raise NotImplementedError

    def cpu(self) -> float:
        """CPU seconds of all its processes, also of those that are gone."""
        return sum(_cpu_seconds(pid, with_children=True) for pid in family(self.roots()))

    def memory(self) -> int:
        """Octets: the proportional set size of all its processes."""
        return sum(memory(pid) for pid in family(self.roots()))


class Ours(Server):
    """`twistd mailkit` with the sqlite store and real password file; joe@example.org and others, password secret."""

    name = "twisted_mail_kit"
    program = "from twisted.scripts.twistd import run; run()"

    def __init__(self, configuration: str = CONFIGURATION) -> None:
        super().__init__("mailkit-bench-")
        config = self.folder / "mailkit.toml"
        config.write_text(configuration)
        command = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(config), "user", "add", "joe@example.org"]
        subprocess.run([*command, "--password-stdin"], input=b"secret\n", check=True, capture_output=True)
        self._add_users()
        self.before_start()
        ready = self.folder / "ready.json"
        began = time.monotonic()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                self.program,
                "-n",
                "--pidfile=",
                "--logfile",
                str(self.folder / "log.txt"),
                "mailkit",
                "--config",
                str(config),
                "--ready-file",
                str(ready),
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        while not ready.exists():
            if self.process.poll() is not None:
                raise SystemExit((self.folder / "log.txt").read_text())
            time.sleep(0.002)
        listeners = json.loads(ready.read_text())["listeners"]
        self.ports = {one["service"] + "s" * (one["tls"] == "implicit"): one["port"] for one in listeners}
        if "smtp" in self.ports:
            wait_for_greeting(self.ports["smtp"])
        self.seconds_to_start = time.monotonic() - began

    def _add_users(self) -> None:
        """More users with joe's password: his line in the file, under other names."""
        passwords = self.folder / "state" / "passwords"
        lines = passwords.read_text().splitlines()
        (joe,) = [line for line in lines if '"joe@' in line]
        lines += [joe.replace('"joe@', f'"u{number}@') for number in range(USERS)]
        passwords.write_text("\n".join(lines) + "\n")

    def before_start(self) -> None:
        """What a benchmark wants to put into the state folder."""

    def roots(self) -> list[int]:
        return [self.process.pid]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


class Plain(Ours):
    """The same with some things left out."""

    name = "without scan, trace fields, limits, metrics"
    program = "from bench.plain_server import run; run()"


S = TypeVar("S", bound=Server)


@contextmanager
def running(*makers: Callable[[], S]) -> Iterator[tuple[S, ...]]:
    """Servers that are started here, and ended with the block."""
    with ExitStack() as stack:
        servers = []
        for make in makers:
            servers.append(make())
            stack.callback(servers[-1].stop)
        yield tuple(servers)


def program(name: str) -> str | None:
    """Where a program is, also one that only root has in PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A loopback port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def wait_for_greeting(port: int, seconds: float = 20.0) -> None:
    """Until somebody there says something."""
    until = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as one:
                if one.recv(100):
                    return
        except OSError:
            pass
        if time.monotonic() > until:
            raise SystemExit(f"nobody answers on port {port}")
        time.sleep(0.005)


def certificate(folder: Path) -> Path:
    """A PEM file with a key and a certificate that nobody vouches for."""
    path = folder / "certificate.pem"
    path.write_bytes(self_signed_pem("localhost"))
    path.chmod(0o600)
    return path


def family(roots: list[int]) -> list[int]:
    """These processes and all that come from them."""
    found = list(roots)
    for pid in found:
        try:
            found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            pass  # it has just ended
    return found


def _cpu_seconds(pid: int, with_children: bool) -> float:
    """User and system time so far; with that of children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11 : 15 if with_children else 13]) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Proportional set size of a process, in octets."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError("Pss")
