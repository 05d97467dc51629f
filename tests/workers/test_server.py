"""A server of several processes, as strangers see it."""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.interop.server import Server
from tests.interop.test_main_job import over_imap, over_pop3
from tests.workers.conftest import configuration
from twisted_mail_kit.net.tls import self_signed_pem

PATIENCE = 60.0
"""Seconds for what takes a moment when nobody else wants the machine: a worker's start is a second of computing."""
MESSAGE = "From: ann@example.net\r\nSubject: {}\r\n\r\nHello.\r\n"


def send(server: Server, subject: str = "hello") -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        client.sendmail("ann@example.net", ["joe@example.org"], MESSAGE.format(subject))


def test_the_main_job(server: Server) -> None:
    send(server)
    (octets,) = over_imap(server)
    assert octets.endswith(MESSAGE.format("hello").encode())
    assert over_pop3(server) == [octets]


def workers_of(server: Server) -> dict[int, int]:
    """Worker number -> its newest process, as the log tells; there are two."""
    deadline = time.monotonic() + PATIENCE
    while True:  # the ready file is there before the turn's log lines are
        found = re.findall(r"worker (\d+) \(process (\d+)\) takes connections", server.log.read_text())
        if len(workers := {int(number): int(pid) for number, pid in found}) == 2:
            return workers
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)


def log_says(server: Server, words: str, times: int = 1, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while server.log.read_text().count(words) < times:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)


def replaced(server: Server, number: int, before: int) -> None:
    """Wait for another process in the place of that one."""
    deadline = time.monotonic() + PATIENCE
    while workers_of(server)[number] == before:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second one where it goes between open and read
        return True


def all_gone(pids: Iterable[int], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if not is_gone(pid)]:
        assert time.monotonic() < deadline, f"left over: {left}"
        time.sleep(0.02)


def in_every_worker(server: Server, count: int = 6) -> dict[int, list[socket.socket]]:
    """Logged-in IMAP sessions in INBOX and IDLE, some in each worker: worker number -> sockets."""
    there: dict[int, list[socket.socket]] = {number: [] for number in workers_of(server)}
    deadline = time.monotonic() + PATIENCE
    while any(is_gone(pid) for pid in workers_of(server).values()):  # another is about to come
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)
    while not all(there.values()) or sum(map(len, there.values())) < count:
        assert time.monotonic() < deadline, there
        before = {number: logins(server, number) for number in there}
        line = socket.create_connection(("127.0.0.1", server.port("imap")), 20)
        line.sendall(b"a LOGIN joe@example.org secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        until(line, b"\r\n+ ")
        while not (here := [number for number in there if logins(server, number) > before[number]]):
            time.sleep(0.01)
        there[here[0]].append(line)
    return there


def logins(server: Server, worker: int) -> int:
    return server.log.read_text().count(f"[{worker}] joe@example.org logged in")


def until(line: socket.socket, words: bytes) -> bytes:
    heard = b""
    while words not in heard:
        more = line.recv(4096)
        assert more, heard
        heard += more
    return heard


def test_idle_hears_in_every_worker_within_50_ms(server: Server) -> None:
    there = in_every_worker(server)
    lines = [line for some in there.values() for line in some]
    late: list[float] = []
    there_already = len(over_imap(server))
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        for number in range(there_already + 1, there_already + 11):
            client.sendmail("ann@example.net", ["joe@example.org"], MESSAGE.format(number))
            acknowledged = time.monotonic()
            for line in lines:
                until(line, b"* %d EXISTS\r\n" % number)
            late.append(time.monotonic() - acknowledged)
    assert sorted(late)[len(late) // 2] < 0.05, late
    for line in lines:
        line.close()


def test_a_killed_worker_costs_its_own_sessions_only(server: Server) -> None:
    there = in_every_worker(server)
    pids = workers_of(server)
    os.kill(pids[1], signal.SIGKILL)
    for line in there[1]:
        assert line.recv(100) == b""
    replaced(server, 1, pids[1])
    send(server, "after the death")
    for line in there[2]:
        until(line, b" EXISTS\r\n")
        line.close()
    assert "SIGKILL" in server.log.read_text()
    assert any(b"after the death" in octets for octets in over_imap(server))


def test_every_250_is_there_exactly_once_however_often_workers_are_killed(server: Server) -> None:
    acknowledged: list[str] = []
    over = threading.Event()

    def load(name: int) -> None:
        number = 0
        while not over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=10) as client:
                    client.ehlo("client.example.net")
                    while not over.is_set():
                        number += 1
                        body = MESSAGE.format(f"{name}-{number}") + "x" * (number % 7 * 20_000)
                        client.sendmail("ann@example.net", ["joe@example.org"], body)
                        acknowledged.append(f"{name}-{number}")
            except (OSError, smtplib.SMTPException):
                pass  # cut off, and not sent again: it is there once, or not at all

    threads = [threading.Thread(target=load, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(4):
        time.sleep(0.7)
        pid = workers_of(server)[turn % 2 + 1]
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)
    over.set()
    for thread in threads:
        thread.join(30)
    log_says(server, "SIGKILL")
    found = Counter(re.search(rb"Subject: (\S+)", octets)[1].decode() for octets in over_imap(server))
    assert len(acknowledged) > 20
    assert [one for one in acknowledged if found[one] != 1] == []
    assert [one for one, times in found.items() if "-" in one and times != 1] == []


def test_sighup_takes_the_new_configuration_in_all_processes_or_in_none(server: Server) -> None:
    file = server.folder / "mailkit.toml"
    good = file.read_text()
    there = in_every_worker(server)

    def codes(address: str) -> set[int]:
        found = set()
        clients = [smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) for _ in range(8)]
        for client in clients:
            client.ehlo("client.example.net")
            client.mail("ann@example.net")
            found.add(client.rcpt(address)[0])
        for client in clients:
            client.close()
        return found

    assert codes("info@example.org") == {550}
    file.write_text(good.replace('hostname = "mx', 'hostnam = "mx'))
    server.hang_up()
    log_says(server, "hostnam")
    file.write_text(good.replace("workers = 2", "workers = 3"))
    server.hang_up()
    log_says(server, "workers has changed: that needs a restart")
    assert codes("info@example.org") == {550}
    aliased = good + '\n[accounts.aliases]\n"info@example.org" = ["joe@example.org"]\n'
    file.write_text(aliased)
    server.hang_up()
    log_says(server, "reloaded\n")
    assert codes("info@example.org") == {250}
    # A worker that starts later has what was reloaded, not what the file says by then.
    file.write_text("nonsense")
    before = workers_of(server)[1]
    os.kill(before, signal.SIGKILL)
    replaced(server, 1, before)
    assert codes("info@example.org") == {250}
    file.write_text(aliased)
    for line in there[2]:  # a reload costs no session
        line.sendall(b"DONE\r\n")
        until(line, b"c OK")
        line.close()


def test_the_queue_is_the_owners_and_the_operator_sees_it(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=30) as client:
        client.login("joe@example.org", "secret")
        client.sendmail(
            "joe@example.org",
            ["ann@away.example", "joe@example.org"],
            MESSAGE.format("out").replace("ann@example.net", "joe@example.org"),
        )
    command = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(server.folder / "mailkit.toml"), "queue", "list"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=60)
    assert "away.example" in done.stdout
    assert done.stderr == ""
    assert any(b"Subject: out" in octets for octets in over_imap(server))


