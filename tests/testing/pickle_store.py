"""A store whose whole state is one file, written anew at each commit: durable, and easily broken."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted_mail_kit.errors import AccountNotFound, OverQuota
from twisted_mail_kit.interfaces import Applied, CreateMailbox, Operation
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryBlobWriter, MemoryStore

NOT_KEPT = ("store", "blobs")


class PickleAccount(MemoryAccount):
    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        before = self.kept()
        applied = await super().apply(ops, if_state, token)
        try:
            if not applied.replayed:
                self.store.save()
        except OSError as error:
            self.put_back(before)
            raise self.store.told(error) from error
        return applied

    def new_blob(self, size_hint: int | None = None) -> MemoryBlobWriter:
        writer = super().new_blob(size_hint)
        keep = writer._keep

        def keep_durably(octets: bytes) -> str:
            blob_id = keep(octets)
            try:
                self.store.write_file(self.store.path / f"{blob_id}.blob", octets)
            except OSError as error:
                raise self.store.told(error) from error
            return blob_id

        writer._keep = keep_durably
        return writer

    def kept(self) -> bytes:
        return pickle.dumps({name: value for name, value in vars(self).items() if name not in NOT_KEPT})

    def put_back(self, kept: bytes) -> None:
        vars(self).update(pickle.loads(kept))


class PickleStore(MemoryStore):
    """Durable as the contract wants it."""

    account: type[PickleAccount] = PickleAccount

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.count = 0
        try:
            if (path / "state").exists():
                self.load(pickle.loads((path / "state").read_bytes()))
        except OSError as error:
            raise self.told(error) from error

    def new_id(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{os.urandom(6).hex()}-{self.count}"

    def new_uidvalidity(self) -> int:
        self.count += 1
        return self.count

    async def open_account(self, name: str, create: bool = False) -> MemoryAccount:
        if name not in self.accounts:
            if not create:
                raise AccountNotFound(name)
            self.accounts[name] = self.account(self, name)
            try:
                await self.accounts[name].apply([CreateMailbox(("INBOX",), "inbox")])
            except BaseException:
                del self.accounts[name]
                raise
        return self.accounts[name]

    def told(self, error: OSError) -> Exception:
        return OverQuota(str(error))

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "accounts": {name: account.kept() for name, account in self.accounts.items()}}

    def load(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        octets = {path.stem: path.read_bytes() for path in self.path.glob("*.blob")}
        for name, kept in state["accounts"].items():
            self.accounts[name] = account = self.account(self, name)
            account.put_back(kept)
            account.blobs = {blob_id: octets[blob_id] for blob_id in account.references if blob_id in octets}

    def save(self) -> None:
        self.write_file(self.path / "state", pickle.dumps(self.state()))

    # --- files -------------------------------------------------------------------------------------------------------

    def write_file(self, path: Path, octets: bytes) -> None:
        new = path.with_name(f"{path.name}.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            while octets:
                octets = octets[os.write(fd, octets) :]
            self.sync(fd)
        finally:
            os.close(fd)
        new.replace(path)
        self.sync_directory()

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def sync_directory(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
