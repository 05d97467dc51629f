"""Plugins: found in twisted/plugins, loaded late, and a broken one hurts nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from twisted_mail_kit.errors import PluginNotFound
from twisted_mail_kit.interfaces import IMailPlugin
from twisted_mail_kit.plugin import Plugin, broken, find, installed

# One installs a plugin; the others fail in three different ways.
WORKING = """
from twisted_mail_kit.plugin import Plugin
acme = Plugin(kind="store", name="acme", factory="acme_store.open_store", description="Acme's")
"""
BROKEN = {
    "acme_syntax.py": "this is no Python",
    "acme_missing.py": "import a_module_that_nobody_has",
    "acme_raises.py": "raise RuntimeError('not today')",
}


def test_the_bundled_plugins_come_in_by_the_same_door() -> None:
    names = {(plugin.kind, plugin.name) for plugin in installed()}
    assert {("store", "memory"), ("store", "sqlite"), ("auth", "passwords"), ("accounts", "directory")} <= names
    for plugin in installed():
        assert IMailPlugin.providedBy(plugin)
        assert plugin.description
        assert callable(plugin.load())


def test_a_name_that_nobody_has_is_told_with_those_that_there_are() -> None:
    with pytest.raises(PluginNotFound, match=r'no store plugin is called "acme".*sqlite'):
        find("store", "acme")


def test_a_kind_that_there_is_not_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="kind"):
        Plugin(kind="stroe", name="x", factory="x.y")


def test_nothing_is_broken_here() -> None:
    assert list(broken()) == []


def test_a_broken_plugin_is_named_and_the_others_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "twisted" / "plugins"
    folder.mkdir(parents=True)
    (folder / "acme_plugin.py").write_text(WORKING)
    for name, text in BROKEN.items():
        (folder / name).write_text(text)
    code = (
        "from twisted_mail_kit.plugin import find, installed, broken\n"
        "print(find('store', 'acme').factory, find('store', 'sqlite').name)\n"
        "for dropin, why in broken(): print(dropin, '!', why)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first == "acme_store.open_store sqlite"
    for name in BROKEN:
        assert [line for line in others if name in line], others
    assert [line for line in others if "not today" in line]