def test_the_operator_sees_the_processes_and_their_sessions(server: Server) -> None:
    assert server.process is not None
    command = [sys.executable, "-m", "twisted_mail_kit.cli", "-c", str(server.folder / "mailkit.toml"), "status"]
    there = in_every_worker(server)
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True, timeout=60).stdout)
    assert found["pid"] == server.process.pid
    assert {one["number"]: one["pid"] for one in found["workers"]} == workers_of(server)
    assert {one["number"]: one["sessions"]["imap"] for one in found["workers"]} == {
        number: len(lines) for number, lines in there.items()
    }
    assert found["sessions"]["imap"] == sum(map(len, there.values()))
    assert found["workers"][0]["restarts"] > 0  # other tests have seen to that
    for line in (line for some in there.values() for line in some):
        line.close()
    os.kill(workers_of(server)[2], signal.SIGSTOP)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    os.kill(workers_of(server)[2], signal.SIGCONT)
    assert done.returncode == 1
    assert f"process {server.process.pid}, running for " in done.stdout
    assert "it does not answer" in done.stdout


def test_a_unix_socket_keeps_its_mode_and_its_name(server: Server) -> None:
    path = server.folder / "lmtp.socket"
    assert path.stat().st_mode & 0o777 == 0o600
    before = workers_of(server)[1]
    os.kill(before, signal.SIGTERM)  # a polite one: it drains, and another comes
    replaced(server, 1, before)
    with smtplib.LMTP(str(path)) as client:
        client.sendmail("ann@example.net", ["joe@example.org"], MESSAGE.format("over-lmtp"))
    assert any(b"over-lmtp" in octets for octets in over_imap(server))


def test_the_owners_death_ends_all(server: Server) -> None:
    pids = workers_of(server)
    there = in_every_worker(server)
    assert len(pids) == 2
    server.kill()
    all_gone(pids.values(), 5)
    for line in (line for some in there.values() for line in some):
        assert line.recv(100) == b""
    server.start()
    send(server, "after the owner")
    assert any(b"after the owner" in octets for octets in over_imap(server))


def test_sigterm_ends_all_sessions_at_a_safe_point(server: Server) -> None:
    there = in_every_worker(server)
    pids, before = workers_of(server), len(server.log.read_text())
    smtp = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30)
    smtp.ehlo("client.example.net")
    began = time.monotonic()
    server.process.terminate()
    assert smtp.getreply()[0] == 421
    for line in (line for some in there.values() for line in some):
        assert b"BYE" in until(line, b"\r\n")
        line.close()
    server.process.wait(30)
    assert time.monotonic() - began < 10
    all_gone(pids.values(), 0)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port("smtp")), 2)
    assert "Traceback" not in server.log.read_text()[before:]


def test_a_worker_that_cannot_start_says_why_and_the_others_serve_on(tmp_path: Path) -> None:
    key = tmp_path / "own.pem"
    key.write_bytes(self_signed_pem("own.example.org"))
    own = '[[listen]]\nservice = "imap"\nendpoint = "ssl:0:interface=127.0.0.1:privateKey={0}:certKey={0}"\n'
    server = Server.configured(tmp_path, configuration() + own.format(key))
    with server:
        context = ssl.create_default_context(cafile=str(key))
        context.check_hostname = False
        imap = imaplib.IMAP4_SSL("127.0.0.1", server.port("imap", "implicit"), ssl_context=context, timeout=20)
        imap.login("joe@example.org", "secret")
        imap.logout()
        key.unlink()
        os.kill(workers_of(server)[1], signal.SIGKILL)
        log_says(server, "worker 1 cannot start: ")
        assert len(over_imap(server)) == 0  # the other one serves on
