"""A process that hangs: the others notice, say so, and go on."""

from __future__ import annotations

import contextlib
import imaplib
import os
import signal
import smtplib
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.interop.server import Server
from tests.interop.test_main_job import over_imap
from tests.workers.conftest import configuration
from tests.workers.test_server import (
    MESSAGE,
    PATIENCE,
    all_gone,
    in_every_worker,
    is_gone,
    log_says,
    replaced,
    send,
    until,
    workers_of,
)

HEARTBEAT = 1.5


# A plugin with a mistake in it, as somebody may write one.
DROPIN = """
from twisted_mail_kit.plugin import Plugin

endless = Plugin(kind="check", name="endless", factory="endless_check.make", description="Never comes to an end")
"""
MODULE = """
from twisted_mail_kit.checks import Check


class Endless(Check):
    name = "endless"

    async def sender(self, envelope):
        while str(envelope.sender).startswith("endless@"):
            pass


def make(options, context):
    return Endless()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    plugin = tmp_path_factory.mktemp("plugin")
    (plugin / "endless_check.py").write_text(MODULE)
    (plugin / "twisted" / "plugins").mkdir(parents=True)
    (plugin / "twisted" / "plugins" / "endless_dropin.py").write_text(DROPIN)
    text = configuration() + f'\n[crew]\nheartbeat = {HEARTBEAT}\n[[check]]\nplugin = "endless"\n'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(plugin))
        with Server.configured(tmp_path_factory.mktemp("hanging"), text) as server:
            yield server


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """As if it hung: it is there, and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_worker_that_hangs_is_killed_and_replaced(server: Server) -> None:
    there = in_every_worker(server, 2)
    pid = workers_of(server)[1]
    with stopped(pid):
        log_says(server, f"worker 1 (process {pid}) has given no sign of life for {HEARTBEAT} s: it is killed")
        all_gone([pid])
        for line in there[1]:
            assert line.recv(100) == b""
    replaced(server, 1, pid)
    send(server, "after the hanging")
    for line in there[2]:
        until(line, b" EXISTS\r\n")
        line.close()
    assert any(b"after the hanging" in octets for octets in over_imap(server))


def test_a_worker_in_an_endless_loop_is_killed_and_replaced(server: Server) -> None:
    before = workers_of(server)
    client = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20)
    client.ehlo("client.example.net")
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        client.mail("endless@example.net")
    client.close()
    deadline = time.monotonic() + PATIENCE
    while not (gone := [one for one, pid in before.items() if is_gone(pid)]):
        assert time.monotonic() < deadline, server.log.read_text()
    replaced(server, gone[0], before[gone[0]])
    log_says(server, f"process {before[gone[0]]}) has given no sign of life")
    send(server, "after the endless loop")


def test_workers_do_not_wait_for_an_owner_that_hangs(server: Server) -> None:
    assert server.process is not None
    pids = workers_of(server)
    smtp = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20)
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20)
    imap.login("joe@example.org", "secret")
    imap.select("INBOX")
    with stopped(server.process.pid):
        began = time.monotonic()
        # The one who was there when it began to hang, and has to wait until that is noticed.
        smtp.ehlo("client.example.net")
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            smtp.sendmail("ann@example.net", ["joe@example.org"], MESSAGE.format("lost"))
        assert imap.append("INBOX", "", "", MESSAGE.format("x").encode())[0] == "NO"
        assert HEARTBEAT * 0.3 < time.monotonic() - began < HEARTBEAT * 6
        # Those who come later do not wait at all; but for one who may come to a worker that has not noticed yet.
        waits = []
        for _ in range(3):
            began = time.monotonic()
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20) as late:
                with pytest.raises(smtplib.SMTPDataError, match="451"):
                    late.sendmail("ann@example.net", ["joe@example.org"], MESSAGE.format("late"))
            assert imap.append("INBOX", "", "", MESSAGE.format("x").encode())[0] == "NO"
            waits.append(time.monotonic() - began)
        assert sorted(waits)[1] < HEARTBEAT, waits
        # What a worker reads by itself is there.
        assert imap.fetch("1", "(UID FLAGS)")[0] == "OK"
    log_says(server, "answers again", 2)
    smtp.sendmail("ann@example.net", ["joe@example.org"], MESSAGE.format("again"))
    assert any(b"again" in octets for octets in over_imap(server))
    assert workers_of(server) == pids  # whoever has slept does not take the others for dead
    smtp.close()
    imap.logout()


def test_a_worker_that_dies_at_once_comes_again_later_and_later(server: Server) -> None:
    assert server.process is not None
    pids = workers_of(server)
    dies, pauses = pids[2], []
    for _ in range(3):
        os.kill(dies, signal.SIGKILL)
        told = f"worker 2 (process {dies}) ended: SIGKILL; its sessions are lost, another one starts in "
        log_says(server, told)
        pauses.append(float(server.log.read_text().partition(told)[2].split()[0]))
        (dies,) = started(server.process.pid, besides=(pids[1], dies))
    over_imap(server)  # the other one serves on meanwhile
    assert pauses in ([0.0, 0.5, 1.0], [0.5, 1.0, 2.0])  # the endless loop may have been this one's first death
    replaced(server, 2, pids[2])


def started(owner: int, besides: Collection[int]) -> list[int]:
    """Wait for new child processes, which need not be ready for anything yet."""
    deadline = time.monotonic() + PATIENCE
    children = Path(f"/proc/{owner}/task/{owner}/children")
    while not (new := [pid for pid in map(int, children.read_text().split()) if pid not in besides]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return new
