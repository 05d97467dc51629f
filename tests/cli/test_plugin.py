"""`mailkit plugin`, as an author types it: a new one is green at once, is listed, and is held to its promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twisted_mail_kit.cli.scaffold import KINDS, new_distribution, write_distribution
from twisted_mail_kit.errors import ConfigurationError

TOP = Path(__file__).parents[2]
EXAMPLE = TOP / "plugins" / "mailkit_example_store"


def run(*command: str | Path, code: int = 0, cwd: Path = TOP, path: Path | None = None) -> str:
    env = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def mailkit(*arguments: str | Path, code: int = 0, path: Path | None = None) -> str:
    return run(sys.executable, "-m", "twisted_mail_kit.cli", "plugin", *arguments, code=code, path=path)


def test_the_example_store_is_what_the_scaffold_writes() -> None:
    written = new_distribution("store", "example")
    for path, text in written.items():
        assert (EXAMPLE / path).read_text() == text, path
    made = ("__pycache__", ".ruff_cache", "egg-info", "dropin.cache", ".pytest_cache", "build")
    there = {str(one.relative_to(EXAMPLE)) for one in EXAMPLE.rglob("*") if one.is_file()}
    assert {one for one in there if not any(word in one for word in made)} == set(written)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_green_and_is_listed_and_fits_its_door(kind: str, tmp_path: Path) -> None:
    mailkit("new", kind, "acme-two", "--directory", tmp_path)
    folder = tmp_path / f"mailkit_acme_two_{kind}"
    only = ["tests/test_time.py"] if kind == "store" else []  # its contract is the example's
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *only, cwd=folder)
    assert " passed" in said and "failed" not in said
    listed = json.loads(mailkit("list", "--json", "--kind", kind, path=folder))
    (mine,) = [one for one in listed["plugins"] if one["name"] == "acme-two"]
    assert mine["factory"].startswith(f"mailkit_acme_two_{kind}.") and not mine["problem"]
    levels = ["--levels", "abilities"] if kind == "store" else []
    report = json.loads(mailkit("check", "acme-two", "--kind", kind, "--json", "--no-speed", *levels, path=folder))
    assert report["holds"] and report["abilities"] and not report["problem"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x", "acme-cloud-archive-abcdefghijk"])
def test_what_is_written_is_formatted_whatever_its_name(kind: str, name: str, tmp_path: Path) -> None:
    folder = write_distribution(kind, name, tmp_path)
    ruff = Path(sys.executable).parent / "ruff"
    if not ruff.exists():
        pytest.skip("ruff is not installed: pip install '.[dev]'")
    run(ruff, "check", "--no-cache", "--config", TOP / "pyproject.toml", folder)
    run(ruff, "format", "--no-cache", "--check", "--config", TOP / "pyproject.toml", folder)


@pytest.mark.parametrize("name", ["", "Acme", "1st", "a b", "../x", "a--b", "x" * 31, "class", "ä", "a-", "a\n"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a plugin's name"):
        write_distribution("store", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = write_distribution("check", "acme", tmp_path)
    (folder / "README.md").write_text("mine")
    assert "is there already" in mailkit("new", "check", "acme", "-d", tmp_path, code=1)
    assert (folder / "README.md").read_text() == "mine"


def test_the_list_says_where_a_plugin_is_from_and_what_it_can_do() -> None:
    said = mailkit("list", "--kind", "store")
    assert "sqlite" in said and "IChangeHints" in said and "mailkit_example_store 1.0" in said


def test_one_that_cannot_be_loaded_is_listed_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "twisted" / "plugins"
    folder.mkdir(parents=True)
    (folder / "acme_broken.py").write_text("raise RuntimeError('not today')")
    (folder / "acme_factory.py").write_text(
        "from twisted_mail_kit.plugin import Plugin\nx = Plugin(kind='store', name='gone', factory='acme.nothing')\n"
    )
    said = mailkit("list", code=1, path=tmp_path)
    assert "not today" in said and said.count("cannot be loaded: ") == 2


BROKEN = """
from twisted_mail_kit.plugin import Plugin
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore

class Account(MemoryAccount):
    async def state(self):
        return 7

class Store(MemoryStore):
    async def open_account(self, name, create=False):
        account = await super().open_account(name, create)
        account.__class__ = Account
        return account
"""


def test_a_broken_store_is_told_by_level_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "acme_broken_store.py").write_text(BROKEN + "\ndef make(options, context):\n    return Store()\n")
    (tmp_path / "twisted" / "plugins").mkdir(parents=True)
    (tmp_path / "twisted" / "plugins" / "acme_broken_store_plugin.py").write_text(
        "from twisted_mail_kit.plugin import Plugin\n"
        "x = Plugin(kind='store', name='acme-broken', factory='acme_broken_store.make')\n"
    )
    said = mailkit("check", "acme-broken", "--levels", "core", "--no-speed", code=1, path=tmp_path)
    assert "core: " in said and "  fails: " in said and "  skipped: " in said
    assert "IDLE hears of changes at once" in said
    assert "gone when the store is closed" in said


def test_what_cannot_be_checked_ends_with_2() -> None:
    assert "there are: " in mailkit("check", "nobodys", code=2)
    assert "no such level: soul" in mailkit("check", "memory", "--levels", "soul", code=2)
    assert "has no options" in mailkit("check", "memory", "--option", "x=1", "--no-speed", code=2)
