"""A real Dovecot on a free port, with a configuration of its own."""

import contextlib
import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import time

import pytest
from imapclient import IMAPClient

CONF = """
base_dir = {run}
state_dir = {run}
log_path = {top}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 1
mail_location = maildir:{mail}/%n
mail_home = {top}/home/%u
mail_debug = no
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
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
"""


class Dovecot:
    """Serves `mail`, whose files belong to `owner`."""

    def __init__(self, top):
        self.program = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if self.program is None:
            pytest.skip("dovecot is not installed (Debian: dovecot-core dovecot-imapd dovecot-lmtpd)")
        self.top, self.mail = top, top / "mail"
        self.imap, self.lmtp = free_port(), free_port()
        for directory in (top / "run", top / "home", self.mail):
            directory.mkdir()
        me = pwd.getpwuid(os.geteuid())
        internal, login, owner = me.pw_name, me.pw_name, me
        if os.geteuid() == 0:  # Dovecot serves no mail as root
            internal, login, owner = "dovecot", "dovenull", pwd.getpwnam("mail")
            for directory in (top / "home", self.mail):
                os.chown(directory, owner.pw_uid, owner.pw_gid)
            top.chmod(0o755)
        group = subprocess.run(["id", "-gn", internal], capture_output=True, text=True, check=True).stdout.strip()
        self.conf = top / "dovecot.conf"
        self.conf.write_text(
            CONF.format(
                top=top, run=top / "run", mail=self.mail, imap=self.imap, lmtp=self.lmtp,
                internal=internal, login=login, group=group, uid=owner.pw_uid, gid=owner.pw_gid,
            )
        )  # fmt: skip
        self.process = subprocess.Popen(
            [self.program, "-F", "-c", self.conf], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(200):
            if self.process.poll() is not None:
                pytest.fail(f"dovecot does not start: {self.process.stderr.read().decode()}{self.log()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.imap), 1) as one:
                one.settimeout(1)
                if one.recv(4) == b"* OK":
                    return
            time.sleep(0.05)
        pytest.fail(f"dovecot does not answer: {self.log()}")

    def log(self):
        path = self.top / "log"
        return path.read_text() if path.exists() else ""

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()

    def client(self, user):
        client = IMAPClient("127.0.0.1", self.imap, ssl=False, timeout=20)
        client.login(f"{user}@example.org", "secret")
        return client

    def deliver(self, octets, user):
        with smtplib.LMTP("127.0.0.1", self.lmtp) as lmtp:
            lmtp.sendmail("ann@example.org", [f"{user}@example.org"], octets)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def picture(client):
    """All that an IMAP client sees of an account, by mailbox name."""
    seen = {}
    subscribed = {name for _, _, name in client.list_sub_folders()}
    for attributes, _, name in client.list_folders():
        if {b"\\noselect", b"\\nonexistent"} & {one.lower() for one in attributes}:
            continue
        chosen = client.select_folder(name, readonly=True)
        rows = (
            client.fetch(client.search(), ["UID", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[]"])
            if chosen[b"EXISTS"]
            else {}
        )
        seen[name] = (
            chosen[b"UIDVALIDITY"],
            chosen[b"UIDNEXT"],
            name in subscribed,
            {
                uid: (
                    frozenset(row[b"FLAGS"]) - {b"\\Recent"},
                    row[b"RFC822.SIZE"],
                    row[b"INTERNALDATE"],
                    row[b"BODY[]"],
                )
                for uid, row in rows.items()
            },
        )
    return seen
