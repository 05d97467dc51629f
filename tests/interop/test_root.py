"""Started as root, the server opens its ports, becomes somebody else, and all that it makes belongs to that one."""

from __future__ import annotations

import os
import pwd
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.server import Server
from tests.interop.test_main_job import CONFIGURATION, over_imap
from twisted_mail_kit.net.tls import self_signed_pem

pytestmark = [pytest.mark.interop, pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own folder, which nobody but root may look into.
    made = Path(tempfile.mkdtemp(prefix="mailkit-root-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_root_gives_its_rights_away_and_mail_goes_in_and_out(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    key = folder / "certificate.pem"  # which only root may read
    key.write_bytes(self_signed_pem("mx.example.org"))
    key.chmod(0o600)
    configuration = CONFIGURATION.format(store="sqlite").replace("unix:lmtp.socket", "tcp:0:interface=127.0.0.1")
    server = Server.configured(folder, configuration + f'\n[tls]\ncertificate = "{key}"\n')
    ready = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(ready, nobody.pw_uid, nobody.pw_gid)
    server.ready_file = ready / "ready.json"
    server.log.touch()
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
    command += ["--uid", str(nobody.pw_uid), "--gid", str(nobody.pw_gid), "mailkit", *server.arguments]
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [*command, "--ready-file", str(server.ready_file)], stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        deadline = time.monotonic() + 30
        while not server.ready_file.exists():
            assert server.process.poll() is None, server.log.read_text()
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
        server.read_ready_file()
        with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
            client.sendmail("ann@example.net", ["joe@example.org"], "Subject: x\r\n\r\nx\r\n")
        assert len(over_imap(server)) == 1
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}" in status
        # What root does later belongs to that one too.
        add = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(folder / "mailkit.toml"), "user", "add"]
        subprocess.run([*add, "ann@example.org", "--password-stdin"], input=b"x\n", check=True, timeout=60)
        with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
            client.sendmail("ann@example.net", ["ann@example.org"], "Subject: x\r\n\r\nx\r\n")
        owners = {made.stat().st_uid for made in [folder / "state", *(folder / "state").rglob("*")]}
        assert owners == {nobody.pw_uid}
    finally:
        server.kill()
        shutil.rmtree(ready, ignore_errors=True)
