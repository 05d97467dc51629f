"""SEARCH's keys: one program out of many words (RFC 3501 6.4.4, RFC 7162 3.1.5, RFC 8514 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from twisted_mail_kit.imap.wire.commands import (
    All,
    And,
    Date,
    HasFlag,
    Header,
    ModSeq,
    Not,
    Numbers,
    Or,
    SearchKey,
    Size,
    Text,
)
from twisted_mail_kit.imap.wire.reader import Bad, Reader

BADCHARSET = b"BADCHARSET (US-ASCII UTF-8)"

_CONSTANTS: dict[str, SearchKey] = {
    "ALL": All(),
    "NEW": And((HasFlag("\\Recent"), Not(HasFlag("\\Seen")))),
    "OLD": Not(HasFlag("\\Recent")),
    "RECENT": HasFlag("\\Recent"),
    "SAVEDATESUPPORTED": All(),  # RFC 8514 4.3: every mailbox of ours has them
}
for _flag in ("Answered", "Deleted", "Draft", "Flagged", "Seen"):
    _CONSTANTS[_flag.upper()] = HasFlag("\\" + _flag)
    _CONSTANTS["UN" + _flag.upper()] = Not(HasFlag("\\" + _flag))


def read_search_program(reader: Reader) -> SearchKey:
    """``[CHARSET name] key key …`` to the end of the command.

    However the client nests it, the tree is no higher than a few times `WireLimits.nesting`: a long chain of OR
    becomes a balanced one, NOT NOT is nothing.
    """
    return _Program(reader).read()


class _Program:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.charset = ""
        self.keys_left = reader.limits.search_keys

    def read(self) -> SearchKey:
        if self.word_follows(b"CHARSET"):
            self.charset = self.reader.astring().decode("ascii", "replace").upper()
            if self.charset not in ("US-ASCII", "UTF-8"):
                raise Bad("Unknown charset", BADCHARSET, b"NO")
            self.reader.space()
        return self.conjunction(0)

    def conjunction(self, depth: int) -> SearchKey:
        """Keys with spaces between, up to ``)`` or the end."""
        keys = [self.key(depth)]
        while self.reader.take(b" "):
            keys.append(self.key(depth))
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def key(self, depth: int) -> SearchKey:
        reader = self.reader
        self.count()
        first = reader.peek()
        if first == b"(":
            self.deeper(depth)
            reader.take(b"(")
            inner = self.conjunction(depth + 1)
            reader.expect(b")", "A parenthesis is not closed")
            return inner
        if first.isdigit() or first == b"*":
            return Numbers(False, reader.sequence_set())
        word = reader.keyword()
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if word == "NOT":
            return self.negation(depth)
        if word == "OR":
            return self.disjunction(depth)
        read = _READERS.get(word)
        if read is None:
            raise Bad("Unknown SEARCH key")
        reader.space()
        return read(self)

    def negation(self, depth: int) -> SearchKey:
        negative = True
        self.reader.space()
        while self.word_follows(b"NOT"):
            self.count()
            negative = not negative
        self.deeper(depth)
        key = self.key(depth + 1)
        if not negative:
            return key
        return key.key if isinstance(key, Not) else Not(key)

    def disjunction(self, depth: int) -> SearchKey:
        # "OR a OR b OR c d" is how clients ask for one of a hundred Message-IDs, so depth is not counted along it.
        self.deeper(depth)
        self.reader.space()
        keys = [self.key(depth + 1)]
        self.reader.space()
        while self.word_follows(b"OR"):
            self.count()
            keys.append(self.key(depth + 1))
            self.reader.space()
        keys.append(self.key(depth + 1))
        while len(keys) > 1:
            pairs = [Or(left, right) for left, right in zip(keys[::2], keys[1::2], strict=False)]
            keys = pairs + keys[len(keys) // 2 * 2 :]
        return keys[0]

    def word_follows(self, word: bytes) -> bool:
        """Pass over `word` and a space, where they stand here."""
        start = self.reader.position
        end = start + len(word) + 1
        if self.reader.octets[start:end].upper() != word + b" ":
            return False
        self.reader.position = end
        return True

    def count(self) -> None:
        self.keys_left -= 1
        if self.keys_left < 0:
            raise Bad("Too many SEARCH keys", b"LIMIT", limit="search_keys")

    def deeper(self, depth: int) -> None:
        if depth >= self.reader.limits.nesting:
            raise Bad("SEARCH keys are nested too deep", b"LIMIT", limit="nesting")

    # --- keys with arguments ---------------------------------------------------------------------------------------

    def text(self) -> str:
        # Without CHARSET it is US-ASCII. UTF-8 is taken too: no other reading of such octets makes sense, and
        # RFC 6855 and RFC 9051 have it so. A stated US-ASCII is held to.
        octets = self.reader.astring()
        try:
            return octets.decode("ascii" if self.charset == "US-ASCII" else "utf-8")
        except UnicodeError:
            raise Bad("A string is not in the charset") from None

    def header(self) -> SearchKey:
        name = self.reader.astring()
        if not name.isascii():
            raise Bad("There is no such header field name")
        self.reader.space()
        return Header(name.decode("ascii").lower(), self.text())

    def keyword(self) -> HasFlag:
        return HasFlag(self.reader.atom().decode("ascii"))

    def modseq(self) -> SearchKey:
        # RFC 7162 3.1.5: modseqs are kept a message, not a flag, so the entry is read and makes no difference.
        if self.reader.peek() == b'"':
            self.reader.string()
            self.reader.space()
            if self.reader.keyword() not in ("PRIV", "SHARED", "ALL"):
                raise Bad("Unknown entry type")
            self.reader.space()
        return ModSeq(self.reader.modseq())


def _field(name: str) -> Callable[[_Program], SearchKey]:
    return lambda program: Header(name, program.text())


def _date(
    which: Literal["internal", "sent", "saved"], relation: Literal["before", "on", "since"]
) -> Callable[[_Program], SearchKey]:
    return lambda program: Date(which, relation, program.reader.day())


_READERS: dict[str, Callable[[_Program], SearchKey]] = {
    "BCC": _field("bcc"),
    "BEFORE": _date("internal", "before"),
    "BODY": lambda program: Text(program.text(), headers=False),
    "CC": _field("cc"),
    "FROM": _field("from"),
    "HEADER": _Program.header,
    "KEYWORD": _Program.keyword,
    "LARGER": lambda program: Size(program.reader.number(), larger=True),
    "MODSEQ": _Program.modseq,
    "ON": _date("internal", "on"),
    "SAVEDBEFORE": _date("saved", "before"),
    "SAVEDON": _date("saved", "on"),
    "SAVEDSINCE": _date("saved", "since"),
    "SENTBEFORE": _date("sent", "before"),
    "SENTON": _date("sent", "on"),
    "SENTSINCE": _date("sent", "since"),
    "SINCE": _date("internal", "since"),
    "SMALLER": lambda program: Size(program.reader.number(), larger=False),
    "SUBJECT": _field("subject"),
    "TEXT": lambda program: Text(program.text(), headers=True),
    "TO": _field("to"),
    "UID": lambda program: Numbers(True, program.reader.sequence_set()),
    "UNKEYWORD": lambda program: Not(program.keyword()),
}
