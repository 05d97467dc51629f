"""Where accounts are: their names, which are no paths, and the directories below the root."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from twisted_mail_kit.errors import ConfigurationError

OWN = "mailkit"
"""The directory in an account's where what is ours is. Dovecot takes only those with a dot for folders."""
NAME = "name"
"""A file in it: the account's name, octet for octet."""
LONGEST = 200
"""Octets of a name that is a directory's name too."""

_FIELD = re.compile(r"\{(\w*)\}")


class Layout:
    """Finds accounts by name, and names by directory."""

    def __init__(self, root: Path, pattern: str, domain: str = "") -> None:
        """`domain` is the only one that the server has: with it, ``{local}`` alone says which account is meant."""
        self.root = root
        self.domain = domain
        self.levels = pattern.strip("/").split("/")
        fields = _FIELD.findall(pattern)
        if sorted(fields) not in (["user"], ["local"], ["domain", "local"]) or any(
            level in ("", ".", "..") or (level.startswith(".") and "{" not in level) for level in self.levels
        ):
            problem = f"layout = {pattern!r}: it has {{user}}, {{local}}, or {{domain}} and {{local}}, once each"
            raise ConfigurationError([problem])

    def directory(self, name: str) -> Path:
        """The account's directory: by its name where that is harmless, else by a hash of it."""
        local, at, domain = name.rpartition("@")
        values = {"user": name, "local": local if at else name, "domain": domain}
        fields = _FIELD.findall("/".join(self.levels))
        plain = all(_is_plain(values[one]) for one in fields)
        if fields == ["local"]:
            # joe@one and joe@two must not be the same account.
            plain = plain and domain == self.domain
        elif "local" in fields:
            plain = plain and bool(at)
        if plain:
            return self.root.joinpath(*(_FIELD.sub(lambda found: values[found[1]], level) for level in self.levels))
        last = max(number for number, level in enumerate(self.levels) if "{" in level)
        return self.root.joinpath("=" + hashlib.sha256(name.encode(*_ANY)).hexdigest()[:40], *self.levels[last + 1 :])

    def accounts(self) -> Iterator[str]:
        """Names of all accounts, in no order."""
        patterns = {"/".join(_FIELD.sub("*", level) for level in self.levels)}
        last = max(number for number, level in enumerate(self.levels) if "{" in level)
        patterns.add("/".join(["=*", *self.levels[last + 1 :]]))
        for directory in {found for pattern in patterns for found in self.root.glob(f"{pattern}/cur")}:
            name = self._name(directory.parent)
            if name is not None and self.directory(name) == directory.parent:
                yield name

    def _name(self, directory: Path) -> str | None:
        try:
            return (directory / OWN / NAME).read_bytes().decode(*_ANY)
        except OSError:
            pass  # one that we have never opened: the path says it
        parts = directory.relative_to(self.root).parts
        if len(parts) != len(self.levels):
            return None
        values: dict[str, str] = {}
        for level, part in zip(self.levels, parts, strict=True):
            found = re.fullmatch(
                _FIELD.sub(r"(?P<\1>.+)", re.escape(level).replace(r"\{", "{").replace(r"\}", "}")), part
            )
            if found is None:
                return None
            values |= found.groupdict()
        if "user" in values:
            return values["user"]
        domain = values.get("domain", self.domain)
        return f"{values['local']}@{domain}" if domain else values["local"]


_ANY = ("utf-8", "surrogatepass")


def _is_plain(name: str) -> bool:
    """Whether it can be a directory's name: letters, digits, and a few more, none of which means anything there."""
    if not name or not (name[0].isalnum() or name[0] == "_") or len(name.encode(*_ANY)) > LONGEST:
        return False
    return all(letter.isalnum() or letter in "_.+=@-" for letter in name)
