r"""The selected mailbox as one client has been told it.

A view is the shared `OpenMailbox` seen up to `max_uid`, plus the ghosts: messages that are gone but that the client
still counts, because no EXPUNGE could be told yet (RFC 3501 7.4.1). So it stays small while the mailbox is large.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence

from twisted_mail_kit.imap.model import OpenMailbox
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import STAR, Ranges
from twisted_mail_kit.imap.wire.sequence import spans
from twisted_mail_kit.mail.flags import SYSTEM_FLAGS


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
        self.ghosts: list[int] | None = None
        """UIDs, ascending."""
        self.pending: set[int] | None = None
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
        before = bisect_left(self.model.uids, uid) + 1
        return before + bisect_left(self.ghosts, uid) if self.ghosts else before

    def numbers(self, uids: Sequence[int]) -> Sequence[int]:
        """The sequence numbers of ascending UIDs."""
        if not uids:
            return uids
        first = self.number(uids[0])
        if self.number(uids[-1]) - first == len(uids) - 1:
            return range(first, first + len(uids))
        return [self.number(uid) for uid in uids]

    def told_uids(self) -> Sequence[int]:
        """All UIDs that the client counts, ascending, gone ones too."""
        told = self._told()
        uids = self.model.uids
        if not self.ghosts:
            return uids if told == len(uids) else uids[:told]
        return array("I", sorted([*uids[:told], *self.ghosts]))

    def resolve(self, ranges: Ranges, by_uid: bool) -> tuple[list[int], bool]:
        """The UIDs of a sequence set that are still there, ascending; and whether some were gone.

        Raises BadNumbers for a sequence number that the client's mailbox does not have. UIDs that do not exist are
        left out, as RFC 3501 6.4.8 says, and that is nothing to tell.
        """
        self.catch_up()
        if by_uid:
            uids = self.told_uids()
            if self.ghosts:  # they do not exist any more: passed over, but `*` is still the greatest that was told
                ghosts = set(self.ghosts)
                return [
                    uid for start, stop in spans(ranges, uids) for uid in uids[start:stop] if uid not in ghosts
                ], False
            return [uid for start, stop in spans(ranges, uids) for uid in uids[start:stop]], False
        exists = self.exists
        for low, high in ranges:
            # `n:*` always means something, unless there is no message at all; then it means nothing.
            if STAR not in (low, high) and max(low, high) > exists:
                raise BadNumbers(f"there are {exists} messages")
        if not exists:
            return [], False
        uids = self.told_uids()
        found = [uid for start, stop in spans(ranges, range(1, exists + 1)) for uid in uids[start:stop]]
        if not self.ghosts:
            return found, False
        ghosts = set(self.ghosts)
        there = [uid for uid in found if uid not in ghosts]
        return there, len(there) < len(found)

    def _told(self) -> int:
        uids = self.model.uids
        return len(uids) if not uids or uids[-1] <= self.max_uid else bisect_right(uids, self.max_uid)

    # --- flags -----------------------------------------------------------------------------------------------------

    def flag_texts(self, places: Iterable[int]) -> list[bytes]:
        r"""``(\Seen)`` for each of these places in the model's arrays."""
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
            for uids in (self.model.uids, self.ghosts or ()):
                count += bisect_right(uids, high) - bisect_left(uids, low)
        return count

    def forget_pending(self, uids: Iterable[int]) -> None:
        """The client has just been told these messages' flags."""
        if self.pending:
            self.pending.difference_update(uids)

    def flags_lines(self) -> list[bytes]:
        """FLAGS and PERMANENTFLAGS as they are now."""
        self.keywords_told = len(self.model.keywords)
        flags = [*sorted(SYSTEM_FLAGS), *self.model.keywords]
        if self.is_read_only:
            permanent = responses.permanent_flags((), False)
            text = "No flags can be set"
        else:
            permanent = responses.permanent_flags(flags, True)
            text = "Flags that are kept"
        return [responses.flags_line(flags), responses.ok(None, text, permanent)]

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
        max_uid = self.max_uid
        news = model.log[self.position - model.log_start :]
        self.position = end
        gone: list[int] = []
        for entry in news:
            if -max_uid <= entry < 0:
                gone.append(-entry)
            elif 0 < entry <= max_uid:
                if self.pending is None:
                    self.pending = set()
                self.pending.add(entry)
        if gone:
            if self.ghosts is None:
                self.ghosts = []
            if len(gone) == 1:
                insort(self.ghosts, gone[0])
            else:
                self.ghosts = sorted([*self.ghosts, *gone])
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

    def tell(self, may_expunge: bool, with_modseq: bool) -> list[bytes]:
        """Untagged responses that bring the client up to the model, as far as may be told now."""
        if not self.has_news():
            return []
        lines: list[bytes] = []
        if self.ghosts and may_expunge:
            lines += self._tell_ghosts(self.ghosts)
            self.ghosts = None
        uids = self.model.uids
        if uids and uids[-1] > self.max_uid:
            recent = self.recent_count()
            self._take_in()
            lines.append(responses.exists(self.exists))
            if self.recent_count() != recent:
                lines.append(responses.recent(self.recent_count()))
        lines += self.new_keywords()
        if self.pending:
            lines += self.fetch_flags(sorted(self.pending), with_modseq)
            self.pending = None
        return lines

    def fetch_flags(
        self, uids: Sequence[int], with_modseq: bool, with_uid: bool = True, with_flags: bool = True
    ) -> list[bytes]:
        """FETCH responses with what flags these messages have; those that are gone are left out."""
        model = self.model
        present = [(uid, at) for uid in uids if (at := model.index(uid)) >= 0]
        texts = self.flag_texts([at for _, at in present])
        lines = []
        for (uid, at), text in zip(present, texts, strict=True):
            items = [b"UID %d" % uid] if with_uid else []
            if with_flags:
                items.append(b"FLAGS " + text)
            if with_modseq:
                items.append(b"MODSEQ (%d)" % model.modseqs[at])
            lines.append(b"* %d FETCH (%b)\r\n" % (self.number(uid), b" ".join(items)))
        return lines

    def _tell_ghosts(self, ghosts: list[int]) -> list[bytes]:
        # Descending, each number is right whatever was told before it.
        lines = []
        uids = self.model.uids
        for before in range(len(ghosts) - 1, -1, -1):
            lines.append(responses.expunge(bisect_left(uids, ghosts[before]) + before + 1))
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
