r"""The names of message files: ``1795432575.M76915P25135.host,S=25,W=29:2,FSab``."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from itertools import count
from typing import Final, NamedTuple

LETTERS: Final = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
FLAGS: Final = {flag: letter for letter, flag in LETTERS.items()}
KEYWORD_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

_SIZES = re.compile(r",([SW])=(\d+)")
_TIME = re.compile(r"(\d+)(?:\.M(\d+))?")
_NUMBERS = count(1)
# A host's name in a file name: what would end the name, or begin its flags, is written in octal.
_HOST: Final = socket.gethostname().replace("/", "\\057").replace(":", "\\072").replace(",", "\\054")


class FileName(NamedTuple):
    """Where a message's file is in its folder."""

    place: str
    """``new`` or ``cur``."""
    base: str
    """Up to the colon: what never changes, and what `dovecot-uidlist` knows the message by."""
    info: str | None
    """After the colon; None: there is none."""

    @property
    def path(self) -> str:
        """Below the folder."""
        name = self.base if self.info is None else f"{self.base}:{self.info}"
        return f"{self.place}/{name}"

    @property
    def letters(self) -> str:
        """Of the flags; letters that nobody here knows too."""
        if self.info is None or not self.info.startswith("2,"):
            return ""
        return self.info[2:].partition(",")[0]

    def flags(self, keywords: Mapping[str, str]) -> frozenset[str]:
        """What the letters say; `keywords` is letter -> keyword. A letter without a keyword says nothing."""
        named = (LETTERS.get(letter) or keywords.get(letter) for letter in self.letters)
        return frozenset(flag for flag in named if flag)

    def flagged(self, letters: set[str], known: set[str]) -> FileName:
        """The name with these letters; those that are not in `known` stay as they are."""
        kept = {letter for letter in self.letters if letter not in known}
        _, comma, rest = (self.info or "")[2:].partition(",")
        info = "2," + "".join(sorted(letters | kept)) + comma + rest
        return FileName("cur", self.base, info)


def parse(place: str, name: str) -> FileName:
    """The file of that name in ``new`` or ``cur``."""
    base, colon, info = name.partition(":")
    return FileName(place, base, info if colon else None)


def sizes(base: str) -> tuple[int | None, int | None]:
    """What the name says of octets: in the file (S), and with CR LF for every line end (W)."""
    said = {letter: int(number) for letter, number in _SIZES.findall(base)}
    return said.get("S"), said.get("W")


def by_time(base: str) -> tuple[int, int, str]:
    """The order in which messages came, as far as their names tell."""
    found = _TIME.match(base)
    return (int(found[1]), int(found[2] or 0), base) if found else (0, 0, base)


def new_base(now: float, size: int | None, lines_size: int | None) -> str:
    """A name that nobody else gives; the sizes are those of `sizes`, None where one is not known."""
    seconds = int(now)
    unique = f"M{int((now - seconds) * 1e6)}P{os.getpid()}Q{next(_NUMBERS)}R{os.urandom(4).hex()}"
    said = "".join(f",{letter}={octets}" for letter, octets in (("S", size), ("W", lines_size)) if octets is not None)
    return f"{seconds}.{unique}.{_HOST}{said}"
