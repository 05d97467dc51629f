"""`mailkit plugin`, as an author types it: a new one is green at once, is listed, and is held to its promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twisted_mail_kit.cli.plugin_contracts import beside
from twisted_mail_kit.cli.scaffold import KINDS, new_distribution, write_distribution
from twisted_mail_kit.errors import ConfigurationError

TOP = Path(__file__).parents[2]
EXAMPLE = TOP / "plugins" / "mailkit_example_store"


def run(*command: str | Path, code: int = 0, cwd: Path = TOP, path: Path | str | None = None) -> str:
    env = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def mailkit(*arguments: str | Path, code: int = 0, path: Path | str | None = None) -> str:
    return run(sys.executable, "-m", "twisted_mail_kit.cli", "plugin", *arguments, code=code, path=path)


def test_the_example_store_is_what_the_scaffold_writes() -> None:
    written = new_distribution("store", "example")
    for path, text in written.items():
        assert (EXAMPLE / path).read_text() == text, path
    made = ("__pycache__", ".ruff_cache", "egg-info", "dropin.cache", ".pytest_cache", ".hypothesis", "build")
    there = {str(one.relative_to(EXAMPLE)) for one in EXAMPLE.rglob("*") if one.is_file()}
    assert {one for one in there if not any(word in one for word in made)} == set(written)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_green_at_once_and_its_own_contract_is_found(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_distribution(kind, "acme-two", tmp_path)
    only = ["tests/test_time.py"] if kind == "store" else []  # its contract is the example's
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *only, cwd=folder)
    assert " passed" in said and "failed" not in said
    monkeypatch.syspath_prepend(folder)
    found = beside(kind, f"{folder.name}.make")
    contract = {"store": "test_store.py"}.get(kind, "test_contract.py")
    assert found is not None and found.source == f"{folder.name}/tests/{contract}"


def test_a_new_plugin_is_held_to_its_own_contract(tmp_path: Path) -> None:
    folder = write_distribution("check", "acme-two", tmp_path)
    how = ("--kind", "check", "--json", "--no-speed", "--levels", "core")
    report = json.loads(mailkit("check", "acme-two", *how, path=folder))
    assert report["holds"] and report["abilities"] == ["ICheck"] and not report["problem"]
    assert report["contract"] == f"{folder.name}/tests/test_contract.py"
    assert len(report["promises"]) == 8 and {one["level"] for one in report["promises"]} == {"core"}


def test_new_plugins_are_listed_with_what_they_can_do(tmp_path: Path) -> None:
    mailkit("new", "store", "acme", "--directory", tmp_path)
    folders = [tmp_path / "mailkit_acme_store"]
    folders += [write_distribution(kind, "acme", tmp_path) for kind in KINDS if kind != "store"]
    listed = json.loads(mailkit("list", "--json", path=os.pathsep.join(map(str, folders))))
    mine = {one["kind"]: one for one in listed["plugins"] if one["name"] == "acme"}
    assert mine.keys() == KINDS.keys()
    for kind, one in mine.items():
        assert one["factory"].startswith(f"mailkit_acme_{kind}.") and not one["problem"] and not one["unknown"]
        assert one["place"].endswith(f"mailkit_acme_{kind}/mailkit_acme_{kind}")
    assert [mine[kind]["abilities"][0] for kind in ("check", "delivery")] == ["ICheck", "IDeliveryTarget"]


def test_a_store_can_be_written_in_plain_code(tmp_path: Path) -> None:
    folder = write_distribution("store", "acme", tmp_path, blocking=True)
    assert "async def" not in (folder / "mailkit_acme_store" / "store.py").read_text()
    some = ("-k", "test_time or token")
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some, cwd=folder)
    assert " passed" in said and "failed" not in said


def test_a_new_plugin_can_be_installed(tmp_path: Path) -> None:
    folder = write_distribution("check", "acme", tmp_path)
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target")
    run(*pip, tmp_path / "site", folder)
    listed = json.loads(mailkit("list", "--json", "--kind", "check", path=tmp_path / "site"))
    (mine,) = [one for one in listed["plugins"] if one["name"] == "acme"]
    assert (mine["distribution"], mine["version"], mine["abilities"]) == ("mailkit_acme_check", "1.0", ["ICheck"])


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


def test_one_that_cannot_be_loaded_is_listed_with_the_reason_and_the_place(tmp_path: Path) -> None:
    folder = tmp_path / "twisted" / "plugins"
    folder.mkdir(parents=True)
    (folder / "acme_broken.py").write_text("import json\n\nraise RuntimeError('not today')")
    (folder / "acme_typing_error.py").write_text("x = 1\ndef broken(:\n")
    (folder / "acme_factory.py").write_text(
        "from twisted_mail_kit.plugin import Plugin\n"
        "x = Plugin(kind='store', name='gone', factory='acme.nothing')\n"
        "y = Plugin(kind='check', name='half', factory='acme_half.make')\n"
    )
    (tmp_path / "acme_half.py").write_text("import json\n\njson.loads('{')\n")
    said = mailkit("list", code=1, path=tmp_path)
    assert said.count("cannot be loaded: ") == 4
    for why, place, line in (
        ("not today", folder / "acme_broken.py", 3),
        ("invalid syntax", folder / "acme_typing_error.py", 2),
        ("acme", folder / "acme_factory.py", 2),
        ("JSONDecodeError", tmp_path / "acme_half.py", 3),
    ):
        (told,) = [one for one in said.splitlines() if f"({place}, line {line})" in one]
        assert why in told


def test_what_cannot_be_made_without_options_is_told(tmp_path: Path) -> None:
    (tmp_path / "twisted" / "plugins").mkdir(parents=True)
    (tmp_path / "twisted" / "plugins" / "acme_plugins.py").write_text(
        "from twisted_mail_kit.plugin import Plugin\n"
        "a = Plugin(kind='store', name='acme-sulks', factory='acme_parts.sulk')\n"
        "b = Plugin(kind='store', name='acme-dies', factory='acme_parts.die')\n"
        "c = Plugin(kind='store', name='acme-works', factory='acme_parts.work')\n"
    )
    (tmp_path / "acme_parts.py").write_text(
        "import os\n"
        "def sulk(options, context): raise RuntimeError('no database is named')\n"
        "def die(options, context): os._exit(3)\n"
        "def work(options, context):\n"
        "    from twisted_mail_kit.stores.memory import MemoryStore\n"
        "    print('good morning')\n"
        "    return MemoryStore()\n"
    )
    listed = json.loads(mailkit("list", "--json", path=tmp_path))
    by_name = {one["name"]: one for one in listed["plugins"]}
    assert by_name["acme-sulks"]["unknown"] == "RuntimeError: no database is named"
    assert "ended its process" in by_name["acme-dies"]["unknown"]
    assert "IMailStore" in by_name["acme-works"]["abilities"] and not by_name["acme-works"]["unknown"]
