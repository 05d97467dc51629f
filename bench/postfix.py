"""A peer: Postfix as Debian has it, which hands mail to Dovecot's LMTP or to a next hop."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from bench.dovecot import Dovecot, DovecotMdbox
from bench.servers import Server, free_port, program, wait_for_greeting

# The services that this needs, without chroot; the number of processes does not keep any of our sessions waiting.
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
lmtp unix - - n - - lmtp
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
default_process_limit = 300
message_size_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
"""


class Postfix(Server):
    """In a folder of its own; `where` is what main.cf needs besides, so that mail goes somewhere."""

    name = "Postfix"

    def __init__(self, where: str) -> None:
        super().__init__("postfix-bench-")
        self.ports = {"smtp": free_port()}
        self.folder.chmod(0o755)
        for name in ("queue", "data", "conf"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if Path("/etc/postfix", name).exists():
                shutil.copy(Path("/etc/postfix", name), self.folder / "conf")
        (self.folder / "conf" / "master.cf").write_text(MASTER.format(port=self.ports["smtp"]))
        (self.folder / "conf" / "main.cf").write_text(MAIN.format(folder=self.folder) + where)
        began = time.monotonic()
        self._run("start")
        wait_for_greeting(self.ports["smtp"])
        self.seconds_to_start = time.monotonic() - began

    def _run(self, command: str) -> None:
        subprocess.run(
            [program("postfix") or "postfix", "-c", str(self.folder / "conf"), command],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def roots(self) -> list[int]:
        return [int((self.folder / "queue" / "pid" / "master.pid").read_text())]

    def stop(self) -> None:
        self._run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)


class PostfixRelay(Postfix):
    """Everything goes to one next hop."""

    def __init__(self, sink: int) -> None:
        super().__init__(f"relayhost = [127.0.0.1]:{sink}\n")


class PostfixDovecot(Postfix):
    """Mail for example.org goes to a Dovecot of its own, which is a part of this peer."""

    kind: type[Dovecot] = Dovecot
    name = "Postfix -> Dovecot maildir"

    def __init__(self) -> None:
        self.dovecot = self.kind()
        lmtp = self.dovecot.ports["lmtp"]
        try:
            super().__init__(f"virtual_mailbox_domains = example.org\nvirtual_transport = lmtp:inet:127.0.0.1:{lmtp}\n")
        except BaseException:
            self.dovecot.stop()
            raise
        self.ports |= {name: self.dovecot.ports[name] for name in ("imap", "pop3")}
        self.seconds_to_start += self.dovecot.seconds_to_start

    def roots(self) -> list[int]:
        return super().roots() + self.dovecot.roots()

    def stop(self) -> None:
        super().stop()
        self.dovecot.stop()


class PostfixDovecotMdbox(PostfixDovecot):
    """The same with mdbox."""

    kind = DovecotMdbox
    name = "Postfix -> Dovecot mdbox"


def postfixes() -> list[type[PostfixDovecot]]:
    """Both formats; none where one of the two is not installed."""
    return [PostfixDovecot, PostfixDovecotMdbox] if program("postfix") and program("dovecot") else []
