"""`mailkit user` and `mailkit config`, as an operator types them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = """
hostname = "mx.example.org"
domains = ["example.org"]
state = "state"
[[listen]]
service = "smtp"
endpoint = "tcp:0"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture(scope="module")
def with_joe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests of what changes nothing: each command takes a second."""
    folder = tmp_path_factory.mktemp("with-joe")
    (folder / "mailkit.toml").write_text(CONFIGURATION)
    assert mailkit(folder, "user", "add", "joe@example.org", "--password-stdin", stdin="one\n").returncode == 0
    return folder


def passwords(folder: Path) -> Path:
    (file,) = [path for path in (folder / "state").iterdir() if path.name.startswith("password") and path.suffix == ""]
    return file


def mailkit(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "twisted_mail_kit.cli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


def test_a_user_is_added_listed_changed_and_removed(folder: Path) -> None:
    assert mailkit(folder, "user", "list").stdout == ""
    assert mailkit(folder, "user", "add", "joe@example.org", "--password-stdin", stdin="one\n").returncode == 0
    assert mailkit(folder, "user", "add", "ann@example.org", "--password-stdin", stdin="two\n").returncode == 0
    assert mailkit(folder, "user", "list").stdout == "ann@example.org\njoe@example.org\n"
    assert json.loads(mailkit(folder, "user", "list", "--json").stdout) == ["ann@example.org", "joe@example.org"]
    assert mailkit(folder, "user", "passwd", "joe@example.org", "--password-stdin", stdin="three\n").returncode == 0
    assert mailkit(folder, "user", "rm", "ann@example.org").returncode == 0
    assert mailkit(folder, "user", "list").stdout == "joe@example.org\n"
    file = passwords(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "three" not in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (("add", "joe@example.org"), "x\n", "is there already"),
        (("passwd", "bob@example.org"), "x\n", "no user bob@example.org"),
        (("rm", "bob@example.org"), "", "bob@example.org"),
        (("add", "bob@example.org"), "", "no password on stdin"),
        (("add", "a b:c\x01@example.org"), "x\n", ""),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    with_joe: Path, arguments: tuple[str, ...], stdin: str, words: str
) -> None:
    before = passwords(with_joe).read_bytes()
    flags = () if arguments[0] == "rm" else ("--password-stdin",)
    done = mailkit(with_joe, "user", *arguments, *flags, stdin=stdin)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert passwords(with_joe).read_bytes() == before


def test_after_all_that_joe_is_there_alone(with_joe: Path) -> None:
    assert mailkit(with_joe, "user", "list").stdout == "joe@example.org\n"


def test_config_check_says_all_and_exits_1(folder: Path) -> None:
    assert mailkit(folder, "config", "check").returncode == 0
    (folder / "mailkit.toml").write_text(CONFIGURATION.replace("hostname", "hostnam").replace("smtp", "smpt"))
    done = mailkit(folder, "config", "check")
    assert done.returncode == 1
    assert 'did you mean "hostname"?' in done.stdout
    assert "smpt" in done.stdout


def test_the_demos_users_are_reached_by_its_state_folder(tmp_path: Path) -> None:
    done = mailkit(tmp_path, "--state", str(tmp_path / "none"), "user", "list")
    assert done.returncode == 1
    assert "no demo has run here" in done.stderr


def test_help_is_there_for_every_noun(folder: Path) -> None:
    said = mailkit(folder, "--help").stdout
    assert "user" in said
    assert "config" in said
    said = mailkit(folder, "user", "--help").stdout
    for verb in ("add", "passwd", "list", "rm"):
        assert verb in said
