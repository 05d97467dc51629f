"""Relay out: 20 sessions submit, the queue is durable, the next hop is smtp-sink; beside Postfix in the same run."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import load
from bench.servers import CONFIGURATION, Ours

ROUNDS = 3

# The services that relaying needs, without chroot; limits as Debian ships them.
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
myhostname = postfix.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{sink}
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Sink:
    """smtp-sink, which ends when it has had so many messages."""

    def __init__(self, port: int, messages: int) -> None:
        program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin") or "smtp-sink"
        self.process = subprocess.Popen(
            [program, "-M", str(messages), "-u", "nobody", f"127.0.0.1:{port}", "1000"], stderr=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.02)


class Relaying(Ours):
    """Our server, with the sink as the way to everywhere."""

    def __init__(self, sink: int) -> None:
        route = f'\n[[relay.routes]]\ndomain = "*"\nhost = "127.0.0.1"\nport = {sink}\n'
        trust = '\n[delivery]\ntrusted_networks = ["127.0.0.0/8"]\n'
        super().__init__(CONFIGURATION + route + trust)
        self.port = self.ports["smtp"]


class Postfix:
    """Postfix in a folder of its own, with the sink as its relayhost."""

    name = "Postfix"

    def __init__(self, sink: int) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-bench-", dir="/tmp"))
        self.folder.chmod(0o755)
        for name in ("queue", "data", "conf"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if Path("/etc/postfix", name).exists():
                shutil.copy(Path("/etc/postfix", name), self.folder / "conf")
        facts = {"folder": self.folder, "port": self.port, "sink": sink}
        (self.folder / "conf" / "master.cf").write_text(MASTER.format(**facts))
        (self.folder / "conf" / "main.cf").write_text(MAIN.format(**facts))
        self._run("start")
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as one:
                    one.recv(100)
                return
            except OSError:
                time.sleep(0.1)

    def _run(self, command: str) -> None:
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.folder / "conf"), command], check=True, capture_output=True, timeout=60
        )

    def stop(self) -> None:
        self._run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)


def relay() -> None:
    """From the first submission until the sink has all of them."""
    if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None:
        raise SystemExit("postfix is not installed")
    print("| relay out, 2 KB, 20 submitting sessions | messages/s | against Postfix |")
    print("|---|---|---|")
    messages = 2000
    rates: dict[str, list[float]] = {"ours": [], "Postfix": []}
    for _ in range(ROUNDS):
        for kind, name in ((Relaying, "ours"), (Postfix, "Postfix")):
            port = free_port()
            sink = Sink(port, messages)
            server = kind(port)
            try:
                began = time.monotonic()
                load.send(server.port, 20, messages, 2000, "bob@away.example")
                sink.process.wait(300)
                rates[name].append(messages / (time.monotonic() - began))
            finally:
                sink.process.kill()
                server.stop()
    ours, theirs = statistics.median(rates["ours"]), statistics.median(rates["Postfix"])
    print(f"| durable queue -> smtp-sink | {ours:,.0f} | {ours / theirs:.1f}x ({theirs:,.0f}) |", flush=True)
