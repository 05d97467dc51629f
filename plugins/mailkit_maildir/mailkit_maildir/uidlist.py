"""`dovecot-uidlist`, version 3: which UID a message has, by the name of its file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from mailkit_maildir.files import Files, sync, write_all
from twisted_mail_kit.errors import Unavailable

NAME = "dovecot-uidlist"


@define
class UidList:
    """What the file says. Dovecot's own words in it are kept."""

    uidvalidity: int = 0
    """0: there is no file."""
    uidnext: int = 1
    guid: str = ""
    header: list[str] = field(factory=list)
    """Words of the first line that nobody here knows."""
    uids: dict[str, int] = field(factory=dict)
    """Base -> UID, in the order of the file, which is that of UIDs."""
    extra: dict[str, str] = field(factory=dict)
    """Base -> what stands between the UID and the name."""
    sizes: dict[str, int] = field(factory=dict)
    """Base -> octets with CR LF for every line end, where the file says so."""

    @property
    def last(self) -> int:
        """The greatest UID in it."""
        return max(self.uids.values(), default=0)

    def text(self) -> bytes:
        """The whole file."""
        words = [f"3 V{self.uidvalidity} N{max(self.uidnext, self.last + 1)} G{self.guid}", *self.header]
        lines = [" ".join(words)]
        for base, uid in sorted(self.uids.items(), key=lambda item: item[1]):
            lines.append(f"{uid} {self.extra.get(base, '')}:{base}")
        return os.fsencode("\n".join(lines) + "\n")


def new_guid() -> str:
    """128 bits, as Dovecot names its mailboxes."""
    return uuid.uuid4().hex


def read(folder: Path) -> UidList:
    """The folder's list; an empty one where there is none. Raises Unavailable: it is of a form that is not known."""
    try:
        text = os.fsdecode((folder / NAME).read_bytes())
    except FileNotFoundError:
        return UidList()
    head, _, rest = text.partition("\n")
    if not head.strip():
        return UidList()
    version, *words = head.split(" ")
    said = UidList()
    try:
        if version == "1":  # before Dovecot 1.1: "1 <uidvalidity> <uidnext>", and "<uid> <name>"
            said.uidvalidity, said.uidnext = int(words[0]), int(words[1])
        elif version == "3":
            _read_head(said, words)
        else:
            raise ValueError(version)
    except (ValueError, IndexError):
        what = f"{folder / NAME}: its first line is of no form that is known (versions 1 and 3 are)"
        raise Unavailable(f"{what}: {head[:60]!r}. Where it is damaged, move it away: it is written anew") from None
    for line in rest.splitlines():
        number, _, rest_of_line = line.partition(" ")
        if not number.isdecimal():
            continue  # a line that was half written
        extra, colon, name = rest_of_line.partition(":") if version == "3" else ("", ":", rest_of_line)
        base = name.partition(":")[0]
        if not colon or not base:
            continue
        said.uids[base] = int(number)
        if extra:
            said.extra[base] = extra
            for word in extra.split(" "):
                if word[:1] == "W" and word[1:].isdecimal():
                    said.sizes[base] = int(word[1:])
    said.uidnext = max(said.uidnext, said.last + 1)
    return said


def _read_head(said: UidList, words: list[str]) -> None:
    for word in words:
        if word[:1] == "V":
            said.uidvalidity = int(word[1:])
        elif word[:1] == "N":
            said.uidnext = int(word[1:])
        elif word[:1] == "G":
            said.guid = word[1:]
        else:
            said.header.append(word)


def add(folder: Path, uids: Mapping[str, int], head: UidList, files: Files) -> None:
    """Put these into the list, durably; the caller has its lock. A list that is not there gets `head`'s first line."""
    there = read(folder)
    missing = {base: uid for base, uid in uids.items() if there.uids.get(base) != uid}
    if there.uidvalidity and there.guid and not missing:
        return
    if (
        there.uidvalidity
        and there.guid
        and min(missing.values()) >= there.uidnext
        and not missing.keys() & there.uids.keys()
    ):
        _append(folder, missing)
        return
    there.uidvalidity = there.uidvalidity or head.uidvalidity
    there.guid = there.guid or head.guid
    there.uidnext = max(there.uidnext, head.uidnext)
    there.uids |= missing
    write(folder, there, files)


def add_known(folder: Path, uids: Mapping[str, int]) -> None:
    """As `add`, where the list was read under the lock that is still held, and all of these are new and above it."""
    _append(folder, uids)


def _append(folder: Path, uids: Mapping[str, int]) -> None:
    lines = [f"{uid} :{base}\n" for base, uid in sorted(uids.items(), key=lambda item: item[1])]
    number = os.open(folder / NAME, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        # A line that was cut off by a crash must not swallow ours.
        size = os.fstat(number).st_size
        torn = size and os.pread(number, 1, size - 1) != b"\n"
        try:
            write_all(number, os.fsencode(("\n" if torn else "") + "".join(lines)))
            sync(number)
        except OSError:
            os.ftruncate(number, size)
            raise
    finally:
        os.close(number)


def write(folder: Path, said: UidList, files: Files) -> None:
    """Put a whole list in the place of the old one, durably; the caller has its lock."""
    files.replace(folder / NAME, said.text(), folder / "tmp")
