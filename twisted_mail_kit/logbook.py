"""The log as text, in the lines that twistd writes, a turn of the reactor at a time."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from twisted.python.logfile import LogFile
from zope.interface import implementer

from twisted_mail_kit.net.turn import AtTurnsEnd

_URGENT = frozenset({LogLevel.warn, LogLevel.error, LogLevel.critical})


@implementer(ILogObserver)
class Logbook:
    """Lines as Twisted's `textFileLogObserver` writes them.

    That one formats the time and two templates for each line, and writes it at once: a tenth of what a message costs
    that comes in. Here the time is formatted once a second, a sentence that is ready (`net.telling`) is taken as it is,
    and what is said in one turn of the reactor is one write. Warnings and what is worse wait for nothing.
    """

    def __init__(self, file: IO[Any], reactor: Any) -> None:
        """`file` takes text, or octets where it has no `encoding`."""
        self._file = file
        self._takes_text = getattr(file, "encoding", None) is not None
        self._reactor = reactor
        self._thread = threading.get_ident()
        self._lines: list[str] = []
        self._flushing = AtTurnsEnd(reactor, self.flush)
        self._second = -1
        self._time = ""
        self._systems: dict[tuple[object, object], str] = {}
        # While all is closed too there are lines, and no turn any more.
        reactor.addSystemEventTrigger("after", "shutdown", self.flush)

    def __call__(self, event: LogEvent) -> None:
        """Write it down, soon. In any thread."""
        line = self._line(event)
        if not line:
            return
        if threading.get_ident() != self._thread:
            self._write(line)
            return
        self._lines.append(line)
        if event.get("log_level") in _URGENT or not self._reactor.running:
            self._flushing.now()
        else:
            self._flushing.soon()

    def flush(self) -> None:
        """Write what was said."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("".join(lines))

    def _write(self, text: str) -> None:
        self._file.write(text if self._takes_text else text.encode("utf-8", "backslashreplace"))
        self._file.flush()

    def _line(self, event: LogEvent) -> str:
        # Hot path: one or two lines a message.
        text = event.get("sentence")
        if text is None:
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
            if not text:
                return ""
        if "\n" in text:
            text = text.replace("\n", "\n\t")
        return f"{self._time_of(event.get('log_time'))} [{self._system_of(event)}] {text}\n"

    def _time_of(self, when: float | None) -> str:
        if when is None:
            return "-"
        second = int(when)
        if second != self._second:
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
            self._second = second
        return self._time

    def _system_of(self, event: LogEvent) -> str:
        system = event.get("log_system")
        if system is not None:
            return str(system)
        key = event.get("log_namespace"), event.get("log_level")
        known = self._systems.get(key)
        if known is None:
            namespace, level = key
            known = f"{namespace or '-'}#{getattr(level, 'name', '-')}"
            if len(self._systems) < 1000:
                self._systems[key] = known
        return known


def logbook_of(options: Mapping[str, Any], reactor: Any) -> Logbook | None:
    """The log where twistd's `options` want it: on stdout or in a file. None: they want something else, or an end.

    SIGUSR1 begins a new file, as with twistd's own.
    """
    name, stays = options.get("logfile") or "", bool(options.get("nodaemon"))
    if options.get("logger") or options.get("syslog") or (name == "-" and not stays):
        return None
    if name == "-" or (stays and not name):
        return Logbook(sys.stdout, reactor)
    file: Any = LogFile.fromFullPath(name or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(file.rotate))
    return Logbook(file, reactor)
