"""Tables: strict about types, and everything that is wrong is told at once, with the nearest known key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from attrs import field, frozen
from attrs.validators import ge

from twisted_mail_kit.tables import Problems, read_table


@frozen(kw_only=True)
class Inner:
    seconds: float = field(default=3.0, validator=ge(0))
    names: tuple[str, ...] = ()


@frozen(kw_only=True)
class Outer:
    hostname: str
    count: int = field(default=1, validator=ge(1))
    quiet: bool = False
    where: Path | None = None
    how: Literal["refuse", "keep"] = "keep"
    aliases: dict[str, tuple[str, ...]] = field(factory=dict)
    inner: Inner = field(factory=Inner)
    rows: tuple[Inner, ...] = ()


def read(text: str) -> tuple[Outer | None, list[str]]:
    problems = Problems("mailkit.toml")
    return read_table(Outer, tomllib.loads(text), "", problems), problems.lines


def test_a_whole_table_is_read() -> None:
    made, problems = read(
        'hostname = "mx"\ncount = 3\nquiet = true\nwhere = "/var/x"\naliases = {a = ["b", "c"]}\n'
        '[inner]\nseconds = 5\nnames = ["x"]\n[[rows]]\n[[rows]]\nseconds = 1.5\n'
    )
    assert problems == []
    assert made == Outer(
        hostname="mx",
        count=3,
        quiet=True,
        where=Path("/var/x"),
        aliases={"a": ("b", "c")},
        inner=Inner(seconds=5.0, names=("x",)),
        rows=(Inner(), Inner(seconds=1.5)),
    )


def test_all_errors_are_told_at_once_each_with_its_place() -> None:
    made, problems = read('hostnme = "mx"\ncount = 0\n[inner]\nsecond = 1\nnames = "x"\n[[rows]]\nseconds = "soon"\n')
    assert made is None
    assert len(problems) == 6
    assert 'mailkit.toml: hostnme: unknown; did you mean "hostname"?' in problems
    assert "mailkit.toml: hostname: is missing" in problems
    assert any(line.startswith("mailkit.toml: count: ") and ">= 1" in line for line in problems)
    assert 'mailkit.toml: [inner] second: unknown; did you mean "seconds"?' in problems
    assert "mailkit.toml: [inner] names: a list expected, not 'x'" in problems
    assert "mailkit.toml: [rows.1] seconds: a number expected, not 'soon'" in problems


@pytest.mark.parametrize(
    "line",
    [
        "count = true",
        'count = "3"',
        "count = 1.5",
        "quiet = 1",
        "hostname = 3",
        "where = 3",
        'how = "sometimes"',
        "how = [1]",
        "inner = 3",
        "rows = {}",
    ],
)
def test_nothing_is_turned_into_what_was_not_written(line: str) -> None:
    key = line.partition(" ")[0]
    text = line if key == "hostname" else f'hostname = "mx"\n{line}'
    made, problems = read(text)
    assert made is None
    assert len(problems) == 1
    assert f" {key}: " in problems[0]
