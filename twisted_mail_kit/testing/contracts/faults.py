"""Promises about a disk that is full or fails, and about a lock that another process holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.errors import OverQuota, Unavailable
from twisted_mail_kit.interfaces import Add
from twisted_mail_kit.testing.contracts.child import child
from twisted_mail_kit.testing.contracts.lasting import Note, can_be_looked_at, how_many, lasting
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished
from twisted_mail_kit.testing.contracts.shim import build
from twisted_mail_kit.testing.contracts.steps import inbox, put_blob, snapshot
from twisted_mail_kit.testing.contracts.witness import Broken

HERE = "twisted_mail_kit.testing.contracts.fault_points"
TOLD = 8
"""So many broken points are enough."""


class FaultPromises(StoreBench):
    """Skips aloud where the store is not persistent, or has no files of its own."""

    level = "faults"
    faults = 80
    """At how many calls something fails, of all there are; MAILKIT_FAULTS goes before, 0: all of them."""
    fault_seed = 1
    """Another one is another choice; MAILKIT_FAULT_SEED goes before."""
    fault_patience = 60.0
    """Seconds after which a call counts as hanging."""
    local_files = True
    """Whether all that is durable lies below `tmp_path`."""

    def hold_lock(self, tmp_path: Path) -> Any:
        """Take the lock that the store needs for writing, and give what keeps it while it is not dropped. Called in
        another process. Let `make_store` wait for it a second or two, not a minute."""
        raise NotImplementedError

    @lasting
    async def test_a_disk_that_fails_is_a_temporary_error_and_changes_nothing(self, note: Note) -> None:
        can_be_looked_at(self)
        if not self.local_files:
            pytest.skip("local_files = False: a disk that is elsewhere cannot be made to fail")
        points, seed = how_many(self.faults, "MAILKIT_FAULTS"), how_many(self.fault_seed, "MAILKIT_FAULT_SEED")
        function, env = f"{HERE}:fail_at_each_call", {"LD_PRELOAD": str(build(self.tmp_path))}
        failing = child(self, function, str(seed), str(points), env=env)
        played, wrong, there = 0, [], 0
        try:
            async for line in failing:
                told = json.loads(line)
                there = told.get("all", there)
                played += bool(told.get("failed"))
                if told.get("wrong"):
                    wrong.append(told["wrong"])
                    if len(wrong) >= TOLD:
                        failing.kill()
            code = await failing.done()
        finally:
            failing.kill()
        note("fault points", f"{played} of {there}")
        if wrong:
            stories = "\n\n".join(wrong)
            raise Broken(f"{len(wrong)} of {played} faults were not borne (seed {seed}):\n\n{stories}")
        if code:
            raise Broken(f"the child process ended with {code}:\n{failing.complaints.decode(errors='replace')[-4000:]}")

    @lasting
    async def test_a_lock_that_another_process_holds_is_a_temporary_error(self, note: Note) -> None:
        can_be_looked_at(self)
        if type(self).hold_lock is FaultPromises.hold_lock:
            pytest.skip("the contract has no hold_lock(): what happens while another process has it was not looked at")
        store = await self.opened(self.make_store(self.tmp_path))
        account = await store.open_account("alice", create=True)
        box = await inbox(account)
        await account.apply([Add(box.id, await put_blob(account), 1)])
        blob, before = await put_blob(account, b"later"), await snapshot(account)
        holding = child(self, f"{HERE}:hold_lock")
        try:
            assert (await anext(holding)).startswith("held"), holding.complaints.decode()
            with pytest.raises((Unavailable, OverQuota)):
                await account.apply([Add(box.id, blob, 1)], token="t")
        finally:
            holding.kill()
            await holding.done()
        assert await snapshot(account) == before
        applied = await account.apply([Add(box.id, blob, 1)], token="t")
        assert not applied.replayed
        store = await self.opened_again(store)
        assert (await inbox(await finished(store.open_account("alice")))).total == 2
