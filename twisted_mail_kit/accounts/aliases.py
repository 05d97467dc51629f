"""Aliases: reading them from a file or a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from twisted_mail_kit.accounts.names import canonical_domain
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.mail.address import BadAddress, parse_address


def read_aliases(path: Path) -> dict[str, tuple[str, ...]]:
    """The table of a file. Raises ConfigurationError, with every broken line by its number."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError([f"{path}: {problem}"]) from problem
    table, problems = parse_aliases(text)
    if problems:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])
    return table


def parse_aliases(text: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The table, and what is wrong with it, a line each.

    ``name: target, target`` a line; a line that begins with white space goes on with the one before; what follows a
    ``#`` at the start of a line is a comment. Targets are addresses: programs, files and includes are none.
    """
    table: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for number, line in _logical_lines(text.splitlines()):
        name, colon, rest = line.partition(":")
        name = name.strip().lower()
        targets = tuple(target for target in (one.strip() for one in rest.split(",")) if target)
        if not colon or not name or not targets:
            problems.append(f"line {number}: it should be name: target, target")
        elif name in table:
            problems.append(f'line {number}: "{name}" is there already')
        else:
            wrong = check_aliases({name: targets})
            problems += [f"line {number}: {problem}" for problem in wrong]
            if not wrong:
                table[name] = targets
    return table, problems


def check_aliases(table: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with a table, a line each."""
    problems = []
    for name, targets in table.items():
        if not _is_address(name):
            problems.append(f'"{name}" is no address, @domain or local part')
        for target in targets:
            if not _is_address(target):
                problems.append(f'"{name}": the target "{target}" is no address')
    return problems


def normal_name(name: str) -> str:
    """The key under which an alias is found: ``local@domain``, ``@domain`` or ``local``."""
    local, at, domain = name.strip().rpartition("@")
    if not at:
        return domain.lower()
    return f"{_unquoted(local)}@{canonical_domain(domain)}"


def _is_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    try:
        parse_address(f"{local or 'x'}@{domain}" if at else f"{text}@example.org")
    except BadAddress:
        return False
    return not text.startswith(("|", "/", ":"))


def _unquoted(local: str) -> str:
    if local.startswith('"'):
        return parse_address(f"{local}@example.org").local.lower()
    return local.lower()


def _logical_lines(lines: Iterable[str]) -> list[tuple[int, str]]:
    logical: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and logical:
            first, before = logical[-1]
            logical[-1] = first, f"{before} {line.strip()}"
        else:
            logical.append((number, line.strip()))
    return logical
