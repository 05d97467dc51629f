"""The small files beside the mail: `dovecot-keywords`, `subscriptions`, `dovecot-uidvalidity`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mailkit_maildir.dotlock import dotlock
from mailkit_maildir.filename import FLAGS, KEYWORD_LETTERS
from mailkit_maildir.files import Files

KEYWORDS = "dovecot-keywords"
SUBSCRIPTIONS = "subscriptions"
UIDVALIDITY = "dovecot-uidvalidity"

_ATOM = re.compile(r"""[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+""")


def read_keywords(folder: Path) -> dict[str, str]:
    """Letter -> keyword."""
    try:
        lines = os.fsdecode((folder / KEYWORDS).read_bytes()).splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        number, _, keyword = line.partition(" ")
        if number.isdecimal() and int(number) < len(KEYWORD_LETTERS) and keyword:
            found[KEYWORD_LETTERS[int(number)]] = keyword
    return found


def letters_for(flags: Iterable[str], keywords: dict[str, str]) -> set[str]:
    """The letters of those flags that have one; `keywords` grows where there is room.

    A keyword that is the 27th, that differs from another in case only, or that is no atom, has none.
    """
    letters = set()
    by_keyword = {keyword: letter for letter, keyword in keywords.items()}
    folded = {keyword.lower() for keyword in by_keyword}
    for flag in sorted(flags):
        letter = FLAGS.get(flag) or by_keyword.get(flag)
        if letter is None and _ATOM.fullmatch(flag) and flag.lower() not in folded:
            free = [one for one in KEYWORD_LETTERS if one not in keywords]
            if free:
                letter = free[0]
                keywords[letter] = flag
                by_keyword[flag] = letter
                folded.add(flag.lower())
        if letter is not None:
            letters.add(letter)
    return letters


def write_keywords(folder: Path, keywords: Mapping[str, str], files: Files, timeout: float) -> None:
    """Add these to the folder's; a letter that has another keyword by now keeps that one."""
    path = folder / KEYWORDS
    with dotlock(path, files, timeout):
        there = read_keywords(folder)
        whole = {**keywords, **there}
        if whole != there:
            lines = [f"{KEYWORD_LETTERS.index(letter)} {whole[letter]}\n" for letter in sorted(whole)]
            files.replace(path, os.fsencode("".join(lines)), folder / "tmp")


def subscription(directory: str) -> str:
    """How a folder is called in `subscriptions`: levels in modified UTF-7, between tabs."""
    return directory[1:].replace(".", "\t") if directory else "INBOX"


def read_subscriptions(root: Path) -> set[str]:
    """What is subscribed, as `subscription` calls it."""
    try:
        head, *lines = os.fsdecode((root / SUBSCRIPTIONS).read_bytes()).split("\n")
    except FileNotFoundError:
        return set()
    if head.startswith("V\t"):
        return {line for line in lines if line}
    return {line.replace(".", "\t") for line in (head, *lines) if line}  # version 1 has no head


def write_subscriptions(root: Path, changes: Mapping[str, bool], files: Files, timeout: float) -> None:
    """Subscribe and unsubscribe; all others stay as they are."""
    path = root / SUBSCRIPTIONS
    with dotlock(path, files, timeout):
        there = read_subscriptions(root)
        whole = there - {name for name, is_in in changes.items() if not is_in}
        whole |= {name for name, is_in in changes.items() if is_in}
        if whole != there or not path.exists():
            text = "V\t2\n\n" + "".join(f"{name}\n" for name in sorted(whole))
            files.replace(path, os.fsencode(text), root / "tmp")


def last_uidvalidity(root: Path) -> int:
    """The greatest that Dovecot has given out, as far as it has kept count: in a file's name."""
    ends = (path.name[len(UIDVALIDITY) + 1 :] for path in root.glob(f"{UIDVALIDITY}.*"))
    return max((int(end, 16) for end in ends if re.fullmatch(r"[0-9a-f]{8}", end)), default=0)


def keep_uidvalidity(root: Path, value: int) -> None:
    """Let Dovecot go on after `value`, where it keeps count."""
    if 0 < last_uidvalidity(root) < value:
        old = root / f"{UIDVALIDITY}.{last_uidvalidity(root):08x}"
        old.rename(root / f"{UIDVALIDITY}.{value:08x}")
        number = os.open(root / UIDVALIDITY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(number, f"{value:08x}".encode())
        finally:
            os.close(number)
