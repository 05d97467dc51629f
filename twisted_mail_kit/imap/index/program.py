"""What an index can say of a SEARCH program: which messages cannot match it, and which do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted_mail_kit.imap.index.codes import asked
from twisted_mail_kit.imap.index.words import ADDRESS_MARKS
from twisted_mail_kit.imap.searchtext import ENVELOPE_FIELDS, fold
from twisted_mail_kit.imap.wire.commands import And, Header, Not, Or, SearchKey, Text

Verdict = tuple[set[int], set[int]]
"""UIDs of messages that may match, and of those of them that do in any case."""


@dataclass(frozen=True, slots=True)
class Program:
    """A SEARCH program as an index sees it."""

    kind: str
    """``words``: such a message has them all; ``and``, ``or``, ``not``; ``unknown``: an index cannot say."""
    words: Sequence[frozenset[int]] = ()
    keys: Sequence[Program] = ()

    def weight(self) -> int:
        """How many words are looked up."""
        return len(self.words) + sum(key.weight() for key in self.keys)

    def judge(self, find: Callable[[frozenset[int]], set[int]], every: set[int]) -> Verdict:
        """Of `every` message there is, when `find` gives those that may have a word. An index rules out and never
        finds: NOT of what may match may match."""
        if self.kind == "words":
            may = every
            for word in self.words:
                may = may & find(word)
                if not may:
                    break
            return may, set()
        if self.kind == "not":
            may, does = self.keys[0].judge(find, every)
            return every - does, every - may
        if self.kind == "and":
            may, does = every, every
            for key in self.keys:
                its_may, its_does = key.judge(find, every)
                may, does = may & its_may, does & its_does
                if not may:
                    break
            return may, does & may
        if self.kind == "or":
            may, does = set(), set()
            for key in self.keys:
                its_may, its_does = key.judge(find, every)
                may, does = may | its_may, does | its_does
            return may, does
        return every, set()


def program_of(key: SearchKey) -> Program | None:
    """None: an index cannot help."""
    program = _program(key)
    one = {1}
    # Would it say anything where no word is found at all?
    return None if program.judge(lambda word: set(), one) == (one, set()) else program


def _program(key: SearchKey) -> Program:
    if isinstance(key, Text):
        return _words(asked(fold(key.text)))
    if isinstance(key, Header):
        if key.name in ENVELOPE_FIELDS and key.text:
            return _words(asked(fold(key.text).translate(ADDRESS_MARKS)))
        return _words([*asked(key.name), *asked(fold(key.text))])
    if isinstance(key, Not):
        return Program("not", keys=(_program(key.key),))
    if isinstance(key, And):
        return Program("and", keys=tuple(map(_program, key.keys)))
    if isinstance(key, Or):
        return Program("or", keys=(_program(key.left), _program(key.right)))
    return _UNKNOWN


_UNKNOWN = Program("unknown")


def _words(words: Sequence[frozenset[int]]) -> Program:
    return Program("words", words) if words else _UNKNOWN
