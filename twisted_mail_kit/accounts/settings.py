"""What can be set about who has which address."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen


def _targets(table: Any) -> dict[str, tuple[str, ...]]:
    """One target may be written without a list around it."""
    return {name: (to,) if isinstance(to, str) else tuple(to) for name, to in dict(table).items()}


@frozen(kw_only=True)
class DirectorySettings:
    """The `directory` plugin: users, aliases, plus-addressing, catch-all."""

    aliases: dict[str, tuple[str, ...]] = field(factory=dict, converter=_targets)
    """``"sales@example.org" = ["ann@example.org", "bob@example.org"]``. A name without a domain (``sales``) is one in
    every domain; ``@example.org`` is every address there that nobody else has; a target ``@example.net`` keeps the
    local part."""
    aliases_file: str = ""
    """A file of more aliases, ``name: target, target`` a line; relative to the state directory. Read again at
    SIGHUP."""
    catch_all: dict[str, str] = field(factory=dict)
    """Domain to the address that gets what nobody else there has."""
    separator: str = "+"
    """``joe+lists@…`` is joe's. Empty: off."""
    postmaster: str = ""
    """Who gets mail for postmaster, at every domain (RFC 5321 4.5.1). Without it: an account of that name in the
    first domain."""
