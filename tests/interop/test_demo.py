"""`make run`, as a newcomer meets it: a table, a login, sample messages, nothing sent outside, a clean end."""

from __future__ import annotations

import imaplib
import json
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests.interop.server import Server

pytestmark = pytest.mark.interop


def fetch_all(server: Server) -> list[bytes]:
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30)
    imap.login("demo@localhost", server.password)
    imap.select("INBOX", readonly=True)
    _, rows = imap.fetch("1:*", "(BODY.PEEK[])")
    imap.logout()
    return [row[1] for row in rows if isinstance(row, tuple)]


def test_three_samples_wait_at_the_first_run_and_are_not_put_there_twice(tmp_path: Path) -> None:
    server = Server.demo(tmp_path)
    with server:
        first = [message_from_bytes(octets, policy=policy.default) for octets in fetch_all(server)]
    with server:
        assert len(fetch_all(server)) == 3
    assert len(first) == 3
    welcome, reply, timetable = first
    assert {part.get_content_type() for part in welcome.walk()} >= {"text/plain", "text/html", "image/png"}
    assert reply["In-Reply-To"] == welcome["Message-ID"]
    assert [part.get_filename() for part in timetable.iter_attachments()] == ["timetable.csv"]


def test_the_ready_file_says_what_scripts_need(tmp_path: Path) -> None:
    server = Server.demo(tmp_path)
    with server:
        facts = server.facts
        assert facts["pid"] == server.process.pid  # type: ignore[union-attr]
        assert {one["service"]: one["tls"] for one in facts["listeners"]} == {
            "smtp": "starttls",
            "submission": "starttls",
            "lmtp": "none",
            "imap": "starttls",
            "pop3": "starttls",
        }
        for one in facts["listeners"]:
            assert one["host"] == "127.0.0.1"
            socket.create_connection((one["host"], one["port"]), 5).close()
        (account,) = facts["accounts"]
        assert account["name"] == "demo@localhost"
        assert stat.S_IMODE(Path(account["password_file"]).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        assert server.stop() == -signal.SIGTERM  # twistd passes the signal on, once all is closed
        assert not server.ready_file.exists()


def test_mail_to_the_world_stays_in_the_demo_mailbox(tmp_path: Path) -> None:
    server = Server.demo(tmp_path)
    with server:
        with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=30) as client:
            client.login("demo@localhost", server.password)
            client.sendmail(
                "demo@localhost",
                ["ann@example.net", "bob@example.com"],
                "From: demo@localhost\r\nTo: ann@example.net\r\nSubject: out\r\n\r\nOut.\r\n",
            )
        found = [message_from_bytes(octets)["Subject"] for octets in fetch_all(server)]
    assert found.count("out") == 1


def test_a_stranger_cannot_send_to_the_world(tmp_path: Path) -> None:
    with Server.demo(tmp_path) as server, smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        client.ehlo("client.example.net")
        client.mail("ann@example.net")
        assert client.rcpt("bob@example.com")[0] == 550


def twistd(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "mailkit"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, cwd=folder, check=False)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:0",
        "tcp:0:interface=0.0.0.0",
        "tcp:0:interface=",
        "tcp:0:interface=::",
        "ssl:0:interface=127.0.0.1",
        "tcp6:0",
    ],
)
def test_without_a_configuration_only_loopback_is_listened_on(tmp_path: Path, endpoint: str) -> None:
    done = twistd(tmp_path, "--state", str(tmp_path / "state"), f"--listen=imap={endpoint}")
    assert done.returncode == 1
    assert "loopback" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_configuration_with_errors_ends_with_all_of_them_and_exit_1(tmp_path: Path) -> None:
    file = tmp_path / "mailkit.toml"
    file.write_text('hostnam = "mx"\n[[listen]]\nservice = "smpt"\nendpoint = "tcp:25"\n')
    for extra in ([], ["--check"]):
        done = twistd(tmp_path, "--config", str(file), *extra)
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert 'hostnam: unknown; did you mean "hostname"?' in said
        assert "[listen.1] service" in said
        assert "Traceback" not in said


def test_the_table_shows_a_taken_port_and_ctrl_c_says_where_the_mail_is(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 2525))
            taken.listen()
        except OSError:
            pass  # somebody else has taken it: as good
        ready = tmp_path / "ready.json"
        # A shell lets what it starts in the background ignore Ctrl-C, and all that is started by that too.
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        program = f"{heard}; from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", program, "-n", "--pidfile=", "mailkit"]
        process = subprocess.Popen(
            [*command, "--state", str(tmp_path / "state"), "--ready-file", str(ready)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
        )
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            facts = json.loads(ready.read_text())
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    smtp = next(one for one in facts["listeners"] if one["service"] == "smtp")
    assert smtp["port"] > 2525
    assert f"127.0.0.1:{smtp['port']}" in said
    assert "(2525 was taken)" in said
    assert "demo@localhost" in said
    assert f"The demo has ended. The mail is in {tmp_path / 'state'}" in said
    assert "Traceback" not in said
