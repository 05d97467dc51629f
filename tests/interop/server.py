"""The whole server as a program of its own, for tests that talk to it as strangers do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def environment() -> dict[str, str]:
    """Ours, and compiled modules are kept: a start takes half the time of one that has to compile everything."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    bytecode = str(Path(tempfile.gettempdir(), f"mailkit-bytecode-{os.getuid()}"))
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONUNBUFFERED": "1"}


class Server:
    """`twistd -n mailkit` in a process of its own, on free ports of the loopback interface."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.arguments = arguments
        self.ready_file = folder / "ready.json"
        self.log = folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.facts: dict[str, Any] = {}
        self.prefix: tuple[str, ...] = ()
        """Words before the command: another program that runs it."""

    @classmethod
    def demo(cls, folder: Path) -> Server:
        """In demo mode."""
        # Port 0 would do for a person too: the table says which port it became.
        services = ("smtp", "submission", "lmtp", "imap", "pop3")
        listen = [f"--listen={service}=tcp:0:interface=127.0.0.1" for service in services]
        return cls(folder, "--state", str(folder / "state"), *listen)

    @classmethod
    def configured(cls, folder: Path, configuration: str, user: str = "joe@example.org") -> Server:
        """With a configuration, and one user, whose password is ``secret``."""
        file = folder / "mailkit.toml"
        file.write_text(configuration)
        command = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(file), "user", "add", user]
        subprocess.run(
            [*command, "--password-stdin"],
            input=b"secret\n",
            check=True,
            timeout=60,
            capture_output=True,
            env=environment(),
        )
        return cls(folder, "--config", str(file))

    def start(self, seconds: float = 90.0) -> None:
        """Returns when every port is open."""
        self.ready_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                    *("-n", "--pidfile=", "mailkit", *self.arguments, "--ready-file", str(self.ready_file)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment(),
            )
        deadline = time.monotonic() + seconds
        while not self.ready_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        self.read_ready_file()

    def read_ready_file(self) -> None:
        """Every port is open: which are they?"""
        self.facts = json.loads(self.ready_file.read_text())

    def port(self, service: str, tls: str | None = None) -> int:
        """The port of a service."""
        for one in self.facts["listeners"]:
            if one["service"] == service and tls in (None, one["tls"]):
                return int(one["port"])
        raise LookupError(service)

    @property
    def password(self) -> str:
        """The demo account's."""
        return Path(self.facts["accounts"][0]["password_file"]).read_text().strip()

    def kill(self) -> None:
        """As a power cut does, as far as a process can tell."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, seconds: float = 40.0) -> int:
        """As `systemctl stop` does. Returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        finally:
            self.kill()
        return code

    def hang_up(self) -> None:
        """SIGHUP: read the configuration again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
