"""The main job, as strangers see it: mail goes in with one program, survives, and comes out with others."""

from __future__ import annotations

import poplib
import re
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.interop.server import Server

pytestmark = pytest.mark.interop

CONFIGURATION = """
hostname = "mx.example.org"
domains = ["example.org"]
state = "state"

[[listen]]
service = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
service = "submission"
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
service = "imap"
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
service = "pop3"
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
service = "lmtp"
endpoint = "unix:lmtp.socket"

[store]
plugin = "{store}"
"""


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.fixture(params=["sqlite", "example"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "example":
        pytest.importorskip("mailkit_example_store", reason="the example plugin is not installed")
    with Server.configured(tmp_path, CONFIGURATION.format(store=request.param)) as server:
        yield server


def swaks(server: Server, *arguments: str) -> str:
    needs("swaks")
    result = subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(server.port("smtp")), "--from", "ann@example.net", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def over_pop3(server: Server) -> list[bytes]:
    pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=30)
    pop.user("joe@example.org")
    pop.pass_("secret")
    count = pop.stat()[0]
    messages = [b"\r\n".join(pop.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    pop.quit()
    return messages


def over_imap(server: Server) -> list[bytes]:
    with IMAPClient("127.0.0.1", server.port("imap"), ssl=False, timeout=30) as imap:
        imap.login("joe@example.org", "secret")
        imap.select_folder("INBOX", readonly=True)
        return [row[b"BODY[]"] for _, row in sorted(imap.fetch(imap.search(), ["BODY.PEEK[]"]).items())]


def test_swaks_in_then_kill_9_then_pop3_imap_and_mbsync_out(server: Server, tmp_path: Path) -> None:
    needs("mbsync")
    said = swaks(server, "--to", "joe@example.org", "--header", "Subject: it lives", "--body", "through the power cut")
    server.kill()  # right after the 250
    assert re.search(r"<-\s+250 2\.0\.0", said)
    server.start()

    for read in (over_pop3, over_imap):
        (octets,) = read(server)
        message = message_from_bytes(octets, policy=policy.default)
        assert message["Subject"] == "it lives"
        assert "through the power cut" in message.get_content()
        assert message["Return-Path"] == "<ann@example.net>"
        assert "by mx.example.org" in message["Received"]

    maildir = tmp_path / "maildir"
    maildir.mkdir()
    rc = tmp_path / "mbsyncrc"
    rc.write_text(
        f"""
IMAPStore there
Host 127.0.0.1
Port {server.port("imap")}
User joe@example.org
Pass secret
SSLType None
AuthMechs LOGIN

MaildirStore here
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel mail
Far :there:
Near :here:
Patterns *
Create Near
SyncState *
"""
    )
    result = subprocess.run(["mbsync", "-c", str(rc), "-a"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (file,) = [*(maildir / "INBOX" / "new").iterdir(), *(maildir / "INBOX" / "cur").iterdir()]
    # mbsync puts a header field of its own (X-TUID) into what it keeps, and turns CR LF into LF.
    assert b"through the power cut" in file.read_bytes()


def test_what_was_acknowledged_is_there_after_kill_9_in_the_middle_of_it_all(server: Server) -> None:
    acknowledged = []
    client = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30)
    client.ehlo("client.example.net")
    for number in range(60):
        client.sendmail("ann@example.net", ["joe@example.org"], f"Subject: {number}\r\n\r\nNumber {number}\r\n")
        acknowledged.append(number)
    server.kill()
    client.close()
    server.start()
    found = [int(message_from_bytes(octets)["Subject"]) for octets in over_imap(server)]
    assert found == acknowledged


def test_octets_out_are_octets_in(server: Server) -> None:
    body = bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"") * 40
    lines = b"".join(b"." + body[at : at + 70] + b"\r\n" for at in range(0, len(body), 70))
    octets = b"From: ann@example.net\r\nSubject: all of them\r\n\r\n" + lines
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        client.sendmail("ann@example.net", ["joe@example.org"], octets, mail_options=["BODY=8BITMIME"])
    (by_pop3,), (by_imap,) = over_pop3(server), over_imap(server)
    assert by_imap.endswith(octets)
    assert by_pop3 == by_imap


def test_lmtp_on_a_unix_socket_answers_each_recipient(server: Server, tmp_path: Path) -> None:
    with smtplib.LMTP(str(tmp_path / "lmtp.socket")) as client:
        refused = client.sendmail(
            "ann@example.net", ["joe@example.org", "nobody@example.org"], "Subject: x\r\n\r\nx\r\n"
        )
    assert list(refused) == ["nobody@example.org"]
    assert refused["nobody@example.org"][0] == 550
    assert len(over_imap(server)) == 1


def test_sigterm_ends_sessions_at_a_safe_point(server: Server) -> None:
    assert server.process is not None
    imap = IMAPClient("127.0.0.1", server.port("imap"), ssl=False, timeout=30)
    imap.login("joe@example.org", "secret")
    imap.select_folder("INBOX")
    imap.idle()
    smtp = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30)
    smtp.ehlo("client.example.net")
    began = time.monotonic()
    server.process.terminate()
    assert smtp.getreply()[0] == 421
    bye = imap.idle_check(timeout=10)
    assert bye
    assert bye[0][0] == b"BYE"
    server.process.wait(30)
    assert time.monotonic() - began < 10
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port("smtp")), 2)


def test_sighup_takes_the_new_configuration_whole_or_not_at_all(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "mailkit.toml"
    good = file.read_text()

    def code(address: str) -> int:
        with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
            client.ehlo("client.example.net")
            client.mail("ann@example.net")
            return client.rcpt(address)[0]

    def log_says(words: str) -> None:
        deadline = time.monotonic() + 10
        while words not in server.log.read_text():
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)

    assert code("info@example.org") == 550
    file.write_text(good.replace('hostname = "mx', 'hostnam = "mx'))
    server.hang_up()
    log_says("hostnam")
    assert code("joe@example.org") == 250
    file.write_text(good + '\n[accounts.aliases]\n"info@example.org" = ["joe@example.org"]\n')
    server.hang_up()
    log_says("info] reloaded")
    assert code("info@example.org") == 250
