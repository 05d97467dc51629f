"""Promises of a store that is looked after while it is in use: a backup is of one moment, findings can be read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import Findings, IAccount, IMailStore, IMaintenance
from twisted_mail_kit.testing.contracts.abilities import able
from twisted_mail_kit.testing.contracts.crowds import at_once, pause
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise
from twisted_mail_kit.testing.contracts.steps import LETTER, add, inbox, messages, read


class UpkeepPromises(StoreBench):
    """IMaintenance, beside what `abilities` has of it."""

    level = "abilities"

    @promise
    async def test_findings_are_numbers_and_lines(self, store: IMailStore, account: IAccount) -> None:
        able(store, IMaintenance)
        await add(account, (await inbox(account)).id)
        directory = self.tmp_path.parent / f"{self.tmp_path.name} backup"
        for look_after in (
            able(store, IMaintenance).check,
            able(store, IMaintenance).compact,
            lambda: able(store, IMaintenance).backup(directory),
        ):
            assert not well_formed(await look_after())

    @promise
    async def test_a_backup_is_of_one_moment(self, store: IMailStore, account: IAccount) -> None:
        able(store, IMaintenance)
        other = await store.open_account("bob", create=True)
        directory = self.tmp_path.parent / f"{self.tmp_path.name} backup"
        over: list[bool] = []

        async def write() -> None:
            while not over:
                for one in (account, other):  # so alice never has less than bob, and never two more
                    await add(one, (await inbox(one)).id)
                    await pause()

        async def copy() -> None:
            try:
                for _ in range(3):
                    await pause(0.02)
                    await able(store, IMaintenance).backup(directory)
            finally:
                over.append(True)

        await at_once([write(), copy()])
        copied = await self.opened(finished(self.restore(directory)))
        totals = []
        for name in ("alice", "bob"):
            one = await copied.open_account(name)
            rows = await messages(one, (await inbox(one)).id)
            assert [await read(one, row.blob_id) for row in rows] == [LETTER] * len(rows)
            totals.append(len(rows))
        assert 0 <= totals[0] - totals[1] <= 1

    @promise
    async def test_a_backup_takes_no_place_that_is_something_elses(self, store: IMailStore, account: IAccount) -> None:
        able(store, IMaintenance)
        (directory := self.tmp_path.parent / f"{self.tmp_path.name} photographs").mkdir()
        (directory / "1.jpeg").write_bytes(b"a photograph")
        with pytest.raises(ConfigurationError):
            await able(store, IMaintenance).backup(directory)
        assert [(path.name, path.read_bytes()) for path in directory.iterdir()] == [("1.jpeg", b"a photograph")]


def well_formed(findings: Findings) -> Sequence[str]:
    """The problems in it."""
    assert all(isinstance(what, str) and isinstance(number, int) for what, number in findings.counts.items())
    assert all(problem and "\n" not in problem for problem in findings.problems)
    return findings.problems
