"""`mailkit trace`: the timeline of a message, in the words of those who were spoken to."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from twisted_mail_kit.cli.trace import timeline
from twisted_mail_kit.cli.words import moment
from twisted_mail_kit.control.place import SOCKET
from twisted_mail_kit.control.server import Control
from twisted_mail_kit.control.verbs import queue_verbs
from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, TraceEvent
from twisted_mail_kit.queue.desk import Desk
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.sqlite import SQLiteSpool

NOW = float(int(time.time()) - 3600)  # timelines are forgotten after a week
EVENTS = [
    TraceEvent("m1", NOW, "queued", "", "", ""),
    TraceEvent("m1", NOW + 1, "delayed", "joe@example.net", "mx.example.net [192.0.2.1]", "451 4.7.1 \x1b]0;Later"),
    TraceEvent("m1", NOW + 600, "delivered", "joe@example.net", "mx.example.net [192.0.2.1]", "250 2.0.0 Ok: queued"),
    TraceEvent("m1", NOW + 601, "failed", "kim@example.com", "", "x" * 300),
]
TOLD = rf"""{moment(NOW)}  queued
{moment(NOW + 1)}  delayed       joe@example.net
                      mx.example.net [192.0.2.1]: 451 4.7.1 \x1b]0;Later
{moment(NOW + 600)}  delivered     joe@example.net
                      mx.example.net [192.0.2.1]: 250 2.0.0 Ok: queued
{moment(NOW + 601)}  failed        kim@example.com
"""


def mailkit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "twisted_mail_kit.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mailkit.toml").write_text('state = "state"\n')
    (tmp_path / "state").mkdir()
    return tmp_path


async def fill(spool: ISpool) -> None:
    writer = spool.new_blob()
    await writer.write(b"Subject: two\r\n\r\n")
    envelope = Envelope(None, Peer(""), "m2")
    waiting = QueuedRecipient("m2", 0, Recipient(Address("kim", "example.com")), "example.com", NOW, is_held=True)
    await spool.add(QueuedMessage(envelope, await writer.commit(), 16), [waiting])
    await spool.record(EVENTS)


async def test_the_timeline_of_a_running_server_has_the_remote_servers_words(folder: Path) -> None:
    spool = MemorySpool()
    await fill(spool)
    control = Control(folder / "state" / SOCKET, reactor, queue_verbs(Desk(spool)))
    control.start()
    try:
        done = await deferToThread(mailkit, folder, "trace", "m1")
        as_json = await deferToThread(mailkit, folder, "trace", "m1", "--json")
        queued = await deferToThread(mailkit, folder, "trace", "m2")
        unknown = await deferToThread(mailkit, folder, "trace", "m3")
    finally:
        await control.stop()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(TOLD)
    assert all(len(line) <= 100 and line.isprintable() for line in done.stdout.splitlines())
    known = json.loads(as_json.stdout)
    assert [TraceEvent(**one) for one in known["events"]] == EVENTS
    assert known["waiting"] == []
    assert queued.stdout.split() == ["still", "queued", "held", "kim@example.com"]
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nothing is known of 'm3'" in unknown.stderr


async def test_the_timeline_is_in_the_files_of_a_server_that_is_down(folder: Path) -> None:
    spool = SQLiteSpool(folder / "state" / "queue", reactor)
    await fill(spool)
    await spool.close()
    done = await deferToThread(mailkit, folder, "trace", "m1")
    assert done.stderr == "the server is not running: reading the queue's files\n"
    assert done.returncode == 0
    assert done.stdout.startswith(TOLD)


def test_an_id_is_needed(folder: Path) -> None:
    assert mailkit(folder, "trace").returncode == 2


def test_what_still_waits_is_told_last() -> None:
    waiting = [{"address": "joe@example.net", "is_held": False, "next_try": NOW + 1200}]
    (line,) = timeline({"events": [], "waiting": waiting}, NOW)
    assert line.split() == ["still", "queued", "next", "try", "in", "20m", "joe@example.net"]
