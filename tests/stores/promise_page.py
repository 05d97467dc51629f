"""Reads what a store promises: sentence by sentence from the doors, and row by row from docs/store-promises.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "store-promises.md"
DOORS = "IMailStore IAccount IBlobWriter IChangeHints ISharedBlobs IAccountList"
DOORS += " IListing IReadMany IReadElsewhere IMaintenance"
SOURCES = {"interfaces.py": set(DOORS.split()), "mail/facts.py": None, "mail/operations.py": None}
"""File -> its classes that are a store's; None: all."""
NO_PROMISE, NOT_TESTABLE = "*not a promise*: ", "*not testable by a suite*: "


class Row(NamedTuple):
    """A sentence of the page."""

    place: str
    """``IAccount.apply``; of what stands under "All together": nothing."""
    sentence: str
    held_by: dict[str, str]
    """Promise, with its ``test_`` -> level."""
    reason: str
    """Why nothing holds it."""


def sentences_of_the_doors() -> Iterator[tuple[str, str, int]]:
    """(place, sentence, which of that place) of every docstring of a store's doors."""
    for file, classes in SOURCES.items():
        tree = ast.parse((TOP / "twisted_mail_kit" / file).read_text())
        for one in tree.body:
            if isinstance(one, ast.ClassDef) and not one.name.startswith("_") and (not classes or one.name in classes):
                for place, text in _docstrings(one):
                    for number, sentence in enumerate(_sentences(text)):
                        yield place, sentence, number


def _docstrings(one: ast.ClassDef) -> Iterator[tuple[str, str]]:
    yield one.name, ast.get_docstring(one) or ""
    field = ""
    for item in one.body:
        match item:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{one.name}.{item.name}", ast.get_docstring(item) or ""
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
            case ast.Expr(value=ast.Constant(value=str(text))) if field:
                yield f"{one.name}.{field}", text
                field = ""


def _sentences(text: str) -> list[str]:
    words = " ".join(text.split()).replace("|", r"\|").replace("``", "`")
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`(])", words) if words else []


def rows() -> Iterator[Row]:
    """What the page says."""
    door = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            door = line[3:]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells or cells[0] in ("where", "sentence") or set(cells[0]) == {"-"}:
            continue
        where = "" if len(cells) == 2 else ".".join(filter(None, (door, cells[0].strip("`"))))
        held, reason = cells[-1], ""
        if held.startswith(("*not ", "*")):
            held, reason = "", held
        found = re.findall(r"`(\w+)`(?: \((\w+)\))?", held)
        yield Row(where, cells[-2], {f"test_{name}": level or "core" for name, level in found}, reason)
