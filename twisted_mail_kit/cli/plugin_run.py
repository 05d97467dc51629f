"""Runs a contract in a process of its own, and watches it: one that hangs is ended, told of, and passed over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import field, frozen

from twisted_mail_kit.cli.plugin_report import name_of
from twisted_mail_kit.errors import ConfigurationError

SLOW_LEVELS = {"crash": 4, "faults": 4, "processes": 2}
"""How much more patience these need than others: one promise of theirs starts many processes."""
MOST_HANGS = 3
"""After so many it is over."""
QUICK = {
    "MAILKIT_CRASHES": "3",
    "MAILKIT_POWER_CUTS": "4",
    "MAILKIT_FAULTS": "4",
    "MAILKIT_LARGE": "2000000",
    "MAILKIT_MANY": "500",
    "MAILKIT_MODEL": "30",
}
"""Small sizes of a store's levels, by the names under which they are said in the environment."""
Promise = dict[str, str]


@frozen(kw_only=True)
class Errand:
    """Which promises are to be run."""

    files: Sequence[str]
    """Test files, or ``file::Class``."""
    contract: str
    """The name of the class that contracts of this kind come from."""
    levels: Sequence[str] = ()
    """Without it all."""
    folder: Path
    """Where pytest is at home."""
    patience: float = 300.0
    """Seconds that one promise may take."""
    quick: bool = False
    options: Sequence[str] = field(default=("-p", "no:cacheprovider"))


def run(errand: Errand) -> list[Promise]:
    """What became of each promise. Raises ConfigurationError: nothing could be run."""
    with TemporaryDirectory(prefix="mailkit-report-") as scratch:
        report, done = Path(scratch) / "report", Path(scratch) / "done"
        done.touch()
        promises: list[Promise] = []
        for _ in range(MOST_HANGS):
            report.write_text("")
            said, hangs = _watched(errand, report, done)
            lines = [json.loads(line) for line in report.read_text().splitlines()]
            promises += [line for line in lines if "outcome" in line]
            if not promises and not hangs:
                raise ConfigurationError([_why_nothing(lines, said)])
            begun = next((line for line in reversed(lines) if "begins" in line), None)
            is_over = begun is None or any(line.get("id") == begun["begins"] for line in lines)
            if is_over:
                break
            assert begun is not None
            promises.append(_broken_off(begun, said, hangs))
            done.write_text("\n".join(one["id"] for one in promises))
        else:
            promises.append(_given_up())
        return promises


def _watched(errand: Errand, report: Path, done: Path) -> tuple[str, float]:
    """Run it once: what it said, and the seconds after which it was ended (0: it came to its end)."""
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", "-q", "-p", "twisted_mail_kit.cli.plugin_report"]
    command += [*errand.options, f"--mailkit-report={report}", f"--mailkit-contract={errand.contract}"]
    command += [f"--mailkit-levels={','.join(errand.levels)}", f"--mailkit-done={done}"]
    command += errand.files
    output = report.with_name("output")
    env = {"HYPOTHESIS_STORAGE_DIRECTORY": str(report.with_name("hypothesis")), "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **env, **(QUICK if errand.quick else {})}
    with output.open("wb") as sink:
        # A session of its own: what it has started ends with it.
        process = subprocess.Popen(
            command,
            cwd=errand.folder,
            env=env,
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            ended_after = _wait(process, report, errand.patience)
        finally:
            _end(process)
    return output.read_text(errors="replace"), ended_after


def _wait(process: subprocess.Popen[bytes], report: Path, patience: float) -> float:
    size, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now = report.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
            limit = patience * SLOW_LEVELS.get(_level_now(report), 1)
        elif time.monotonic() - since > (limit if size else max(patience, 30)):
            process.send_signal(signal.SIGABRT)  # faulthandler says where each thread is
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass
            return time.monotonic() - since
    return 0.0


def _level_now(report: Path) -> str:
    """The level of the promise that was begun last."""
    for line in reversed(report.read_text().splitlines()):
        try:
            level = json.loads(line).get("level")
        except ValueError:
            continue  # half written
        if level is not None:
            return str(level)
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _broken_off(begun: Promise, said: str, hangs: float) -> Promise:
    """A promise in whose middle the process has ended, or was ended."""
    nodeid = begun["begins"]
    why = f"nothing came of it within {hangs:.0f} seconds" if hangs else "its process has died"
    if place := _where(said):
        why += f"; it was in {place}"
    return {
        "id": nodeid,
        "level": begun["level"],
        "name": name_of(nodeid),
        "outcome": "failed",
        "why": why,
        "story": f"{why}\n{said[-4000:]}",
    }


def _where(said: str) -> str:
    """The innermost place that is neither Python's nor ours, of what faulthandler has written of the main thread."""
    main = said.rpartition("Current thread")[2] or said.rpartition("Thread 0x")[2]
    for line in main.splitlines():
        words = line.strip()
        if words.startswith('File "') and "/lib/python3" not in words and "twisted_mail_kit" not in words:
            return words.removeprefix("File ").replace('"', "")
    return ""


def _given_up() -> Promise:
    why = f"{MOST_HANGS} promises did not come to an end: the rest was not looked at"
    return {"id": "", "level": "the rest", "name": "all others", "outcome": "failed", "why": why, "story": why}


def _why_nothing(lines: Sequence[Any], said: str) -> str:
    """One line that says why there are no promises."""
    for line in lines:
        if "problem" in line:
            return f"the contract cannot be run: {line['problem']}"
    if any(line.get("chosen") == "0" for line in lines):
        return "the contract has no promise of these levels"
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return f"the contract cannot be run: {last[0]}"
