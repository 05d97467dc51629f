"""The bundled delivery targets keep every promise of one: local, function, pipeline, signing, queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.delivery.callable import FunctionTarget
from twisted_mail_kit.delivery.dkimkeys import DKIMKey, make_key
from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.delivery.pipeline import Pipeline
from twisted_mail_kit.delivery.routing import Router
from twisted_mail_kit.delivery.signing import Signing
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.queue import Queue
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore
from twisted_mail_kit.testing.contracts import DeliveryContract

ACCOUNTS = Directory(["example.org"], ["joe", "ann"])


class LostStore(MemoryStore):
    async def open_account(self, name: str, create: bool = False) -> MemoryAccount:
        raise Unavailable("the disk is gone")


class _Local(DeliveryContract):
    """Into a store, which stays while targets come and go."""

    recipients = ("joe@example.org", "ann@example.org")
    refuses = "nobody@example.org"
    store: MemoryStore | None = None

    def target(self, store: MemoryStore) -> Any:
        raise NotImplementedError

    def make_target(self, tmp_path: Path) -> Any:
        self.store = self.store or MemoryStore()
        return self.target(self.store)

    def make_broken(self, tmp_path: Path) -> Any:
        return self.target(LostStore())

    async def delivered(self, tmp_path: Path) -> list[tuple[str, bytes]]:
        assert self.store is not None
        found = []
        for name in list(self.store.accounts):
            account = await self.store.open_account(name)
            for box in await account.mailboxes():
                for row in await account.messages(box.id):
                    found.append((name, await account.read_blob(row.blob_id, 0, row.size)))
        return found


class TestLocalDelivery(_Local):
    def target(self, store: MemoryStore) -> Any:
        return LocalDelivery(store, reactor, accounts=ACCOUNTS, spool=self.tmp_path)


class TestPipeline(_Local):
    def target(self, store: MemoryStore) -> Any:
        local = LocalDelivery(store, reactor)
        router = Router(["example.org"], ACCOUNTS)
        return Pipeline(hostname="mx.example.org", router=router, local=local, reactor=reactor)


class TestFunctionTarget(DeliveryContract):
    def make_target(self, tmp_path: Path) -> FunctionTarget:
        self.got: list[tuple[str, bytes]] = getattr(self, "got", [])

        async def keep(envelope: Any, recipients: Any, content: Any) -> None:
            # The content is there as often as it is wanted, and in any order.
            whole = content.read(0, content.size)
            backwards = [content.read(start, 50_000) for start in reversed(range(0, content.size, 50_000))]
            assert b"".join(reversed(backwards)) == whole == content.read(0, content.size + 1)
            assert content.read(content.size, 10) == b""
            self.got += [(str(one.address), whole) for one in recipients]

        return FunctionTarget(keep, reactor, tmp_path)

    def make_broken(self, tmp_path: Path) -> FunctionTarget:
        async def fail(envelope: Any, recipients: Any, content: Any) -> None:
            raise OSError("no database")

        return FunctionTarget(fail, reactor)

    def delivered(self, tmp_path: Path) -> list[tuple[str, bytes]]:
        return self.got


class TestSigning(TestFunctionTarget):
    """Of what a stranger sends it passes all on as it is; of our own, below the signature."""

    is_ours = staticmethod(lambda envelope: envelope.peer.service != "lmtp")
    key = DKIMKey("example.net", "one", make_key("ed25519"))

    def make_target(self, tmp_path: Path) -> Any:
        return Signing(super().make_target(tmp_path), [self.key], reactor, spool=tmp_path, is_ours=self.is_ours)


class LostSpool(MemorySpool):
    def new_blob(self, size_hint: int | None = None) -> Any:
        raise Unavailable("the disk is gone")


class TestQueue(DeliveryContract):
    """Delivered is what is durable in the spool."""

    def make_target(self, tmp_path: Path) -> Queue:
        self.spool = getattr(self, "spool", MemorySpool())
        return self.queue(self.spool)

    def make_broken(self, tmp_path: Path) -> Queue:
        return self.queue(LostSpool())

    def queue(self, spool: Any) -> Queue:
        nowhere: Any = None  # it is never started
        return Queue(spool, nowhere, reactor, hostname="mx.example.org")

    async def delivered(self, tmp_path: Path) -> list[tuple[str, bytes]]:
        found = []
        for message, recipients in await self.spool.messages(limit=10_000):
            octets = await self.spool.read_blob(message.blob_id, 0, message.size)
            found += [(str(one.recipient.address), octets) for one in recipients]
        return found
