"""What open mailboxes may hold in memory, all of them together; those that nobody has selected go first."""

from __future__ import annotations

from collections import OrderedDict

from twisted.logger import Logger

from twisted_mail_kit.imap.model import OpenMailbox
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.mail.facts import Mailbox
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import IMAP_VIEW_BYTES

PACKED = 18
"""Octets a message, as long as no number in its columns is great."""
SMALL = 1000
"""A mailbox of so many messages is opened in any case, and costs nothing to read again."""
FLAG_SETS = 1000
"""One with more different sets of flags than this, which are not counted, is not kept when it is left."""
LEFT_SHARE = 4
"""This part of the bound, one in so many, may be held by mailboxes that nobody has selected."""


class Views:
    """The open mailboxes of one listener, and those that were left and are kept for whoever comes back."""

    log = Logger()

    def __init__(self, most: int) -> None:
        self.most = most
        """Octets."""
        self.held = 0
        """Octets that are held, or about to be."""
        self._octets: dict[OpenMailbox, int] = {}
        self._left: OrderedDict[tuple[str, str], OpenMailbox] = OrderedDict()
        """By account and mailbox id; left last is last."""
        self._left_octets = 0
        IMAP_VIEW_BYTES.read(self._held)

    def admit(self, mailbox: Mailbox) -> None:
        """Make room for one more. Raises Refusal where there is none."""
        needed = mailbox.total * PACKED
        if mailbox.total <= SMALL:
            return
        self._let_go(self.most - needed)
        if self.held + needed > self.most:
            limits.IMAP_VIEWS.value += 1
            self.log.warn(
                "no mailbox of {messages} messages is opened: {held} of {most} octets are held by others",
                messages=mailbox.total,
                held=self.held,
                most=self.most,
            )
            if needed > self.most:
                raise Refusal("The mailbox has more messages than this server opens", b"LIMIT")
            raise Refusal("Too many large mailboxes are open here, try again later", b"UNAVAILABLE")

    def join(self, model: OpenMailbox) -> None:
        """It is open: what it holds counts from now on, and what it is about to hold."""
        self._octets.setdefault(model, 0)
        self._count(model, model.octets if model.modseq >= 0 else model.mailbox.total * PACKED)

    def grown(self, model: OpenMailbox) -> None:
        """It may hold more than before, or less."""
        if model in self._octets:  # unless it was forgotten meanwhile
            self._count(model, model.octets)
            self._let_go(self.most)

    def _held(self) -> int:
        return self.held

    def _count(self, model: OpenMailbox, octets: int) -> None:
        more = octets - self._octets[model]
        self.held += more
        self._octets[model] = octets
        if self._left.get((model.account.name, model.mailbox.id)) is model:
            self._left_octets += more

    def leave(self, account: str, model: OpenMailbox) -> None:
        """Nobody has it selected any more: keep it for a while, where it is worth it."""
        if len(model.uids) <= SMALL or len(model.flag_sets) > FLAG_SETS or model.is_gone or model.modseq < 0:
            self._forget(model)
            return
        self._drop(account, model.mailbox.id)
        self._left[account, model.mailbox.id] = model
        self._left_octets += self._octets[model]
        while self._left_octets > self.most // LEFT_SHARE:
            self._drop(*next(iter(self._left)))

    def take(self, account: str, mailbox: Mailbox) -> OpenMailbox | None:
        """The one that was left, if it is still here."""
        model = self._left.pop((account, mailbox.id), None)
        if model is None:
            return None
        self._left_octets -= self._octets[model]
        known = model.mailbox
        if known.uidvalidity == mailbox.uidvalidity and known.modseq <= mailbox.modseq:
            return model
        self._forget(model)  # another mailbox: the account was removed meanwhile, and made again
        return None

    def _let_go(self, most: int) -> None:
        while self._left and self.held > most:
            self._drop(*next(iter(self._left)))

    def _drop(self, account: str, mailbox_id: str) -> None:
        model = self._left.pop((account, mailbox_id), None)
        if model is not None:
            self._left_octets -= self._octets[model]
            self._forget(model)

    def _forget(self, model: OpenMailbox) -> None:
        self.held -= self._octets.pop(model, 0)
