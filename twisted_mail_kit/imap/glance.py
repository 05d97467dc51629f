"""What SEARCH can say of a message at a glance: from its summary and its octets in memory, mostly undecoded.

Hot path: SEARCH TEXT of all that no index has ruled out. Every octet of it is looked at; but most messages that do not
hold a word can be told from their octets as they are, at a tenth of what decoding them costs.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from twisted_mail_kit.imap.searchtext import (
    ENVELOPE_FIELDS,
    envelope_text,
    fits,
    fold,
    header_holds,
    may_hold,
    sent_day,
)
from twisted_mail_kit.imap.wire.commands import And, Date, Header, Not, Or, SearchKey, Text
from twisted_mail_kit.mail.summary import Summary, envelopes
from twisted_mail_kit.mail.words import decode_base64

_TEXTS = re.compile(rb"(?<![^\0])[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) [0-9a-f ]+\0text/[^/\0]*/([^\0]*)")
"""Where each part begins and ends that is text, and its encoding."""
_CHARSETS = re.compile(rb"\0charset\0([^\0]*)")
# In all of these, octets that are ASCII are the letters that they look like.
_PLAIN = frozenset(
    {b"us-ascii", b"utf-8", b"utf8", b"windows-1250", b"windows-1251", b"windows-1252", b"koi8-r"}
    | {b"iso-8859-%d" % number for number in (1, 2, 4, 5, 7, 10, 13, 14, 15, 16)}
)
# And what is not ASCII is none, without regard to case, but for these: their first octets in those charsets, and the
# letters that they become.
FOLDED_TO_ASCII = (
    (b"\xc3\x9f", "s"),
    (b"\xdf", "s"),
    (b"\xc4\xb0", "i"),
    (b"\xc5\x89", "n"),
    (b"\xc5\xbf", "s"),
    (b"\xc7\xb0", "j"),
    (b"\xe1\xba", "ahstwy"),
    (b"\xe2\x84\xaa", "k"),
    (b"\xef\xac", "filst"),
)


def _is_coded(tree: bytes) -> bool:
    """Something in it is not what it looks like, or may not be. Counted, as that costs least."""
    plain = sum(map(tree.count, (b"\0charset\0utf-8", b"\0charset\0UTF-8", b"\0charset\0us-ascii")))
    return plain != tree.count(b"\0charset\0") or b"/quoted-printable" in tree or b"/base64" in tree


def needs_octets(key: SearchKey) -> bool:
    """Whether the text of a message may have to be read."""
    if isinstance(key, And):
        return any(map(needs_octets, key.keys))
    if isinstance(key, Or):
        return needs_octets(key.left) or needs_octets(key.right)
    return needs_octets(key.key) if isinstance(key, Not) else isinstance(key, Text)


class Glance:
    """One message; its summary is current."""

    def __init__(self, summary: Summary, octets: bytes | None) -> None:
        self.summary = summary
        self.octets = octets
        """None: they are not here."""

    def matches(self, key: SearchKey) -> bool | None:
        """None: it cannot be said without looking closer."""
        if isinstance(key, Text):
            return self._has_text(key)
        if isinstance(key, Header):
            field, needle = ENVELOPE_FIELDS.get(key.name), fold(key.text)
            if field is None or not needle:
                return None
            envelope = self.summary.envelope
            return may_hold(envelope, needle) and needle in fold(envelope_text(envelope, field))
        if isinstance(key, Not):
            inner = self.matches(key.key)
            return None if inner is None else not inner
        if isinstance(key, And):
            return _all(map(self.matches, key.keys))
        if isinstance(key, Or):
            other = _all(None if one is None else not one for one in map(self.matches, (key.left, key.right)))
            return None if other is None else not other
        if isinstance(key, Date) and key.which == "sent":
            day = sent_day(self.summary.envelope)
            return day is not None and fits(key, day)
        return None

    def _has_text(self, key: Text) -> bool | None:
        octets, tree = self.octets, self.summary.tree
        needle = _needle(key.text)
        if octets is None or not needle.text:
            return None
        if octets.isascii() and not _is_coded(tree) and b"=?" not in octets and not needle.is_in(octets):
            return False  # most messages of most searches: one look at the octets as they are
        if not _PLAIN.issuperset(map(bytes.lower, _CHARSETS.findall(tree))):
            return None
        if key.headers and header_holds(octets[: self.summary.header_size], needle.text):
            return True
        is_unsure = False
        for begin, end, encoding in _TEXTS.findall(tree):
            body = octets[int(begin, 16) : int(end, 16)]
            if encoding == b"quoted-printable":
                body = binascii.a2b_qp(body)
            elif encoding == b"base64":
                body = decode_base64(body)
            is_in = needle.is_in(body)
            if is_in:
                return True
            is_unsure = is_unsure or is_in is None
        if b"\0message/" in tree:
            # The header of a message in the message is text, too.
            is_unsure = is_unsure or b"=?" in octets or needle.is_in(octets) is not False
        return None if is_unsure else False


def by_envelopes(key: SearchKey, summaries: Sequence[tuple[int, bytes]]) -> dict[int, bool] | None:
    """What `Glance` says of the messages (UID, summary) when a word is looked for in one field of the ENVELOPE; None:
    it is something else."""
    # Hot path: SUBJECT or FROM of a whole mailbox. No object a message.
    field = ENVELOPE_FIELDS.get(key.name) if isinstance(key, Header) else None
    needle = fold(key.text) if isinstance(key, Header) else ""
    if field is None or not needle:
        return None
    if may_hold(b"", needle):  # it may be there, and not be seen
        octets = b""
    else:
        octets = needle.encode()
    answers = {}
    for (uid, _), envelope in zip(summaries, envelopes([packed for _, packed in summaries]), strict=True):
        if envelope is not None:
            may = octets in envelope.lower() or b"=?" in envelope or not envelope.isascii()
            answers[uid] = may and needle in fold(envelope_text(envelope, field))
    return answers


class _Needle:
    """What is looked for."""

    def __init__(self, text: str) -> None:
        self.text = fold(text)
        self._octets = self.text.encode("utf-8", "replace")
        self._is_ascii = self.text.isascii()
        self._folded = [octets for octets, letters in FOLDED_TO_ASCII if not set(letters).isdisjoint(self.text)]

    def is_in(self, octets: bytes) -> bool | None:
        """Whether the octets hold it, as text of any plain charset; None: it cannot be said so easily."""
        if not octets.isascii():
            if not self._is_ascii:
                return None
            for one in self._folded:
                if one in octets:
                    return None
        return self._octets in octets.lower()


@lru_cache(16)
def _needle(text: str) -> _Needle:
    return _Needle(text)


def _all(answers: Iterable[bool | None]) -> bool | None:
    result: bool | None = True
    for one in answers:
        if one is False:
            return False
        if one is None:
            result = None
    return result
