"""`mailkit metrics` and the page of a server that runs as a program of its own, with one process and with several."""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.interop.server import Server, environment
from tests.interop.test_main_job import CONFIGURATION
from tests.monitor.asking import ask

TABLE = '[metrics]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
MESSAGE = "From: ann@example.net\r\nSubject: hello\r\n\r\nHello.\r\n"


def configuration(workers: int) -> str:
    return f"workers = {workers}\n" + CONFIGURATION.format(store="sqlite") + TABLE


def mailkit(folder: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "twisted_mail_kit.cli", "metrics", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False, env=environment())
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def samples(text: str) -> dict[str, float]:
    return {
        one.name + "".join(f"{{{value}}}" for value in one.labels.values()): one.value
        for family in parsed(text)
        for one in family.samples
    }


def page(server: Server) -> dict[str, float]:
    status, _, text = ask(server.port("metrics"))
    assert status == 200
    return samples(text.decode())


def until(is_so: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def send(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
        client.sendmail("ann@example.net", ["joe@example.org"], MESSAGE)


def test_one_process(tmp_path: Path) -> None:
    with Server.configured(tmp_path, configuration(0)) as server:
        send(server)
        code, text, told = mailkit(tmp_path)
        assert (code, told) == (0, "")
        found = samples(text)
        assert found["mailkit_messages_total{2xx}{smtp}"] == 1
        assert found["mailkit_workers"] == 0
        assert found["process_resident_memory_bytes"] > 1e7
        code, text, told = mailkit(tmp_path, "--json")
        assert (code, told) == (0, "")
        (sessions,) = [one for one in json.loads(text) if one["name"] == "mailkit_sessions_total"]
        assert [["smtp"], 1] in sessions["samples"]
        assert page(server)["mailkit_messages_total{2xx}{smtp}"] == 1
        server.stop()
    code, text, told = mailkit(tmp_path)
    assert (code, text, told) == (1, "", "the server is not running: it alone knows its numbers\n")


def test_several_processes_are_added_up_and_none_of_it_is_lost_with_one(tmp_path: Path) -> None:
    with Server.configured(tmp_path, configuration(2)) as server:
        clients = [imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30) for _ in range(3)]
        for client in clients:
            client.login("joe@example.org", "secret")
        for _ in range(4):
            send(server)
        found = samples(mailkit(tmp_path)[1])
        assert found["mailkit_workers"] == 2
        assert found["mailkit_messages_total{2xx}{smtp}"] == 4
        assert found["mailkit_message_seconds_count{smtp}"] == 4
        assert found["mailkit_logins_total{ok}{imap}"] == 3
        assert found["mailkit_sessions_open{imap}"] == 3
        assert found["mailkit_commits_total{mail store}"] >= 4  # the owner's
        assert {name for name in found if name.startswith("process_open_fds")} == {
            "process_open_fds{owner}",
            "process_open_fds{worker 1}",
            "process_open_fds{worker 2}",
        }
        log = server.log.read_text()
        busy = re.findall(r"\[(\d)\] joe@example.org logged in", log)[0]
        (pid,) = re.findall(rf"worker {busy} \(process (\d+)\) takes connections", log)
        os.kill(int(pid), signal.SIGKILL)
        after = until(lambda: (now := page(server))["mailkit_worker_restarts_total"] == 1 and now)
        # Counters never go back; what it had open is gone with it.
        assert after["mailkit_messages_total{2xx}{smtp}"] == 4
        assert after["mailkit_logins_total{ok}{imap}"] == 3
        assert after.get("mailkit_sessions_open{imap}", 0) < 3
        for client in clients:
            client.shutdown()
