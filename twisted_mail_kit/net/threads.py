"""Threads that do not keep a process alive."""

from __future__ import annotations

import threading
from typing import Any

from twisted.python.threadpool import ThreadPool


class _Thread(threading.Thread):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "daemon": True})


class DaemonThreads(ThreadPool):
    """A pool for work of which nothing is lost where the process ends in the middle of it: nobody was told that it is
    done. So a call that hangs, or that came while everything was being closed, holds up nobody's Ctrl-C."""

    threadFactory = _Thread
