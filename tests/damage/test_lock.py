"""The state folder's lock: one server, or some commands together; what is told, and what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twisted_mail_kit.control.place import LOCK, take_lock
from twisted_mail_kit.errors import ConfigurationError

HOLDER = """
import sys, time
from pathlib import Path
from twisted_mail_kit.control.place import take_lock
take_lock(Path(sys.argv[1]))
print("has it", flush=True)
time.sleep(60)
"""


@contextmanager
def locked(path: Path, is_shared: bool = False) -> Iterator[None]:
    lock = take_lock(path, is_shared)
    yield
    os.close(lock)


def test_a_second_one_is_told_the_process_of_the_first(tmp_path: Path) -> None:
    with locked(tmp_path / LOCK):
        with pytest.raises(ConfigurationError, match=rf"another server.*\(process {os.getpid()}\): end it first"):
            take_lock(tmp_path / LOCK)
    with locked(tmp_path / LOCK):
        pass


def test_commands_share_it_and_a_server_waits_for_them(tmp_path: Path) -> None:
    first, second = take_lock(tmp_path / LOCK, is_shared=True), take_lock(tmp_path / LOCK, is_shared=True)
    with pytest.raises(ConfigurationError, match="command is at work"):
        take_lock(tmp_path / LOCK, patience=0.1)
    os.close(second)
    threading.Timer(0.3, lambda: os.close(first)).start()
    with locked(tmp_path / LOCK):
        with pytest.raises(ConfigurationError, match=r"server starts, or ends.*try again"):
            take_lock(tmp_path / LOCK, is_shared=True, patience=0.1)


def test_one_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / LOCK)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "has it\n"
    with pytest.raises(ConfigurationError, match=rf"\(process {holder.pid}\)"):
        take_lock(tmp_path / LOCK)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert (tmp_path / LOCK).read_text() == f"{holder.pid}\n"
    with locked(tmp_path / LOCK, is_shared=True):
        # Who has it has not written down who it is: nobody is accused who is dead.
        with pytest.raises(ConfigurationError) as told:
            take_lock(tmp_path / LOCK, patience=0.05)
        assert str(holder.pid) not in str(told.value)
    with locked(tmp_path / LOCK):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_what_cannot_be_locked_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(ConfigurationError, match=rf"{LOCK}: cannot be opened: Is a directory"):
        take_lock(tmp_path / LOCK)
