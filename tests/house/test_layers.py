"""The drawing of the house in docs/tour.md, held against the imports: arrows only point down."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "twisted_mail_kit"
ROOT = "twisted_mail_kit"

SESSIONS = {"smtp", "imap", "pop3"}
ROOMS = {"delivery", "checks", "auth", "accounts", "stores", "queue", "adapters"}
DOORS = {"interfaces", "errors"}
ASSEMBLY = {"kit", "fittings", "outgoing", "assembly", "config", "tables", "plugin", "demo", "running", "tap"}
ASSEMBLY |= {"cli", "control", "logbook", "monitor", "reference", "workers"}
SEAMS = {"net", "sasl", "metrics"}

# Which part of the house may import which. `testing` is public help for tests, and may use what it tests.
MAY_IMPORT = {
    "_version": set(),
    "mail": {"mail"},
    "errors": {"mail"},
    "interfaces": {"mail", "errors"},
    "wire": {"mail", "errors", "net"},
    "metrics": {"metrics"},
    "net": {"mail", "errors", "interfaces", "metrics", "net"},
    "sasl": {"mail", "errors", "interfaces"},
    **{one: {"mail", "net", "sasl", "metrics", "wire", one} | DOORS for one in SESSIONS},
    **{one: {"mail", "net", "sasl", "metrics"} | DOORS | ROOMS for one in ROOMS},
    **{one: {"mail", "_version"} | DOORS | SEAMS | SESSIONS | ROOMS | ASSEMBLY for one in ASSEMBLY},
    "testing": {"mail", "testing"} | DOORS | SEAMS | SESSIONS | ROOMS,
    "": {"_version", "kit", "fittings", "outgoing", "plugin"} | DOORS,
}

# What each may import from outside the house; None: whatever setup.cfg asks for.
PURE = {"mail": {"idna"}, "wire": {"attrs"}, "errors": set(), "_version": set()}
STDLIB_ONLY = set(PURE)
# net.inbox is where the wire's NEED_DATA lives: the one name that the wire takes from the seam.
WIRE_FROM_NET = {"net.inbox"}


def part_of(module: str) -> str:
    """The part of the house that a dotted name below the package belongs to."""
    names = module.split(".")
    if len(names) > 1 and names[0] in SESSIONS and names[1] == "wire":
        return "wire"
    return names[0]


def modules() -> list[tuple[str, Path]]:
    """(dotted name below the package, file) of every module."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        names = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if names[-1] == "__init__":
            names.pop()
        found.append((".".join(names), path))
    return found


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import in a file, also of those within functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module == ROOT:
                found += [(node.lineno, f"{ROOT}.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, node.module or ""))
    return found


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name or "front desk" for name, _ in modules()])
def test_arrows_only_point_down(module: str, path: Path) -> None:
    part = part_of(module)
    assert part in MAY_IMPORT, f"{module}: where in the house is it? Add it to this table and to docs/tour.md"
    for line, name in imports(path):
        where = f"{path.relative_to(PACKAGE.parent)}:{line}: imports {name}"
        if name == ROOT or name.startswith(ROOT + "."):
            below = name[len(ROOT) + 1 :]
            assert part_of(below) in MAY_IMPORT[part] or part_of(below) == part, where
            if part == "wire" and below.startswith("net"):
                assert below in WIRE_FROM_NET, where
            if part == "wire" and part_of(below) == "wire":
                assert below.split(".")[0] == module.split(".")[0], where
        elif part in STDLIB_ONLY:
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names or top in PURE[part], where


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name or "front desk" for name, _ in modules()])
def test_nobody_but_the_entrance_takes_the_global_reactor(module: str, path: Path) -> None:
    allowed = part_of(module) in {"tap", "cli", "kit"}  # kit: only where the embedder hands none in
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
            assert allowed or "reactor" not in [one.name for one in node.names], f"{path}:{node.lineno}"


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name or "front desk" for name, _ in modules()])
def test_each_file_begins_with_its_sentence(module: str, path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path}: the first line says what the file is for"
    assert docstring.splitlines()[0].rstrip().endswith((".", ":")), f"{path}: one sentence, in one line"


def test_no_plugin_folder_is_a_package() -> None:
    # An __init__.py there would overwrite Twisted's own, and break twistd when we are uninstalled.
    top = PACKAGE.parent
    for folder in [top / "twisted", *top.glob("plugins/*/twisted")]:
        assert not list(folder.rglob("__init__.py"))
