"""Which mailbox names a LIST pattern means, and the tree that they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from twisted_mail_kit.imap.wire.commands import Path
from twisted_mail_kit.imap.wire.mailboxname import SEPARATOR
from twisted_mail_kit.mail.facts import Mailbox

INBOX: Path = ("INBOX",)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name fits a pattern in which ``*`` stands for anything and ``%`` for anything within one level.

    Takes time in proportion to name times pattern, whatever the pattern is. ``INBOX`` fits in any case.
    """
    first, separator, rest = pattern.partition(SEPARATOR)
    if first.upper() == "INBOX":
        pattern = "INBOX" + separator + rest
    pattern = re.sub(r"[*%]*\*[*%]*", "*", pattern)
    pattern = re.sub(r"%+", "%", pattern)
    if pattern == "*":
        return lambda name: True
    inbox_fits = _compiled(pattern.upper())("INBOX")
    fits = _compiled(pattern)
    if inbox_fits:
        return lambda name: name == "INBOX" or fits(name)
    return fits


def _compiled(pattern: str) -> Callable[[str], bool]:
    wildcards = pattern.count("*") + pattern.count("%")
    if not wildcards:
        return lambda name: name == pattern
    if wildcards <= 2:
        # A regular expression with two wildcards backtracks at most in proportion to the square of a short name.
        pieces = {"*": ".*", "%": f"[^{SEPARATOR}]*"}
        expression = re.compile("".join(pieces.get(letter) or re.escape(letter) for letter in pattern), re.DOTALL)
        return lambda name: expression.fullmatch(name) is not None
    return lambda name: _walk(pattern, name)


def _walk(pattern: str, name: str) -> bool:
    # All places in the pattern that the name may have come to, as bits; one step for each letter.
    stays = [0, 0]
    places: dict[str, int] = {}
    for at, letter in enumerate(pattern):
        if letter in "*%":
            stays[letter == "%"] |= 1 << at
        else:
            places[letter] = places.get(letter, 0) | 1 << at
    wild = stays[0] | stays[1]

    def skip_wild(here: int) -> int:
        while True:
            further = here | (here & wild) << 1
            if further == here:
                return here
            here = further

    here = skip_wild(1)
    for letter in name:
        staying = here & (stays[0] if letter == SEPARATOR else wild)
        here = skip_wild(staying | (here & places.get(letter, 0)) << 1)
        if not here:
            return False
    return bool(here & 1 << len(pattern))


def spelled(path: Path) -> str:
    """The name as a client sees it; a separator within a level is shown as `path_to_wire` shows it."""
    return SEPARATOR.join(level.replace(SEPARATOR, "\N{DIVISION SLASH}") for level in path)


class Tree:
    """All names of an account: the mailboxes, and the parents that are implied by them."""

    def __init__(self, mailboxes: Mapping[Path, Mailbox]) -> None:
        self.mailboxes = mailboxes
        self.parents: set[Path] = set()
        """Every path that has something below it."""
        for path in mailboxes:
            add_parents(path, self.parents)

    def has_children(self, path: Path) -> bool:
        """There are names below it."""
        return path in self.parents

    def exists(self, path: Path) -> bool:
        """It is a mailbox, or the implied parent of one."""
        return path in self.mailboxes or path in self.parents

    def below(self, path: Path) -> list[Mailbox]:
        """The mailboxes below a path."""
        depth = len(path)
        return [box for name, box in self.mailboxes.items() if len(name) > depth and name[:depth] == path]

    def matching(self, patterns: Iterable[str]) -> list[Path]:
        """Every name, of a mailbox or an implied parent, that fits one of the patterns; INBOX first, then sorted."""
        fits = [matcher(pattern) for pattern in patterns]
        names = self.mailboxes.keys() | self.parents
        return sorted(
            (path for path in names if any(fit(spelled(path)) for fit in fits)),
            key=lambda path: (path[0] != "INBOX", path),
        )


def add_parents(path: Path, parents: set[Path]) -> None:
    """Add all paths above this one."""
    for depth in range(len(path) - 1, 0, -1):
        parent = path[:depth]
        if parent in parents:
            return
        parents.add(parent)
