"""Mail goes out: from one whole server of ours to another, through the queue, over crashes, and back as a bounce."""

from __future__ import annotations

import json
import re
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.interop.server import Server

pytestmark = pytest.mark.interop

HOME = """
hostname = "mx.home.example"
domains = ["example.org"]
state = "state"

[[listen]]
service = "submission"
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
service = "imap"
endpoint = "tcp:0:interface=127.0.0.1"

[[relay.routes]]
domain = "away.example"
host = "127.0.0.1"
port = {port}

[queue]
gaps = [1.0]
dead_gaps = [1.0]
"""

AWAY = """
hostname = "mx.away.example"
domains = ["away.example"]
state = "state"

[[listen]]
service = "smtp"
endpoint = "tcp:{port}:interface=127.0.0.1"

[[listen]]
service = "imap"
endpoint = "tcp:0:interface=127.0.0.1"
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Server]:
    """Where mail goes to; not started yet."""
    folder = tmp_path / "away"
    folder.mkdir()
    server = Server.configured(folder, AWAY.format(port=free_port()), user="bob@away.example")
    yield server
    server.kill()


@pytest.fixture
def home(tmp_path: Path, away: Server) -> Iterator[Server]:
    folder = tmp_path / "home"
    folder.mkdir()
    port = re.search(r"tcp:(\d+)", (away.folder / "mailkit.toml").read_text())
    assert port is not None
    with Server.configured(folder, HOME.format(port=port.group(1))) as server:
        yield server


def mail(subject: str, *recipients: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "joe@example.org"
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject
    message.set_content("From one house to the other.\n")
    return message


def submit(server: Server, message: EmailMessage) -> str:
    """Send it, and give the trace id of the 250."""
    with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=30) as client:
        client.login("joe@example.org", "secret")
        client.mail("joe@example.org")
        for recipient in message["To"].split(", "):
            assert client.rcpt(recipient)[0] == 250
        code, text = client.data(message.as_bytes(policy=policy.SMTP))
    assert code == 250, text
    return text.decode().split()[1]


def inbox(server: Server, user: str) -> list[EmailMessage]:
    with IMAPClient("127.0.0.1", server.port("imap"), ssl=False, timeout=30) as imap:
        imap.login(user, "secret")
        imap.select_folder("INBOX", readonly=True)
        rows = imap.fetch(imap.search(), ["BODY.PEEK[]"]) if imap.search() else {}
        return [message_from_bytes(row[b"BODY[]"], policy=policy.default) for _, row in sorted(rows.items())]


def until(true: Callable[[], bool], server: Server, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.1)


def mailkit(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(server.folder / "mailkit.toml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_mail_is_queued_sent_and_traced(home: Server, away: Server) -> None:
    with away:
        trace_id = submit(home, mail("over the hill", "bob@away.example"))
        until(lambda: bool(inbox(away, "bob@away.example")), home)
        (message,) = inbox(away, "bob@away.example")
    assert message["Subject"] == "over the hill"
    assert message["Return-Path"] == "<joe@example.org>"
    assert "by mx.home.example" in message.get_all("Received")[1]
    until(lambda: json.loads(mailkit(home, "queue", "list", "--json").stdout) == [], home)
    timeline = mailkit(home, "trace", trace_id)
    assert timeline.returncode == 0, timeline.stderr
    assert "kept" in timeline.stdout  # the other server's own words
    assert "bob@away.example" in timeline.stdout


def test_a_dead_next_hop_a_kill_9_and_a_restart_lose_nothing_and_send_nothing_twice(home: Server, away: Server) -> None:
    subjects = [f"number {number}" for number in range(20)]
    for subject in subjects:
        submit(home, mail(subject, "bob@away.example"))
    home.kill()  # right after the last 250
    down = mailkit(home, "queue", "list", "--json")
    assert "not running" in down.stderr
    assert len(json.loads(down.stdout)) == 20
    home.start()
    with away:
        until(lambda: len(inbox(away, "bob@away.example")) >= 20, home, 60)
        until(lambda: json.loads(mailkit(home, "queue", "list", "--json").stdout) == [], home)
        assert sorted(one["Subject"] for one in inbox(away, "bob@away.example")) == sorted(subjects)


def test_what_the_other_server_refuses_comes_back_as_a_report(home: Server, away: Server) -> None:
    with away:
        submit(home, mail("to nobody", "nobody@away.example", "bob@away.example"))
        until(lambda: bool(inbox(home, "joe@example.org")), home)
        until(lambda: bool(inbox(away, "bob@away.example")), home)
    (report,) = inbox(home, "joe@example.org")
    assert report["Return-Path"] == "<>"
    assert report.get_content_type() == "multipart/report"
    status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status")
    told = [dict(block.items()) for block in status.get_payload()][1]
    assert told["Action"] == "failed"
    assert told["Status"] == "5.1.1"
    assert told["Final-Recipient"] == "rfc822; nobody@away.example"
    assert told["Diagnostic-Code"].startswith("smtp; 550")


def test_the_operators_hands_reach_the_running_server(home: Server, away: Server) -> None:
    first = submit(home, mail("waits", "bob@away.example"))
    second = submit(home, mail("goes", "bob@away.example"))
    listed = mailkit(home, "queue", "list")
    assert first in listed.stdout
    assert "away.example" in listed.stdout
    assert mailkit(home, "queue", "retry", first, "--in", "2h").returncode == 0
    (waits,) = json.loads(mailkit(home, "queue", "show", first, "--json").stdout)["recipients"]
    assert waits["next_try"] > time.time() + 7000
    assert mailkit(home, "queue", "retry", first, "--in", "soon").returncode == 2
    assert mailkit(home, "queue", "hold", first).returncode == 0
    assert mailkit(home, "queue", "cat", first).stdout.count("Subject: waits") == 1
    assert mailkit(home, "queue", "rm", second, "--yes").returncode == 0
    with away:
        time.sleep(2)  # long enough for an attempt, were it not held
        assert inbox(away, "bob@away.example") == []
        assert mailkit(home, "queue", "release", first).returncode == 0
        assert mailkit(home, "queue", "retry", first).returncode == 0
        until(lambda: bool(inbox(away, "bob@away.example")), home)
        assert [one["Subject"] for one in inbox(away, "bob@away.example")] == ["waits"]
    stats = mailkit(home, "queue", "stats", "--json")
    assert stats.returncode == 0
    assert json.loads(stats.stdout)


def test_two_servers_on_one_state_folder_are_told_apart(home: Server) -> None:
    other = Server(home.folder, *home.arguments)
    other.ready_file = home.folder / "other.json"
    other.log = home.folder / "other.txt"
    with pytest.raises(AssertionError, match="another server"):
        other.start()


def test_mail_that_leaves_is_signed(home: Server, away: Server, tmp_path: Path) -> None:
    dkim = pytest.importorskip("dkim", reason="dkimpy is not installed")
    made = mailkit(home, "dkim", "new", "example.org", "--selector", "s1", "--algorithm", "rsa")
    assert made.returncode == 0, made.stderr
    tables = re.search(r"\[\[dkim\]\].*?(?=\n\s*\n|\Z)", made.stdout, re.DOTALL)
    assert tables is not None, made.stdout
    file = home.folder / "mailkit.toml"
    file.write_text(file.read_text() + "\n" + tables.group(0) + "\n")
    home.hang_up()
    until(lambda: "info] reloaded" in home.log.read_text(), home)
    with away:
        submit(home, mail("signed", "bob@away.example"))
        until(lambda: bool(inbox(away, "bob@away.example")), home)
        with IMAPClient("127.0.0.1", away.port("imap"), ssl=False) as imap:
            imap.login("bob@away.example", "secret")
            imap.select_folder("INBOX")
            octets = imap.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"]
    record = "".join(re.findall(r'"([^"]*)"', made.stdout.replace(tables.group(0), "")))
    assert "v=DKIM1" in record, made.stdout
    assert dkim.verify(octets, dnsfunc=lambda name, timeout=5: record[record.index("v=DKIM1") :].encode())
