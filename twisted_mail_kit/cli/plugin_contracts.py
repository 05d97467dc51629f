"""Which contract a plugin is held to: its author's own, or the general one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from twisted_mail_kit.errors import ConfigurationError

_PART_LEVELS = ("core", "abilities", "hostile", "crowds", "kept")
LEVELS: dict[str, tuple[str, ...]] = {
    "store": ("core", "abilities", "streaming", "faults", "crash", "processes", "model"),
    "spool": ("work", "hands", "octets", "kept"),
    **dict.fromkeys(("auth", "delivery"), _PART_LEVELS),
    **dict.fromkeys(("accounts", "check"), tuple(one for one in _PART_LEVELS if one != "abilities")),
}
"""As the contracts have them, which need pytest to be imported."""
CONTRACTS = {
    "store": ("MailStoreContract", "make_store"),
    "auth": ("AuthenticatorContract", "make_checker"),
    "accounts": ("AccountsContract", "make_accounts"),
    "check": ("CheckContract", "make_check"),
    "delivery": ("DeliveryContract", "make_target"),
    "spool": ("SpoolContract", "make_spool"),
}
"""The class of each kind's contract, and its method that makes a part."""
GENERAL = '''"""The contract of the {kind} plugin "{name}", as `mailkit plugin check` writes it."""

import sys

from twisted_mail_kit.cli.plugin_hands import {hands}
from twisted_mail_kit.testing.contracts import {contract}


class TestPlugin({hands}, {contract}):
    kind, name, options = "{kind}", {name!r}, {options!r}
    persistent = {persistent!r}

    def {make}(self, tmp_path):
        return self.made(tmp_path, sys.modules["twisted.internet.reactor"])
'''
ALIAS = """# A class that pytest would pass over, for its name does not begin with Test.
import importlib.util
import sys

sys.path.insert(0, {home!r})
spec = importlib.util.spec_from_file_location({stem!r}, {path!r})
module = sys.modules[{stem!r}] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
TestPlugin = module.{name}
"""
_HANDS = {("store", "sqlite"): "SQLiteStoreHands", ("store", "memory"): "MemoryStoreHands"}


@frozen
class Held:
    """What a plugin is held to."""

    files: tuple[str, ...]
    folder: Path
    source: str
    """For people: whose contract it is."""


def general(kind: str, name: str, options: Sequence[str], persistent: bool, folder: Path) -> Held:
    """The contract that fits every plugin of a kind: it knows of it what the configuration knows."""
    contract, make = CONTRACTS[kind]
    hands = _HANDS.get((kind, name), "StoreHands" if kind == "store" else "Hands")
    words = {"kind": kind, "name": name, "options": list(options), "persistent": persistent}
    text = GENERAL.format(contract=contract, make=make, hands=hands, **words)
    return _written(text, folder, "the general contract")


def named(text: str, folder: Path) -> Held:
    """``module:Class``, or ``file.py::Class`` as pytest has it. Raises ConfigurationError."""
    if text.partition("::")[0].endswith(".py"):
        file, _, name = text.partition("::")
        path = Path(file).absolute()
        if not path.is_file():
            raise ConfigurationError([f"--contract {text}: there is no file {path}"])
        if not name or name.startswith("Test"):
            return Held((f"{path}::{name}" if name else str(path),), _home_of(path), text)
        return _written(ALIAS.format(home=str(_home_of(path)), path=str(path), stem=path.stem, name=name), folder, text)
    module, colon, name = text.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ConfigurationError([f"--contract {text}: module:Class expected, or file.py::Class"])
    return _written(f"from {module} import {name} as TestPlugin  # noqa\n", folder, text)


def _written(text: str, folder: Path, source: str) -> Held:
    (folder / "test_contract.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return Held(("test_contract.py",), folder, source)


def beside(kind: str, factory: str) -> Held | None:
    """The author's own: test files in ``tests``, beside the package that the factory is in, which name the contract of
    this kind. Only a checkout has them."""
    try:
        spec = find_spec(factory.split(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or spec.name == "twisted_mail_kit":
        return None
    home = Path(spec.origin).resolve().parent
    home = home.parent if spec.submodule_search_locations else home
    if not any((home / name).is_file() for name in ("setup.cfg", "pyproject.toml", "setup.py")):
        return None
    contract = CONTRACTS[kind][0]
    words = (contract, _function_of(contract))
    files = [
        file
        for file in sorted((home / "tests").glob("test_*.py"))
        if any(word in file.read_text(encoding="utf-8", errors="replace") for word in words)
    ]
    if not files:
        return None
    names = ", ".join(str(file.relative_to(home)) for file in files)
    return Held(tuple(map(str, files)), home, f"{home.name}/{names}")


def _function_of(contract: str) -> str:
    """``delivery_contract`` for DeliveryContract."""
    return {"MailStoreContract": "mail_store_contract"}.get(
        contract, f"{contract[: -len('Contract')].lower()}_contract"
    )


def _home_of(file: Path) -> Path:
    """The nearest folder above that is a distribution's; else the file's own."""
    for folder in file.parents:
        if any((folder / name).is_file() for name in ("setup.cfg", "pyproject.toml", "setup.py")):
            return folder
    return file.parent


def check_levels(kind: str, levels: Sequence[str]) -> None:
    """Raises ConfigurationError where there is none of that name."""
    if unknown := set(levels) - set(LEVELS[kind]):
        known = ", ".join(LEVELS[kind])
        raise ConfigurationError([f"no such level: {', '.join(sorted(unknown))}; {kind} plugins have {known}"])


def needs_pytest() -> None:
    """Raises ConfigurationError where it is not installed."""
    if find_spec("pytest") is None or find_spec("pytest_twisted") is None:
        raise ConfigurationError(["the contract needs pytest and pytest-twisted: pip install 'twisted_mail_kit[test]'"])
