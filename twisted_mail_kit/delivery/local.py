"""Local delivery: messages into the mailboxes of the store."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.delivery.intake import Intake
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import AccountNotFound, MailboxNotFound, OverQuota, Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import (
    IAccount,
    IAccounts,
    IBlobWriter,
    IDelivery,
    IDeliveryTarget,
    IMailStore,
    ISharedBlobs,
)
from twisted_mail_kit.mail.content import Assembled
from twisted_mail_kit.mail.destination import Local
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.structure import Structure
from twisted_mail_kit.mail.summary import pack
from twisted_mail_kit.mail.trace import delivered_to_field, return_path_field
from twisted_mail_kit.metrics.catalogue import LOCAL_DELIVERIES

MAILBOX_FULL = Status("4.2.2", "Mailbox is full", 452)
_REMEMBERED = 10_000
_NOT_FOR_STRANGERS = ("drafts", "sent", "trash")

T = TypeVar("T")
_DELIVERED = LOCAL_DELIVERIES["delivered"]


async def together(tasks: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them give, done at the same time. They must not raise."""
    if len(tasks) == 1:
        return [await tasks[0]]
    done: list[T] = await gatherResults([Deferred.fromCoroutine(task) for task in tasks])
    return done


@implementer(IDeliveryTarget)
class LocalDelivery:
    """Writes a message once (ISharedBlobs) or once an account, and adds it to each inbox in one `apply` an account.

    All recipients are served at the same time, so a store that shares its commits among those who wait takes them in
    one. The token of an `apply` is the trace id with the account: a delivery that is tried again after an answer was
    lost does nothing the second time. Two messages of the same octets are two messages.

    An account that `accounts` (or the pipeline's router) knows and the store does not have yet is made.
    """

    log = Logger()

    def __init__(
        self,
        store: IMailStore,
        reactor: Any,
        settings: DeliverySettings | None = None,
        accounts: IAccounts | None = None,
        spool: Path | None = None,
    ) -> None:
        self.store = store
        self.reactor = reactor
        self.settings = settings or DeliverySettings()
        self.accounts = accounts
        self.spool = spool
        self._inboxes: dict[str, tuple[IAccount, str]] = {}

    async def begin(self, envelope: Envelope) -> IDelivery:
        """For use as a target of its own, without a pipeline before it.

        A recipient is looked up in `accounts`; without those, the address is the account's name.
        """
        return _Transaction(self, envelope)

    async def deliver(
        self, envelope: Envelope, places: Sequence[Local], message: Assembled, structure: Structure
    ) -> list[Outcome]:
        """Put the message into each of these places. One outcome for each; Delivered is durable. Never raises."""
        summary = pack(structure)
        if not ISharedBlobs.providedBy(self.store):
            return await together([self._deliver(envelope, place, message, summary, None) for place in places])
        try:
            blob_id = await self._write(self.store.new_blob(message.size), message)
        except Exception as problem:
            return [self._what_became(problem, envelope, "the store")] * len(places)
        return await together([self._deliver(envelope, place, message, summary, blob_id) for place in places])

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _deliver(
        self, envelope: Envelope, place: Local, message: Assembled, summary: bytes, blob_id: str | None
    ) -> Outcome:
        try:
            try:
                await self._add(envelope, place, message, summary, blob_id)
            except (AccountNotFound, MailboxNotFound):
                # The account was removed and made again since we looked.
                self._inboxes.pop(place.account, None)
                await self._add(envelope, place, message, summary, blob_id)
        except Exception as problem:
            self._inboxes.pop(place.account, None)
            return self._what_became(problem, envelope, place.account)
        _DELIVERED.value += 1
        return Delivered()

    async def _add(
        self, envelope: Envelope, place: Local, message: Assembled, summary: bytes, blob_id: str | None
    ) -> None:
        account, mailbox_id = await self._inbox(place.account)
        token = f"{envelope.trace_id}:{place.account}"
        if place.detail and self.settings.detail_folders:
            folder = await self._folder(account, place.detail)
            if folder is not None:
                mailbox_id = folder
                token += f":{folder}"
        if blob_id is None:
            blob_id = await self._write(account.new_blob(message.size), message)
        when = int(envelope.received_at or self.reactor.seconds())
        await account.apply([Add(mailbox_id, blob_id, when, summary)], token=token)

    async def _inbox(self, name: str) -> tuple[IAccount, str]:
        known = self._inboxes.get(name)
        if known is not None:
            return known
        account = await self.store.open_account(name, create=True)
        for mailbox in await account.mailboxes():
            if mailbox.role == "inbox":
                break
        else:
            raise Unavailable(f"account {name} has no inbox")
        if len(self._inboxes) >= _REMEMBERED:
            self._inboxes.clear()
        self._inboxes[name] = account, mailbox.id
        return account, mailbox.id

    async def _folder(self, account: IAccount, detail: str) -> str | None:
        wanted = detail.casefold()
        for mailbox in await account.mailboxes():
            # A stranger writes the detail: let him put nothing among what the owner wrote himself, or threw away.
            if "/".join(mailbox.name).casefold() == wanted and mailbox.role not in _NOT_FOR_STRANGERS:
                return mailbox.id
        return None

    async def _write(self, writer: IBlobWriter, message: Assembled) -> str:
        try:
            for octets in message.chunks():
                await writer.write(octets)
            return await writer.commit()
        except BaseException:
            await writer.abort()
            raise

    def _what_became(self, problem: Exception, envelope: Envelope, where: str) -> Outcome:
        """The outcome that an exception out of the store means. What is unknown is temporary."""
        LOCAL_DELIVERIES["failed" if isinstance(problem, Refused) else "delayed"].value += 1
        if isinstance(problem, Refused):
            return Failed(problem.status)
        if isinstance(problem, TryLater):
            return Delayed(problem.status)
        if isinstance(problem, OverQuota):
            self.log.info("{where} is full: {trace_id} has to wait", where=where, trace_id=envelope.trace_id)
            return Delayed(MAILBOX_FULL)
        if isinstance(problem, Unavailable):
            self.log.warn(
                "{where} cannot take {trace_id} now: {problem}",
                where=where,
                trace_id=envelope.trace_id,
                problem=problem,
            )
        else:
            self.log.failure(
                "delivery to {where} failed, reference {trace_id}", where=where, trace_id=envelope.trace_id
            )
        return Delayed(Status("4.3.0", f"Cannot be delivered now, reference {envelope.trace_id}", 451))


