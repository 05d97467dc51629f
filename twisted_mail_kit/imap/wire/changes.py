"""What STORE changes, and the modifiers of RFC 7162."""

from __future__ import annotations

from typing import Literal, NamedTuple

from twisted_mail_kit.imap.wire.reader import Bad, Reader


class Change(NamedTuple):
    """What stands after STORE's messages; fields as in `commands.Store`."""

    how: Literal["add", "remove", "replace"]
    flags: tuple[bytes, ...]
    silent: bool
    unchanged_since: int | None


def read_change(reader: Reader) -> Change:
    """``(UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted)`` (RFC 3501 6.4.6, RFC 7162 3.1.3)."""
    unchanged_since = None
    if reader.peek() == b"(":
        unchanged_since = read_modifier(reader, "UNCHANGEDSINCE")
        reader.space()
    how: Literal["add", "remove", "replace"] = "replace"
    if reader.take(b"+"):
        how = "add"
    elif reader.take(b"-"):
        how = "remove"
    item = reader.keyword()
    if item not in ("FLAGS", "FLAGS.SILENT"):
        raise Bad("Unknown STORE item")
    reader.space()
    if reader.peek() == b"(":
        flags = reader.flag_list()
    else:
        found = [reader.flag()]
        while reader.take(b" "):
            found.append(reader.flag())
        flags = tuple(found)
    return Change(how, flags, item == "FLAGS.SILENT", unchanged_since)


def read_modifier(reader: Reader, name: str) -> int:
    """RFC 7162 3.1.4, 3.1.3: ``(CHANGEDSINCE 12345)``."""
    reader.expect(b"(", "A parenthesis is missing")
    if reader.keyword() != name:
        raise Bad("Unknown modifier")
    reader.space()
    modseq = reader.modseq()
    reader.expect(b")", "A parenthesis is not closed")
    return modseq
