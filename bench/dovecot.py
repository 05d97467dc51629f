"""A peer: Dovecot as Debian has it, every write synced, maildir or mdbox."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import time
from typing import Literal

from bench.servers import Server, certificate, free_port, program, wait_for_greeting

# Debian's settings, but for places, for limits that one address and one account run into, and for mail_fsync.
CONF = """
base_dir = {top}/run
state_dir = {top}/run
log_path = {top}/log
protocols = imap lmtp pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}
disable_plaintext_auth = no
first_valid_uid = 1
mail_fsync = {fsync}
mail_location = {format}:{top}/mail/%n
mail_home = {top}/home/%n
mail_max_userip_connections = 0
default_process_limit = 2000
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
  client_limit = 100000
}}
service auth {{
  client_limit = 100000
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid}
}}
protocol imap {{
  mail_max_userip_connections = 0
}}
"""


class Dovecot(Server):
    """Started as root, as it wants to be; its mail belongs to the user mail."""

    format: Literal["maildir", "mdbox"] = "maildir"
    name = "Dovecot maildir"
    more = ""
    """Configuration besides."""

    def __init__(self, fsync: Literal["always", "never"] = "always") -> None:
        super().__init__("dovecot-bench-")
        top = self.folder
        top.chmod(0o755)
        owner = pwd.getpwnam("mail")
        for name in ("run", "home", "mail"):
            (top / name).mkdir()
        for name in ("home", "mail"):
            shutil.chown(top / name, "mail", "mail")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "lmtp")}
        self._facts = {
            "top": top,
            "certificate": certificate(top),
            "format": self.format,
            "uid": owner.pw_uid,
            "gid": owner.pw_gid,
            **self.ports,
        }
        self._start(fsync)

    def _start(self, fsync: str) -> None:
        conf = self.folder / "dovecot.conf"
        conf.write_text(CONF.format(fsync=fsync, **self._facts) + self.more)
        began = time.monotonic()
        self.process = subprocess.Popen(
            [program("dovecot") or "dovecot", "-F", "-c", str(conf)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_greeting(self.ports["imap"])
            wait_for_greeting(self.ports["lmtp"])
        except BaseException:
            self._end()
            raise
        self.seconds_to_start = time.monotonic() - began

    def make_durable(self) -> None:
        """Begin anew with syncs: a mailbox of ten thousand is filled faster without, and nobody measures that."""
        self._end()
        subprocess.run(["sync"], check=True)
        self._start("always")

    def roots(self) -> list[int]:
        return [self.process.pid]

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)


class DovecotQuickLogins(Dovecot):
    """In the high-performance mode of its manual: processes that wait for logins, and serve many."""

    name = "Dovecot, high-performance logins"
    more = (
        "service imap-login {\n  service_count = 0\n  process_min_avail = 2\n}\n"
        "service imap {\n  service_count = 256\n  process_min_avail = 4\n}\n"
    )


class DovecotMdbox(Dovecot):
    """Many messages a file."""

    format = "mdbox"
    name = "Dovecot mdbox"


def dovecots() -> list[type[Dovecot]]:
    """Both formats; none where it is not installed."""
    return [Dovecot, DovecotMdbox] if program("dovecot") else []