@implementer(IDelivery)
class _Transaction:
    """One message for the store, without a pipeline."""

    def __init__(self, target: LocalDelivery, envelope: Envelope) -> None:
        self._target = target
        self._envelope = envelope
        self._recipients: list[tuple[Recipient, Local]] = []
        self._intake: Intake | None = None

    async def add_recipient(self, recipient: Recipient) -> None:
        accounts = self._target.accounts
        if accounts is None:
            place = Local(f"{recipient.address.local}@{recipient.address.domain}".lower())
        else:
            destination = await accounts.lookup(recipient.address)
            if not isinstance(destination, Local):
                raise Refused(Status("5.1.1", "No such user here", 550))
            place = destination
        self._recipients.append((recipient, place))

    async def write(self, octets: bytes) -> None:
        await self._begun().write(octets)

    async def commit(self) -> Sequence[Outcome]:
        intake = self._begun()
        try:
            structure = intake.close()
            places = list(dict.fromkeys(place for _, place in self._recipients))
            if not places:
                return []
            message = Assembled(intake.top, intake.content)
            outcomes = await self._target.deliver(self._envelope, places, message, structure)
            became = dict(zip(places, outcomes, strict=True))
            return [became[place] for _, place in self._recipients]
        finally:
            intake.content.close()

    async def abort(self) -> None:
        if self._intake is not None:
            self._intake.content.close()

    def _begun(self) -> Intake:
        if self._intake is None:
            top = return_path_field(self._envelope.sender)
            if len(self._recipients) == 1:
                top += delivered_to_field(self._recipients[0][0].address)
            target = self._target
            self._intake = Intake(target.reactor, top, target.spool, target.settings)
        return self._intake
