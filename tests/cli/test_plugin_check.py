"""`mailkit plugin check`: what it says of plugins that break promises, hang, die, or have contracts of their own."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit import interfaces
from twisted_mail_kit.cli.plugin_check import Wanted, checked
from twisted_mail_kit.cli.plugin_clients import BROKEN, STORE
from twisted_mail_kit.cli.plugin_contracts import CONTRACTS, LEVELS, named
from twisted_mail_kit.cli.plugin_run import Errand, run
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.testing.contracts import LEVELS as STORE_LEVELS
from twisted_mail_kit.testing.contracts.part import PART_LEVELS

TOP = Path(__file__).parents[2]
DROPIN = """
from twisted_mail_kit.plugin import Plugin
x = Plugin(kind={kind!r}, name="acme-broken", factory="acme_broken.make")
"""


def check(*arguments: str, code: int = 0, path: Path | None = None) -> str:
    command = [sys.executable, "-m", "twisted_mail_kit.cli", "plugin", "check", *arguments]
    env = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def install(path: Path, kind: str, text: str) -> Path:
    """A plugin on the path."""
    (path / "acme_broken.py").write_text(text)
    (path / "twisted" / "plugins").mkdir(parents=True)
    (path / "twisted" / "plugins" / "acme_broken_plugin.py").write_text(DROPIN.format(kind=kind))
    return path


STORE_THAT_LIES = """
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore

class Account(MemoryAccount):
    async def state(self):
        return 7

class Store(MemoryStore):
    async def open_account(self, name, create=False):
        account = await super().open_account(name, create)
        account.__class__ = Account
        return account

def make(options, context):
    return Store(context.clock)
"""


def test_a_broken_store_is_told_by_level_and_ends_with_1(tmp_path: Path) -> None:
    install(tmp_path, "store", STORE_THAT_LIES)
    said = check("acme-broken", "--levels", "core", "--no-speed", code=1, path=tmp_path)
    assert "core: " in said and "  fails: " in said and "  skipped: " in said
    assert "IDLE hears of changes at once" in said
    assert "what is kept is gone when it is closed" in said
    assert "what it forgets in time" not in said, "its clock is the server's, and is turned"
    assert "core fails: clients see what is not so" in said
    assert "not looked at: abilities, streaming, faults, crash, processes, model" in said


CHECK_THAT_HANGS_AND_DIES = """
import os
import time

from twisted_mail_kit.checks import Check

class Broken(Check):
    name = "broken"

    async def greeted(self, peer):
        if peer.name.startswith("-rf"):
            time.sleep(3600)

    async def message(self, envelope, recipients, message):
        if len(recipients) == 1000:
            os._exit(3)

def make(options, context):
    return Broken()
"""


def test_a_promise_that_hangs_and_one_that_kills_are_told_and_the_others_are_looked_at(tmp_path: Path) -> None:
    install(tmp_path, "check", CHECK_THAT_HANGS_AND_DIES)
    said = check("acme-broken", "--kind", "check", "--patience", "3", "--json", "--no-speed", code=1, path=tmp_path)
    report = json.loads(said)
    failed = {one["name"]: one for one in report["promises"] if one["outcome"] == "failed"}
    assert failed.keys() == {"every peer is answered", "a message for a thousand is answered"}
    hung = failed["every peer is answered"]["why"]
    assert "within 3 seconds" in hung and f"{tmp_path}/acme_broken.py, line 12" in hung
    assert "its process has died" in failed["a message for a thousand is answered"]["why"]
    names = [one["name"] for one in report["promises"]]
    assert len(names) == len(set(names)) == 18
    assert report["clients"][0] == "it is asked after HELO or EHLO, at the end of data"


OWN_CONTRACT = """
from twisted_mail_kit.checks import Check
from twisted_mail_kit.testing.contracts import CheckContract

class Mine(CheckContract):
    accepts = b"Subject: hello\\r\\n\\r\\nHello.\\r\\n"

    def make_check(self, tmp_path):
        return Check()

    def make_broken(self, tmp_path):
        return Check()
"""


@pytest.mark.parametrize("how", ["acme_contract:Mine", "{}/acme_contract.py::Mine"])
def test_a_contract_can_be_named(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_contract.py").write_text(OWN_CONTRACT)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    held = named(how.format(tmp_path), tmp_path / "scratch")
    promises = run(Errand(files=held.files, contract="CheckContract", levels=["kept"], folder=held.folder))
    assert [(one["level"], one["outcome"]) for one in promises] == [("kept", "passed")] * 2


@pytest.mark.parametrize(
    ("why", "wanted"),
    [
        ("there are: ", {"kind": "store", "name": "nobodys"}),
        ("no such level: soul", {"kind": "store", "name": "memory", "levels": ["soul"]}),
        ("no such level: crash", {"kind": "accounts", "name": "directory", "levels": ["crash"]}),
        ("has no options", {"kind": "store", "name": "memory", "options": ["x=1"]}),
        ("No module named", {"kind": "store", "name": "memory", "contract": "nothing:X"}),
    ],
)
def test_what_cannot_be_checked_is_told(why: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=why):
        checked(Wanted(**wanted, speed=False))


@pytest.mark.parametrize("text", ["nonsense", "a.b:c d", "a b:C", "nothing.py", "nothing.py::X"])
def test_a_contract_that_cannot_be_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected|there is no file"):
        named(text, tmp_path)


def test_what_cannot_be_checked_ends_with_2() -> None:
    assert "there are: " in check("nobodys", code=2)


def test_a_bundled_plugin_keeps_the_general_contract_and_is_measured() -> None:
    report = json.loads(check("low-disk", "--kind", "check", "--json"))
    assert report["holds"] and report["contract"] == "the general contract" and not report["not looked at"]
    assert all(rate > 0 for rate in report["speed"]["low-disk"].values())


def test_the_levels_are_those_of_the_contracts() -> None:
    assert LEVELS["store"] == STORE_LEVELS and LEVELS["auth"] == tuple(PART_LEVELS)
    assert CONTRACTS.keys() == LEVELS.keys()
    assert {level for levels in LEVELS.values() for level in levels} - BROKEN.keys() == {"abilities", "hands"}


def test_clients_are_told_of_every_ability_of_a_store() -> None:
    optional = {
        name
        for name, one in vars(interfaces).items()
        if name.startswith("I") and (inspect.getdoc(one) or "").startswith(("An IMailStore ", "An IAccount "))
    }
    assert optional - {"IMaildropStore"} == STORE.keys()
