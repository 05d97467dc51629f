"""A client's wire: the octets of a server's replies to values (RFC 5321 4.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from twisted_mail_kit.net.inbox import NEED_DATA, Signal
from twisted_mail_kit.smtp.wire.replies import Reply

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
# RFC 2034 4: class "." subject "." detail, then a space, in front of the text of each line.
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)", re.ASCII)
_SHORT = 80
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


class BadReply(NamedTuple):
    """What came is no reply. Nobody knows any more which reply belongs to which command: hang up."""

    why: str


class ReplyWire:
    """Give it octets as they come; ask it for replies until it needs more.

    One reply has at most `most_lines` lines and `most_octets` octets; above that it is a BadReply, and so is all that
    follows. Lines may end in LF alone: in a reply nothing can hide behind that.
    """

    def __init__(self, most_lines: int = 64, most_octets: int = 8192) -> None:
        self._most_lines = most_lines
        self._most_octets = most_octets
        self._octets = b""
        self._looked = 0
        """There is no LF before this in `_octets`."""
        self._code = b""
        self._lines: list[bytes] = []
        self._size = 0
        """Octets of the reply that has begun."""
        self._bad: BadReply | None = None

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        if self._bad is None:
            self._octets = self._octets + octets if self._octets else octets

    def next_event(self) -> Reply | BadReply | Signal:
        """The next whole reply."""
        # Hot path: a server says the same few short lines again and again, and is asked for more before each wait.
        while self._bad is None:
            octets = self._octets
            if not octets:
                return NEED_DATA
            end = octets.find(b"\n", self._looked)
            if end < 0:
                self._looked = len(self._octets)
                if self._size + self._looked > self._most_octets:
                    return self._spoilt("a reply without end")
                return NEED_DATA
            line = octets[:end].removesuffix(b"\r")
            self._octets = octets[end + 1 :]
            self._looked = 0
            if end <= _SHORT and not self._lines and (known := _short_reply(line)) is not None:
                return known
            self._size += end + 1
            answer = self._take(line)
            if answer is not None:
                return answer
        return self._bad

    def has_more(self) -> bool:
        """Octets are here that no reply has told of."""
        return bool(self._octets or self._lines)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _take(self, line: bytes) -> Reply | BadReply | None:
        found = _LINE.fullmatch(line)
        if found is None:
            return self._spoilt("a line that is no reply")
        code, between, text = found.groups()
        if self._lines and code != self._code:
            return self._spoilt("a reply of two codes")
        self._code = code
        self._lines.append(text or b"")
        if self._size > self._most_octets or len(self._lines) > self._most_lines:
            return self._spoilt("a reply that is far too long")
        if between == b"-":
            return None
        lines, self._lines, self._size = self._lines, [], 0
        return _reply(int(code), lines)

    def _spoilt(self, why: str) -> BadReply:
        self._bad = BadReply(why)
        self._octets = b""
        self._lines = []
        return self._bad


@lru_cache(maxsize=256)
def _short_reply(line: bytes) -> Reply | None:
    """A whole reply in one short line. A server says the same three again and again."""
    found = _LINE.fullmatch(line)
    if found is None or found[2] == b"-":
        return None
    return _reply(int(found[1]), [found[3] or b""])


def _reply(code: int, lines: list[bytes]) -> Reply:
    texts = [_printable(line) for line in lines]
    enhanced = ""
    found = _ENHANCED.match(texts[-1]) if texts[-1][1:2] == "." else None
    # RFC 2034 4: the class is that of the reply code. Where it is not, it is a part of the text.
    if found is not None and found[1][0] == str(code)[0]:
        enhanced = found[1]
        texts = [text[len(enhanced) :].lstrip() if text.startswith(enhanced) else text for text in texts]
    return Reply(code, enhanced, tuple(texts))


def _printable(line: bytes) -> str:
    if line.isascii():
        text = line.decode("ascii")
        if text.isprintable():
            return text
    return _UNPRINTABLE.sub("?", line.decode("utf-8", "replace"))


def in_one_line(reply: Reply, most: int = 500) -> str:
    """The words of a reply, in one line."""
    return " ".join(line.strip() for line in reply.lines if line.strip())[:most]
