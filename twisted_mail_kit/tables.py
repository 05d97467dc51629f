"""TOML tables to frozen attrs classes: strict, and with all errors at once, each with file, table and key."""

from __future__ import annotations

import types
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from cattrs import Converter
from cattrs.errors import BaseValidationError

Table = TypeVar("Table")


class Problems:
    """Everything that is wrong with one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: list[str] = []

    def add(self, table: str, key: str, problem: str) -> None:
        """One more: ``mailkit.toml: [imap] idle: …``."""
        where = f"[{table}] " if table else ""
        self.lines.append(f"{self.file}: {where}{key}: {problem}" if key else f"{self.file}: {where}{problem}")


def _strict(kind: type, *others: type) -> Any:
    def structure(value: Any, _: type) -> Any:
        # bool is an int to Python, and "25" would become 25: neither is what the writer of a file means.
        if isinstance(value, bool) and kind is not bool:
            raise TypeError(f"{_name(kind)} expected, not {value!r}")
        if not isinstance(value, (kind, *others)):
            raise TypeError(f"{_name(kind)} expected, not {value!r}")
        return kind(value)

    return structure


def _path(value: Any, _: type) -> Path:
    if not isinstance(value, str):
        raise TypeError(f"a path expected, not {value!r}")
    return Path(value).expanduser()


_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _name(kind: type) -> str:
    return _NAMES.get(kind, kind.__name__)


_converter = Converter(detailed_validation=True)
for _kind, _others in ((str, ()), (int, ()), (float, (int,)), (bool, ())):
    _converter.register_structure_hook(_kind, _strict(_kind, *_others))
_converter.register_structure_hook(Path, _path)


def read_table(
    cls: type[Table], values: Mapping[str, Any], table: str, problems: Problems, others: tuple[str, ...] = ()
) -> Table | None:
    """Make a `cls` of `values`; None, and something in `problems`, where that cannot be.

    `others` are keys that somebody else has read already, and that an unknown one may have been meant to be.
    """
    before = len(problems.lines)
    fields = {one.name: one for one in attrs.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            problems.add(table, key, _unknown(key, [*fields, *others]))
            continue
        inner = f"{table}.{key}" if table else key
        result = _read_value(hints[key], value, inner, (table, key), problems)
        if result is _BAD:
            continue
        validator = fields[key].validator
        if validator is not None:
            try:
                validator(None, fields[key], result)
            except (ValueError, TypeError) as problem:
                problems.add(table, key, _first_line(problem))
                continue
        made[key] = result
    for key, one in fields.items():
        if one.default is attrs.NOTHING and key not in values and one.init:
            problems.add(table, key, "is missing")
    if len(problems.lines) > before:
        return None
    try:
        return cls(**made)
    except (ValueError, TypeError) as problem:
        problems.add(table, "", _first_line(problem))
        return None


_BAD = object()


def _read_value(hint: Any, value: Any, inner: str, where: tuple[str, str], problems: Problems) -> Any:
    """The value as `hint` wants it, or `_BAD`, with a problem told."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        choices = [one for one in get_args(hint) if one is not type(None)]
        if len(choices) == 1:
            if choices[0] is Path and value == "":
                return None  # TOML has no null
            return _read_value(choices[0], value, inner, where, problems)
    if isinstance(hint, type) and attrs.has(hint):
        if not isinstance(value, Mapping):
            problems.add(*where, f"a table expected, not {value!r}")
            return _BAD
        result = read_table(hint, value, inner, problems)
        return _BAD if result is None else result
    if origin in (list, tuple) and attrs.has(get_args(hint)[0]):
        if not isinstance(value, list):
            problems.add(*where, "tables like [[" + inner + "]] expected")
            return _BAD
        rows = [read_table(get_args(hint)[0], one, f"{inner}.{n}", problems) for n, one in enumerate(value, 1)]
        return _BAD if None in rows else origin(rows)
    if origin is Literal and value not in get_args(hint):
        problems.add(*where, f"one of {', '.join(map(repr, get_args(hint)))} expected, not {value!r}")
        return _BAD
    if origin in (list, tuple, set, frozenset) and not isinstance(value, list):
        problems.add(*where, f"a list expected, not {value!r}")
        return _BAD
    try:
        return _converter.structure(value, hint)
    except Exception as problem:  # cattrs has many ways to say no
        problems.add(*where, _first_line(problem))
        return _BAD


def _unknown(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, 1, 0.6)
    return f'unknown; did you mean "{near[0]}"?' if near else f"unknown; known here: {', '.join(known) or 'nothing'}"


def _first_line(problem: BaseException) -> str:
    while isinstance(problem, BaseValidationError):
        problem = problem.exceptions[0]
    # attrs' validators put the attribute and the class behind the sentence, as further args.
    return str(problem.args[0] if problem.args else problem).partition("\n")[0]
