"""Writes a new plugin: a complete distribution, whose tests are green at once."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from attrs import frozen

from twisted_mail_kit.errors import ConfigurationError

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST = 30
"""Characters of a name: longer ones make lines that nobody likes to read."""


@frozen
class Kind:
    """What is said of a kind of plugin in the files that all kinds share."""

    factory: str
    """The function that the dropin names."""
    description: str


KINDS = {
    "store": Kind("make_store", "Mail in one SQLite file"),
    "auth": Kind("make_checker", "Passwords in a text file, by scrypt"),
    "accounts": Kind("make_accounts", "Addresses in a text file"),
    "check": Kind("make_check", "Refuses mail with certain words in its subject"),
    "delivery": Kind("make_target", "Mail as files in a directory"),
    "spool": Kind("make_spool", "The queue in one SQLite file"),
}
BLOCKING = ("store",)
"""Kinds that can be written in plain code that blocks, where they are not anyway."""


def new_distribution(kind: str, name: str, blocking: bool = False) -> dict[str, str]:
    """The text of each file of a new plugin, by its path within the distribution's folder; `blocking`: in plain code,
    where it is written in coroutines otherwise.

    Raises ConfigurationError for a name that cannot be one.
    """
    check_name(name)
    module = name.replace("-", "_")
    package = package_of(kind, name)
    words = {
        "kind": kind,
        "name": name,
        "package": package,
        "title": "".join(word.capitalize() for word in module.split("_")),
        "variable": f"{module}_{kind}",
        "factory": KINDS[kind].factory,
        "description": KINDS[kind].description,
    }
    folder = files(__name__)
    written = {}
    templates = [*_templates(folder / "common"), *_templates(folder / kind)]
    if blocking and kind in BLOCKING:
        templates += _templates(folder / f"{kind}_blocking")  # in the place of the others
    for path, template in templates:
        path = {"gitignore": ".gitignore", "dropin.py": f"twisted/plugins/{package}_plugin.py"}.get(path, path)
        path = re.sub(r"^package/", f"{package}/", path)
        written[path] = Template(template.read_text(encoding="utf-8")).substitute(words)
    return written


def write_distribution(kind: str, name: str, below: Path, blocking: bool = False) -> Path:
    """Write a new plugin into a new folder; gives the folder. Raises ConfigurationError: nothing was written."""
    texts = new_distribution(kind, name, blocking)
    folder = below / package_of(kind, name)
    if folder.exists():
        raise ConfigurationError([f"{folder}: is there already"])
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ConfigurationError([f"{folder}: cannot be written: {problem}"]) from None
    return folder


def package_of(kind: str, name: str) -> str:
    """What the distribution, and its Python package, is called."""
    return f"mailkit_{name.replace('-', '_')}_{kind}"


def check_name(name: str) -> None:
    """Raises ConfigurationError where a plugin cannot be called so."""
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        raise ConfigurationError(
            [
                f"{name!r} cannot be a plugin's name: it has to begin with a letter, of a-z, 0-9, and single hyphens or"
                f" underscores between them, {LONGEST} characters at most, and no word of Python's"
            ]
        )


def _templates(folder: Traversable, path: str = "") -> list[tuple[str, Traversable]]:
    """(path without .tmpl, template) of all below a folder."""
    found = []
    for one in sorted(folder.iterdir(), key=lambda each: each.name):
        if one.is_dir():
            found += _templates(one, f"{path}{one.name}/")
        elif one.name.endswith(".tmpl"):
            found.append((path + one.name.removesuffix(".tmpl"), one))
    return found
