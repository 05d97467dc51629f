"""`mailkit queue`, as an operator types it: against a running server, and against the files of one that is down."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from twisted_mail_kit.cli import words
from twisted_mail_kit.control.place import SOCKET
from twisted_mail_kit.control.server import Control
from twisted_mail_kit.control.verbs import queue_verbs
from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, TraceEvent
from twisted_mail_kit.queue.desk import Desk
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.sqlite import SQLiteSpool

DOWN = "the server is not running: reading the queue's files\n"
CONFIGURATION = """
hostname = "mx.example.org"
state = "state"
[[listen]]
service = "smtp"
endpoint = "tcp:0"
"""
OCTETS = b"Subject: one\r\n\r\n\x00\x1b[31m\xff body\r\n" + b"x" * 200_000
# What a remote server may say, to play with the operator's terminal.
NASTY = "no\x1b]0;owned\x07 \x9b31m \u202egnirts\r\n250 OK"
GREYLISTED = Delayed(Status("4.7.1", "Greylisted, come back later", 451, "mx.example.net [192.0.2.1]"))
HELD = Delayed(Status("4.2.0", NASTY, 450, "mx.\x1b[2Jexample.com"))


async def fill(spool: ISpool, now: float) -> None:
    """m1: from ann to two places. m2: a bounce for one that is held."""
    for id, sender, recipients, octets in (
        ("m1", Address("ann", "example.org"), ["joe@example.net", "kim@example.com"], OCTETS),
        ("m2", None, ["kim@example.com"], b"Subject: two\r\n\r\n"),
    ):
        writer = spool.new_blob(len(octets))
        await writer.write(octets)
        blob_id = await writer.commit()
        envelope = Envelope(sender, Peer("192.0.2.7", service="submission", login="ann@example.org"), id)
        envelope = replace(envelope, received_at=now - 3 * 3600, envid="\x1b[2J!")
        rows = []
        for number, address in enumerate(recipients):
            local, _, domain = address.partition("@")
            rows.append(
                QueuedRecipient(
                    message_id=id,
                    number=number,
                    recipient=Recipient(Address(local, domain)),
                    destination=domain,
                    next_try=now + 1230,
                    attempts=4,
                    last=HELD if id == "m2" else GREYLISTED,
                    is_held=id == "m2",
                )
            )
        await spool.add(QueuedMessage(envelope, blob_id, len(octets)), rows)
        events = [
            TraceEvent(id, 1_700_000_000.0, "queued", "", "", ""),
            TraceEvent(id, 1_700_000_001.0, "delayed", recipients[0], "mx.example.net [192.0.2.1]", NASTY),
        ]
        await spool.record(events)


Mailkit = Callable[..., Any]


def mailkit(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", "-m", "twisted_mail_kit.cli", *arguments]
    return subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=60, cwd=folder, check=False)


class Server:
    """A folder with a configuration and a queue in its state, and `mailkit` run in it."""

    def __init__(self, folder: Path, is_up: bool) -> None:
        self.folder = folder
        self.is_up = is_up

    async def says(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """What `mailkit` prints; it is one for people if it fits 100 characters."""
        done = await deferToThread(mailkit, self.folder, *arguments, stdin=stdin)
        told, self.told = done.stderr.decode(), done.stderr.decode()
        assert done.returncode == code, told
        assert "Traceback" not in told
        assert (DOWN in told) is not self.is_up
        out: str = done.stdout.decode()
        if "--json" not in arguments:
            for line in out.splitlines():
                assert len(line) <= 100, line
                assert line.isprintable(), line
        return out

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.says(*arguments, "--json"))


@asynccontextmanager
async def server(folder: Path, is_up: bool) -> AsyncIterator[Server]:
    """With the queue of `fill`; up with a spool in memory, down with files."""
    (folder / "mailkit.toml").write_text(CONFIGURATION)
    state = folder / "state"
    state.mkdir()
    if is_up:
        spool = MemorySpool()
        await fill(spool, time.time())
        control = Control(state / SOCKET, reactor, queue_verbs(Desk(spool, clock=reactor)))
        control.start()
        try:
            yield Server(folder, True)
        finally:
            await control.stop()
    else:
        files = SQLiteSpool(state / "queue", reactor)
        await fill(files, time.time())
        await files.close()
        yield Server(folder, False)


up_or_down = pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])


@up_or_down
async def test_list_has_a_line_for_each_recipient_and_the_last_words_below(tmp_path: Path, is_up: bool) -> None:
    async with server(tmp_path, is_up) as it:
        lines = (await it.says("queue", "list")).splitlines()
    assert lines[0].split() == ["ID", "AGE", "SIZE", "NEXT", "TRIES", "DESTINATION", "RECIPIENT"]
    assert lines[1].split() == ["m1", "3h", "195K", "20m", "4", "example.net", "joe@example.net"]
    assert lines[2] == "    mx.example.net [192.0.2.1]: 451 4.7.1 Greylisted, come back later"
    assert lines[3].split() == ["m1", "3h", "195K", "20m", "4", "example.com", "kim@example.com"]
    assert lines[5].split() == ["m2", "3h", "16", "held", "4", "example.com", "kim@example.com"]
    assert r"\x1b]0;owned\x07 \x9b31m \u202e" in lines[6]
    # The columns stand below their heads.
    assert [line.index(word) for line, word in zip(lines, ("DEST", "example.net"), strict=False)] == [
        lines[0].index("DEST")
    ] * 2


async def test_list_filters_and_says_when_there_is_more(tmp_path: Path) -> None:
    async with server(tmp_path, True) as it:

        async def chosen(*filters: str) -> list[tuple[str, int]]:
            return [(one["id"], len(one["recipients"])) for one in await it.json("queue", "list", *filters)]

        assert await chosen() == [("m1", 2), ("m2", 1)]
        assert await chosen("--destination", "example.com") == [("m1", 1), ("m2", 1)]
        assert await chosen("--sender", "ann@example.org") == [("m1", 2)]
        assert await chosen("--sender", "<>") == [("m2", 1)]
        assert await chosen("--recipient", "joe@example.net") == [("m1", 1)]
        assert await chosen("--held") == [("m2", 1)]
        assert await chosen("--limit", "0") == [("m1", 2), ("m2", 1)]
        assert await chosen("--limit", "2") == [("m1", 2), ("m2", 1)]
        assert "more" not in it.told
        assert await chosen("--limit", "1") == [("m1", 2)]
        assert "there are more than these 1" in it.told
        assert "is like that" in await it.says("queue", "list", "--recipient", "nobody@example.net")


async def test_show_tells_all_about_one_message(tmp_path: Path) -> None:
    async with server(tmp_path, True) as it:
        said = await it.says("queue", "show", "m1")
        for words_of_it in (
            "ann@example.org",
            "3h ago",
            "submission, [192.0.2.7]",
            "joe@example.net\n    to example.net, tried 4 times, next try in 20m",
            "    mx.example.net [192.0.2.1]: 451 4.7.1 Greylisted, come back later",
            r"\x1b[2J!",
        ):
            assert words_of_it in said
        assert "held" in await it.says("queue", "show", "m2")
        assert (await it.json("queue", "show", "m1"))["recipients"][0]["last"]["remote"] == "mx.example.net [192.0.2.1]"
        await it.says("queue", "show", "m3", code=1)
        assert "MessageNotFound" in it.told


@up_or_down
async def test_cat_gives_the_octets_as_they_are(tmp_path: Path, is_up: bool) -> None:
    async with server(tmp_path, is_up) as it:
        done = await deferToThread(mailkit, tmp_path, "queue", "cat", "m1")
        assert (done.returncode, done.stdout) == (0, OCTETS)
        said = await it.json("queue", "cat", "m1")
        assert base64.b64decode(said["base64"]) == OCTETS
        assert await it.says("queue", "cat", "m3", code=1) == ""


async def test_hold_release_retry_and_flush_change_what_is_tried_when(tmp_path: Path) -> None:
    async with server(tmp_path, True) as it:

        async def state() -> list[str]:
            now = time.time()
            messages = await it.json("queue", "list")
            return [
                words.when(one["next_try"], one["is_held"], now)[:1] for all in messages for one in all["recipients"]
            ]

        assert await state() == ["2", "1", "h"] or await state() == ["2", "2", "h"]
        assert await it.says("queue", "hold", "m1") == "2 recipients of 1 message held\n"
        assert await state() == ["h", "h", "h"]
        assert await it.json("queue", "flush") == {"recipients": 0}
        assert await it.says("queue", "release", "m1", "m2") == "3 recipients of 2 messages released\n"
        assert await it.says("queue", "flush", "example.net") == "1 recipient to be tried now\n"
        assert (await state())[0] == "n"
        assert (await state())[1] != "n"
        assert await it.says("queue", "retry", "m2") == "1 recipient of 1 message to be tried now\n"
        assert await it.says("queue", "retry", "--all") == "1 recipient to be tried now\n"
        assert await state() == ["n", "n", "n"]
        assert await it.says("queue", "hold", "--all") == "3 recipients held\n"
        assert await it.says("queue", "release", "--all") == "3 recipients released\n"


@up_or_down
async def test_rm_throws_away_what_was_named_and_asks_before_all(tmp_path: Path, is_up: bool) -> None:
    async with server(tmp_path, is_up) as it:
        assert await it.says("queue", "rm", "m1", "m7", code=1) == "2 recipients of 1 message thrown away\n"
        assert "m7: no such message" in it.told
        assert [one["id"] for one in await it.json("queue", "list")] == ["m2"]
        done = await deferToThread(mailkit, tmp_path, "queue", "rm", "--all", stdin="n\n")
        assert done.returncode == 1
        assert [one["id"] for one in await it.json("queue", "list")] == ["m2"]
        assert await it.says("queue", "rm", "--all", "--yes") == "1 recipient of 1 message thrown away\n"
        assert await it.says("queue", "list") == "the queue is empty\n"
        assert await it.says("queue", "stats") == "the queue is empty\n"


async def test_stats_count_by_destination(tmp_path: Path) -> None:
    async with server(tmp_path, True) as it:
        lines = (await it.says("queue", "stats")).splitlines()
        assert lines[0] == "messages    2, 195K, the oldest 3h old"
        assert lines[1] == "recipients  3: 0 due, 2 waiting, 1 held"
        assert lines[4].split() == ["DESTINATION", "RECIPIENTS", "DUE", "WAITING", "HELD", "NEXT"]
        assert lines[5].split()[:5] == ["example.com", "2", "0", "1", "1"]
        assert (await it.json("queue", "stats"))["destinations"]["example.net"]["waiting"] == 1


async def test_the_same_verbs_work_on_the_files_of_a_server_that_is_down(tmp_path: Path) -> None:
    async with server(tmp_path, False) as it:
        assert await it.says("queue", "hold", "m1") == "2 recipients of 1 message held\n"
        assert "4 times, held" in await it.says("queue", "show", "m1")
        assert await it.says("queue", "release", "--all") == "3 recipients released\n"
        assert await it.says("queue", "flush") == "3 recipients to be tried now\n"
        assert (await it.json("queue", "stats"))["due"] == 3


async def test_an_id_that_is_called_all_is_no_word_for_all(tmp_path: Path) -> None:
    async with server(tmp_path, True) as it:
        await it.says("queue", "hold", "all", code=1)
        assert "all: no such message" in it.told
        assert await it.json("queue", "flush") == {"recipients": 2}


@pytest.mark.parametrize(
    "arguments",
    [
        ("rm",),
        ("rm", "--all", "m1"),
        ("retry",),
        ("hold",),
        ("release",),
        ("show",),
        ("list", "--limit", "-1"),
        ("list", "--limit", "many"),
        ("frob",),
    ],
)
def test_a_command_that_cannot_be_meant_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    done = mailkit(tmp_path, "queue", *arguments)
    assert done.returncode == 2, done.stderr


def test_without_a_server_and_a_queue_there_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    done = mailkit(tmp_path, "queue", "list")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(DOWN)
    assert "there is no queue here" in done.stderr.decode()
    assert not (tmp_path / "state").exists()
    (tmp_path / "mailkit.toml").write_text("state = [")
    done = mailkit(tmp_path, "queue", "list")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr.decode()


def test_help_names_the_verbs(tmp_path: Path) -> None:
    said = mailkit(tmp_path, "queue", "--help").stdout.decode()
    for verb in ("list", "show", "cat", "flush", "retry", "hold", "release", "rm", "stats"):
        assert verb in said


def test_asking_a_running_server_imports_no_reactor(tmp_path: Path) -> None:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    look = "import sys; from twisted_mail_kit.cli import queue, trace; sys.exit('twisted.internet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=tmp_path, check=False).returncode == 0


def test_the_usual_state_folders_are_those_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted_mail_kit.cli.asking import state_folder
    from twisted_mail_kit.config import load
    from twisted_mail_kit.demo import default_state

    file = tmp_path / "mailkit.toml"
    for state in ("", 'state = "here"\n', 'state = "~/there"\n', 'state = "/somewhere"\n'):
        file.write_text(state + CONFIGURATION.replace('state = "state"\n', ""))
        assert state_folder((str(file), None)) == load(file).tables.state
    monkeypatch.chdir(tmp_path)
    file.unlink()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    default_state().mkdir()
    assert state_folder((None, None)) == default_state()


def test_the_words_for_people() -> None:
    assert [words.span(n) for n in (-5, 0, 59, 60, 3599, 3600, 47.9 * 3600, 48 * 3600, 9e6)] == (
        ["0s", "0s", "59s", "1m", "59m", "1h", "47h", "2d", "104d"]
    )
    assert [words.size(n) for n in (0, 999, 1000, 10_000, 10_239, 1024 * 1023, 50 << 20)] == (
        ["0", "999", "1.0K", "9.8K", "10K", "1.0M", "50M"]
    )
    assert words.said("4.7.1", "4.7.1 Later", 451) == "451 4.7.1 Later"
    assert words.said("5.1.1", "550 5.1.1 Nobody", 550) == "550 5.1.1 Nobody"
    assert words.said("5.1.1", "Nobody") == "5.1.1 Nobody"
    assert words.harmless("a\ud800\x00\n\u2028\u202eé") == "a\\ud800\\x00\\n\\u2028\\u202eé"
    assert all(len(line) <= 100 for line in words.folded("x" * 1000 + " y" * 300, 22))
    assert "".join(line.strip() for line in words.folded("x" * 1000, 22)) == "x" * 1000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_root_becomes_the_one_whose_files_they_are() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        async with server(top, False) as it:
            queue = top / "state" / "queue"
            for path in (queue.parent, queue, *queue.rglob("*")):
                os.chown(path, 65534, 65534)
            await it.says("queue", "hold", "m1")
            assert {path.stat().st_uid for path in queue.rglob("*")} == {65534}
