"""The servers that are measured: ours, and peers, each as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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

[imap]
sessions_per_account = 100000

[imap.connections]
per_address = 100000
per_minute = 100000
per_listener = 100000
"""


class Ours:
    """`twistd mailkit` with the sqlite store; one user, joe@example.org, password secret."""

    name = "twisted_mail_kit"

    def __init__(self, configuration: str = CONFIGURATION) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mailkit-bench-"))
        config = self.folder / "mailkit.toml"
        config.write_text(configuration)
        command = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(config), "user", "add", "joe@example.org"]
        subprocess.run([*command, "--password-stdin"], input=b"secret\n", check=True, capture_output=True)
        self.before_start()
        ready = self.folder / "ready.json"
        began = time.monotonic()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from twisted.scripts.twistd import run; run()",
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
        )
        while not ready.exists():
            if self.process.poll() is not None:
                raise SystemExit((self.folder / "log.txt").read_text())
            time.sleep(0.005)
        self.seconds_to_start = time.monotonic() - began
        self.ports = {one["service"]: one["port"] for one in json.loads(ready.read_text())["listeners"]}

    def before_start(self) -> None:
        """What a benchmark wants to put into the state folder."""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Aiosmtpd:
    """aiosmtpd with a maildir that is as durable as ours: each file synced, and its folder."""

    name = "aiosmtpd, durable maildir"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aiosmtpd-bench-"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.aiosmtpd_peer", str(self.folder)], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.ports = {"smtp": int(self.process.stdout.readline())}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Proportional set size of a process, in octets."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError("Pss")
