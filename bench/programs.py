"""Servers that are Python programs in this folder: each prints its port when it is ready."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

from bench.servers import Server, wait_for_greeting


class PythonProgram(Server):
    """``python -m bench.<module> <folder>``."""

    module: str

    def __init__(self) -> None:
        super().__init__(f"{self.module}-bench-")
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"bench.{self.module}", str(self.folder)], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.ports = {"smtp": int(self.process.stdout.readline())}
        wait_for_greeting(self.ports["smtp"])
        self.seconds_to_start = time.monotonic() - began

    def roots(self) -> list[int]:
        return [self.process.pid]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Aiosmtpd(PythonProgram):
    """As durable as ours: each file synced, and its folder."""

    name = "aiosmtpd"
    module = "aiosmtpd_peer"


class TwistedMail(PythonProgram):
    """The same."""

    name = "twisted.mail"
    module = "twisted_mail_peer"


class Bare(PythonProgram):
    """Our session and our store, and nearly nothing between them."""

    name = "bare"
    module = "bare_server"
