"""The reference of all settings, in Markdown, made from the classes that read them."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from twisted_mail_kit.config import Tables
from twisted_mail_kit.plugin import installed

MARK = "<!-- made by `python -m twisted_mail_kit.reference`; do not edit below -->\n"


def reference() -> str:
    """Every table that the core and the bundled plugins read; one line a key."""
    sections = list(_table(Tables, None, ""))
    for plugin in sorted(installed(), key=lambda one: (one.kind, one.name)):
        factory = getattr(plugin, "factory", "")
        if factory.startswith("twisted_mail_kit."):
            options = plugin.load_options()  # type: ignore[attr-defined]
            head = f'## {plugin.kind} plugin "{plugin.name}"\n\n{plugin.description}.\n'
            if options is None:
                sections.append(head + "\nNo options.\n")
            else:
                sections.append(head + "\n" + _rows(options, None))
                sections += _inner_tables(options, None, plugin.kind)
    return "\n".join(sections)


def _table(cls: type, made: Any, name: str) -> Iterator[str]:
    """One table and those in it; `made` is what stands there when the file says nothing of it, if that is known."""
    title = f"## `[{name}]`" if name else "## The top of the file"
    yield f"{title}\n\n{_sentence(cls)}\n\n{_rows(cls, made)}"
    yield from _inner_tables(cls, made, name)


def _inner_tables(cls: type, made: Any, name: str) -> Iterator[str]:
    hints = get_type_hints(cls)
    for one in attrs.fields(cls):
        inner, many = _inner(hints[one.name])
        if inner is not None:
            path = f"{name}.{one.name}" if name else one.name
            yield from _table(inner, None if many else _value(one, made), f"[{path}]" if many else path)


def _inner(hint: Any) -> tuple[type | None, bool]:
    """The attrs class in a hint, and whether there may be many of them."""
    if get_origin(hint) in (Union, types.UnionType):
        found = [_inner(choice) for choice in get_args(hint) if choice is not type(None)]
        return found[0] if found else (None, False)
    if get_origin(hint) in (tuple, list):
        inner, _ = _inner(get_args(hint)[0])
        return inner, inner is not None
    return (hint, False) if isinstance(hint, type) and attrs.has(hint) else (None, False)


def _rows(cls: type, made: Any) -> str:
    texts = _docstrings(cls)
    hints = get_type_hints(cls)
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for one in attrs.fields(cls):
        if _inner(hints[one.name])[0] is None:
            rows.append(f"| `{one.name}` | {_default(one, made)} | {texts.get(one.name, '')} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _default(one: Any, made: Any) -> str:
    return "needed" if one.default is attrs.NOTHING and made is None else _toml(_value(one, made))


def _value(one: Any, made: Any) -> Any:
    if made is not None:
        return getattr(made, one.name)
    if one.default is attrs.NOTHING:
        return None
    return one.default.factory() if isinstance(one.default, attrs.Factory) else one.default  # type: ignore[arg-type]


def _toml(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{value:_}`"
    if isinstance(value, (str, Path)):
        return f'`"{value}"`'
    if isinstance(value, (tuple, list, frozenset)):
        return "`[" + ", ".join(_toml(one).strip("`") for one in value) + "]`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f'"{key}" = {_toml(one).strip("`")}' for key, one in value.items()) + "}`"
    return f"`{value}`"


def _sentence(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split())


def _docstrings(cls: type) -> dict[str, str]:
    """The text below each field: Python forgets it, the source does not."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    texts = {}
    for above, below in itertools.pairwise(body):
        if (
            isinstance(above, ast.AnnAssign)
            and isinstance(above.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            texts[above.target.id] = " ".join(str(below.value.value).split()).replace("|", "\\|")
    return texts


def write_below(document: Path, mark: str, made: str) -> None:
    """Put `made` below the mark of a page, in place of what was made before; what is above stays."""
    above, _, _ = document.read_text().partition(mark)
    document.write_text(f"{above.rstrip()}\n\n{mark}\n{made}")


def main() -> None:
    """Write the reference into docs/configuration.md of the working tree."""
    write_below(Path("docs/configuration.md"), MARK, reference())


if __name__ == "__main__":
    main()
