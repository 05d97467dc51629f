r"""The selected mailbox as one client has been told it.

A view is the shared `OpenMailbox` seen up to `max_uid`, plus the ghosts: messages that are gone but that the client
still counts, because no EXPUNGE could be told yet (RFC 3501 7.4.1). So it stays small while the mailbox is large.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from twisted_mail_kit.imap.model import OpenMailbox
from twisted_mail_kit.imap.uidset import UidSet
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import STAR, Ranges
from twisted_mail_kit.imap.wire.sequence import resolve
from twisted_mail_kit.mail.flags import SYSTEM_FLAGS

_PIECE = 1000
"""Messages that are told of at once."""


class BadNumbers(ValueError):
    """A message sequence number that this client's mailbox does not have."""


class View:
    """One session's mailbox. Numbers are message sequence numbers, from 1."""

    __slots__ = (
        "__weakref__",
        "ghosts",
        "is_read_only",
        "keywords_told",
        "max_uid",
        "model",
        "pending",
        "position",
        "recent",
    )

    def __init__(self, model: OpenMailbox, read_only: bool) -> None:
        self.model = model
        self.is_read_only = read_only
        self.max_uid = 0
        """The greatest UID that the client was told of; what is greater came later."""
        self.ghosts: UidSet | None = None
        """Messages that are gone, and that the client still counts."""
        self.pending: UidSet | None = None
        """UIDs with other flags than the client was told."""
        self.position = model.log_start + len(model.log)
        self.recent: list[tuple[int, int]] = []
        r"""UID ranges that are ``\Recent`` in this session, ascending."""
        self.keywords_told = len(model.keywords)
        model.views.add(self)
        self._take_in()

    def close(self) -> None:
        """The client has left the mailbox."""
        self.model.views.discard(self)
        self.model.trim()

    # --- numbers ---------------------------------------------------------------------------------------------------

    @property
    def exists(self) -> int:
        """How many messages the client counts."""
        self.catch_up()
        return self._told() + (len(self.ghosts) if self.ghosts else 0)

    def number(self, uid: int) -> int:
        """The sequence number of a UID that the client was told of."""
        self.catch_up()
        return self._number(uid)

    def numbers(self, uids: Sequence[int]) -> Sequence[int]:
        """The sequence numbers of ascending UIDs."""
        if not uids:
            return uids
        first = self.number(uids[0])
        if self._number(uids[-1]) - first == len(uids) - 1:
            return range(first, first + len(uids))
        return list(map(self._number, uids))

    def resolve(self, ranges: Ranges, by_uid: bool) -> tuple[Sequence[int], bool]:
        """The UIDs of a sequence set that are still there, ascending; and whether some were gone.

        Raises BadNumbers for a sequence number that the client's mailbox does not have. UIDs that do not exist are
        left out, as RFC 3501 6.4.8 says, and that is nothing to tell.
        """
        spans, some_gone = self.resolve_spans(ranges, by_uid)
        uids = self.model.uids
        found = array("I")
        for start, stop in spans:
            found.extend(uids[start:stop])
        return found, some_gone

    def resolve_spans(self, ranges: Ranges, by_uid: bool) -> tuple[list[tuple[int, int]], bool]:
        """The same as places in the model's columns, (start, stop), ascending: true until the model changes."""
        exists = self.exists
        uids, told, ghosts = self.model.uids, self._told(), self.ghosts
        found = []
        if by_uid:
            # UIDs that are gone are passed over, but `*` is still the greatest that was told.
            greatest = max(uids[told - 1] if told else 0, ghosts.last(1)[0] if ghosts else 0)
            for low, high in resolve(ranges, greatest) if greatest else ():
                start, stop = bisect_left(uids, low, 0, told), bisect_right(uids, high, 0, told)
                if start < stop:
                    found.append((start, stop))
            return found, False
        for low, high in ranges:
            # `n:*` always means something, unless there is no message at all; then it means nothing.
            if STAR not in (low, high) and max(low, high) > exists:
                raise BadNumbers(f"there are {exists} messages")
        if not exists:
            return [], False
        there = wanted = 0
        for low, high in resolve(ranges, exists):
            low, high = max(low, 1), min(high, exists)
            if low > high:
                continue
            start, stop = (low - 1, high) if not ghosts else (self._place(low, told), self._place(high + 1, told))
            wanted += high - low + 1
            there += stop - start
            if start < stop:
                found.append((start, stop))
        return found, there < wanted

    def _number(self, uid: int) -> int:
        before = bisect_left(self.model.uids, uid) + 1
        return before + self.ghosts.rank(uid) if self.ghosts else before

    def _place(self, number: int, told: int) -> int:
        """The first place, of those that were told, whose message has that number or a greater one."""
        uids, ghosts = self.model.uids, self.ghosts
        assert ghosts is not None
        return bisect_left(range(told), number, key=lambda at: at + 1 + ghosts.rank(uids[at]))

    def _told(self) -> int:
        uids = self.model.uids
        return len(uids) if not uids or uids[-1] <= self.max_uid else bisect_right(uids, self.max_uid)

    # --- flags -----------------------------------------------------------------------------------------------------

    def flag_texts(self, places: Iterable[int]) -> list[bytes]:
        r"""``(\Seen)`` for each of these places in the model's columns."""
        model = self.model
        ids, texts = model.flag_ids, model.flag_texts
        if not self.recent:
            return [texts[ids[at]] for at in places]
        uids, recent_texts = model.uids, model.recent_texts
        if len(self.recent) == 1:
            low, high = self.recent[0]
            return [(recent_texts if low <= uids[at] <= high else texts)[ids[at]] for at in places]
        return [(recent_texts if self.is_recent(uids[at]) else texts)[ids[at]] for at in places]

    def is_recent(self, uid: int) -> bool:
        r"""Whether a message is ``\Recent`` in this session."""
        at = bisect_right(self.recent, (uid, 2**32))
        return at > 0 and uid <= self.recent[at - 1][1]

    def recent_count(self) -> int:
        r"""How many messages that the client counts are ``\Recent``."""
        count = 0
        for low, high in self.recent:
            count += bisect_right(self.model.uids, high) - bisect_left(self.model.uids, low)
            if self.ghosts:
                count += self.ghosts.rank(high + 1) - self.ghosts.rank(low)
        return count

    def forget_pending(self, uids: Iterable[int]) -> None:
        """The client has just been told these messages' flags."""
        if self.pending:
            self.pending.difference_update(uids)

    def flags_lines(self) -> list[bytes]:
        """FLAGS and PERMANENTFLAGS as they are now."""
        self.keywords_told = len(self.model.keywords)
        return [_flags_lines(tuple(self.model.keywords), self.is_read_only)]

    def new_keywords(self) -> list[bytes]:
        """`flags_lines`, where keywords have come up since; they go before the first FETCH that shows one."""
        return self.flags_lines() if self.keywords_told < len(self.model.keywords) else []

    # --- news ------------------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Read the model's log up to its end."""
        model = self.model
        end = model.log_start + len(model.log)
        if self.position == end:
            return
        news = model.log[self.position - model.log_start :]
        self.position = end
        for changed, gone in news:
            if changed and (changed := changed.up_to(self.max_uid)):
                if self.pending is None:
                    self.pending = UidSet()
                self.pending.update(changed)
            if gone and (gone := gone.up_to(self.max_uid)):
                if self.ghosts is None:
                    self.ghosts = UidSet()
                self.ghosts.update(gone)
                if self.pending:
                    self.pending.difference_update(gone)
        model.trim()

    def has_news(self) -> bool:
        """There is something to tell."""
        self.catch_up()
        uids = self.model.uids
        return bool(
            self.pending
            or self.ghosts
            or (uids and uids[-1] > self.max_uid)
            or self.keywords_told < len(self.model.keywords)
        )

    def tell(self, may_expunge: bool, with_modseq: bool) -> Iterator[list[bytes]]:
        """Untagged responses that bring the client up to the model, as far as may be told now; in pieces, between
        which the model may change."""
        if not self.has_news():
            return
        while self.ghosts and may_expunge:
            yield self._tell_ghosts(self.ghosts)
            self.catch_up()
        self.ghosts = self.ghosts or None
        lines: list[bytes] = []
        uids = self.model.uids
        if uids and uids[-1] > self.max_uid:
            recent = self.recent_count()
            self._take_in()
            lines.append(responses.exists(self.exists))
            if self.recent_count() != recent:
                lines.append(responses.recent(self.recent_count()))
        lines += self.new_keywords()
        if lines:
            yield lines
        while self.pending:
            some = self.pending.first(_PIECE)
            if len(some) < _PIECE:
                self.pending = None
            else:
                self.pending.difference_update(some)
            yield self.new_keywords() + self.fetch_flags(some, with_modseq)
        self.pending = None

    def fetch_flags(
        self, uids: Sequence[int], with_modseq: bool, with_uid: bool = True, with_flags: bool = True
    ) -> list[bytes]:
        """FETCH responses with what flags these messages have; those that are gone are left out."""
        self.catch_up()
        model = self.model
        places = model.places(list(uids))
        present = [model.uids[at] for at in places]
        items: list[tuple[bytes, Iterable[object]]] = []
        if with_uid:
            items.append((b"UID %d", present))
        if with_flags:
            items.append((b"FLAGS %b", self.flag_texts(places)))
        if with_modseq:
            items.append((b"MODSEQ (%d)", [model.modseqs[at] for at in places]))
        line = b"* %d FETCH (" + b" ".join(item for item, _ in items) + b")\r\n"
        return [line % values for values in zip(self.numbers(present), *(column for _, column in items), strict=True)]

    def _tell_ghosts(self, ghosts: UidSet) -> list[bytes]:
        # Descending, each number is right whatever was told before it. No longer counted when they are told.
        some = ghosts.last(_PIECE)
        lines = [responses.expunge(self._number(uid)) for uid in reversed(some)]
        ghosts.difference_update(some)
        return lines

    def _take_in(self) -> None:
        """Let the client know of all messages that there are."""
        model = self.model
        if not model.uids or model.uids[-1] <= self.max_uid:
            return
        low, high = max(model.recent_from, self.max_uid + 1), model.uids[-1]
        self.max_uid = high
        if low > high:
            return
        if self.recent and bisect_left(model.uids, low) == bisect_right(model.uids, self.recent[-1][1]):
            self.recent[-1] = (self.recent[-1][0], high)
        else:
            self.recent.append((low, high))
        if not self.is_read_only:
            model.recent_from = high + 1


@lru_cache(maxsize=256)
def _flags_lines(keywords: tuple[str, ...], is_read_only: bool) -> bytes:
    flags = [*sorted(SYSTEM_FLAGS), *keywords]
    if is_read_only:
        permanent = responses.permanent_flags((), False)
        text = "No flags can be set"
    else:
        permanent = responses.permanent_flags(flags, True)
        text = "Flags that are kept"
    return responses.flags_line(flags) + responses.ok(None, text, permanent)
