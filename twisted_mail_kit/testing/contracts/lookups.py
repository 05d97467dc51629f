"""Promises of accounts: every address is an account, an alias or nobody's, and nobody borrows another's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from twisted_mail_kit.errors import AccountNotFound, Refused
from twisted_mail_kit.interfaces import Alias, IAccounts, Local
from twisted_mail_kit.mail.address import Address, make_address, parse_address
from twisted_mail_kit.testing.contracts.part import (
    PartBench,
    at_once,
    given_up,
    nobody_held_up,
    part_promise,
    what_became,
)

STRANGE_LOCALS = [
    "*",
    "%",
    "_",
    ".",
    "..",
    "../../etc/passwd",
    "'; DROP TABLE users; --",
    "' OR '1'='1",
    "*)(mail=*",
    "|/bin/sh",
    ":include:/etc/passwd",
    '"',
    "\\",
    "a b",
    "a@b",
    "joe%theirs.example",
    "theirs.example!joe",
    "${USER}",
    "\u00fcber",
    "\U0001f4ee",
    "-rf",
    "x" * 64,
]
"""Local parts that may come at RCPT TO, and that nobody has."""
DOMAIN = "example.org"
NOBODY = "nobody-has-this-address"


class AddressBench(PartBench):
    """How accounts are made, and which addresses there are."""

    local: Mapping[str, str] = {}
    """Addresses, and the account that each of them is."""
    aliases: Mapping[str, Sequence[str]] = {}
    """Addresses, and the addresses that they lead to."""

    def make_accounts(self, tmp_path: Path) -> Any:
        """Give an IAccounts. An awaitable of one will do."""
        raise NotImplementedError("write make_accounts(self, tmp_path)")

    def _make(self) -> Any:
        return self.make_accounts(self.tmp_path)

    def locals(self) -> list[tuple[Address, str]]:
        """(address, account); skips aloud where none is known."""
        if not self.local:
            pytest.skip("the contract says of no address whose it is (local): right answers were not looked at")
        return [(parse_address(address), account) for address, account in self.local.items()]

    def domain(self) -> str:
        """One of ours."""
        return next((parse_address(one).domain for one in (*self.local, *self.aliases)), DOMAIN)

    def nobody(self) -> Address:
        """An address that nobody has."""
        return Address(NOBODY, self.domain())

    async def nobodys(self, part: Any) -> Address:
        """The same; skips where somebody gets all that is nobody's."""
        if await part.lookup(self.nobody()) is not None:
            pytest.skip("somebody gets what is nobody's (a catch-all): such addresses were not looked at")
        return self.nobody()


def is_an_answer(found: object) -> None:
    """Local, Alias or None, whole."""
    if found is None:
        return
    assert isinstance(found, (Local, Alias)), f"{found!r} is neither Local, Alias nor None"
    if isinstance(found, Local):
        assert isinstance(found.account, str) and found.account and isinstance(found.detail, str)
        return
    assert found.targets or found.keep is not None, "an alias leads somewhere"
    assert isinstance(found.targets, tuple) and all(isinstance(one, Address) for one in found.targets)
    assert found.keep is None or isinstance(found.keep, Local)


class LookupPromises(AddressBench):
    """What is asked every day."""

    @part_promise
    async def test_the_door_is_provided(self, part: Any) -> None:
        verifyObject(IAccounts, part)

    @part_promise
    async def test_an_address_of_an_account_is_that_account(self, part: Any) -> None:
        for address, account in self.locals():
            found = await part.lookup(address)
            is_an_answer(found)
            found = found.keep if isinstance(found, Alias) else found
            assert isinstance(found, Local) and found.account == account

    @part_promise
    async def test_an_alias_leads_to_all_its_targets(self, part: Any) -> None:
        if not self.aliases:
            pytest.skip("the contract has no aliases: where they lead was not looked at")
        for name, targets in self.aliases.items():
            found = await part.lookup(parse_address(name))
            is_an_answer(found)
            wanted = {parse_address(one) for one in targets}
            if isinstance(found, Local):
                assert wanted == {parse_address(name)}, "the other targets are lost"
                continue
            assert isinstance(found, Alias)
            assert set(found.targets) | ({parse_address(name)} if found.keep else set()) == wanted
            assert parse_address(name) not in found.targets, "what is its own copy is kept, or nobody gets it"

    @part_promise
    async def test_an_address_that_nobody_has_is_nobodys(self, part: Any) -> None:
        assert await part.lookup(await self.nobodys(part)) is None

    @part_promise
    async def test_the_same_question_has_the_same_answer(self, part: Any) -> None:
        for address in (*map(parse_address, (*self.local, *self.aliases)), self.nobody()):
            assert await part.lookup(address) == await part.lookup(address)

    @part_promise
    async def test_the_bare_postmaster_is_answered(self, part: Any) -> None:
        is_an_answer(await part.lookup(Address("postmaster", "")))
        assert await part.may_send_as("nobodys-account@example.org", Address("postmaster", "")) is False

    @part_promise
    async def test_an_account_sends_as_its_own_address(self, part: Any) -> None:
        for address, account in self.locals():
            assert await part.may_send_as(account, address) is True

    @part_promise
    async def test_an_account_does_not_send_as_another(self, part: Any) -> None:
        known = self.locals()
        for address, account in known:
            found = await part.lookup(address)
            if isinstance(found, Local):
                for other in {other for _, other in known} - {account}:
                    assert await part.may_send_as(other, address) is False
            assert await part.may_send_as("nobodys-account@example.org", address) is False
            assert await part.may_send_as("", address) is False

    @part_promise
    async def test_nobody_sends_as_what_is_nobodys_or_elsewhere(self, part: Any) -> None:
        elsewhere = [Address("joe", "theirs.example"), Address("ceo", "xn--nxasmq6b.example"), Address("joe", "")]
        for address in (await self.nobodys(part), *elsewhere):
            for account in ("nobodys-account@example.org", *(account for _, account in self.local.items())):
                assert await part.may_send_as(account, address) is False


class HostileAddressPromises(AddressBench):
    """What strangers say at RCPT TO, and friends at MAIL FROM."""

    level = "hostile"

    @part_promise
    async def test_strange_addresses_are_answered(self, part: Any) -> None:
        for local in STRANGE_LOCALS:
            is_an_answer(await part.lookup(make_address(local, self.domain())))

    @part_promise
    async def test_strange_addresses_are_nobodys(self, part: Any) -> None:
        await self.nobodys(part)
        for local in STRANGE_LOCALS:
            address = make_address(local, self.domain())
            if str(address) not in (*self.local, *self.aliases):
                assert await part.lookup(address) is None, f"{address} is somebody's"

    @part_promise
    async def test_an_address_that_only_looks_like_an_accounts_is_not_his(self, part: Any) -> None:
        await self.nobodys(part)
        for address, account in self.locals():
            local = address.local
            for other in (
                f"{local}x",
                f"x{local}",
                local[:-1],
                f"{local}*",
                f"{local[:-1]}_",
                f" {local}",
                f"{local}.",
            ):
                near = Address(other, address.domain)
                if other and str(near) not in (*self.local, *self.aliases):
                    found = await part.lookup(near)
                    assert not (isinstance(found, Local) and found.account == account), f"{near} is taken for {address}"

    @part_promise
    async def test_nobody_sends_as_a_strange_address(self, part: Any) -> None:
        await self.nobodys(part)
        accounts = [*self.local.values(), "nobodys-account@example.org", "*", "%", "' OR '1'='1", "\0", "x" * 1000]
        for local in STRANGE_LOCALS:
            address = make_address(local, self.domain())
            for account in accounts:
                if str(address) not in (*self.local, *self.aliases):
                    assert await part.may_send_as(account, address) is False


class CrowdedLookupPromises(AddressBench):
    """Many at once."""

    level = "crowds"

    @part_promise
    async def test_of_many_at_once_each_gets_his_own_answer(self, part: Any) -> None:
        asked = [*map(parse_address, (*self.local, *self.aliases)), self.nobody()] * 10
        alone = {address: await part.lookup(address) for address in asked[: len(asked) // 10]}
        for address, found in zip(asked, await at_once(part.lookup(one) for one in asked), strict=True):
            assert found == alone[address]

    @part_promise
    async def test_while_addresses_are_looked_up_nobody_is_held_up(self, part: Any) -> None:
        async with nobody_held_up(self):
            await at_once(part.lookup(Address(f"{NOBODY}{number}", self.domain())) for number in range(20))

    @part_promise
    async def test_one_who_gives_up_is_in_nobodys_way(self, part: Any) -> None:
        address = next(map(parse_address, self.local), self.nobody())
        alone = await part.lookup(address)
        for _ in range(5):
            await given_up(_ask(part, address), 0)
        assert await part.lookup(address) == alone


async def _ask(part: Any, address: Address) -> object:
    return await part.lookup(address)


class KeptAddressPromises(AddressBench):
    """Made again, and left without a file."""

    level = "kept"

    @part_promise
    async def test_made_again_it_answers_the_same(self, part: Any) -> None:
        again = await self.made_again()
        for address in (*map(parse_address, (*self.local, *self.aliases)), self.nobody()):
            assert await part.lookup(address) == await again.lookup(address)
        await self.closed(part)
        await self.closed(part)
        for address in map(parse_address, (*self.local, *self.aliases)):
            assert await again.lookup(address) is not None

    @part_promise
    async def test_without_what_it_stands_on_nobody_is_told_that_he_is_unknown(self) -> None:
        part = await what_became(self._broken())
        if isinstance(part, Exception):
            return  # then the server does not begin
        for address in (*map(parse_address, (*self.local, *self.aliases)), self.nobody()):
            came = await what_became(part.lookup(address))
            assert isinstance(came, Exception), f"{address}: {came!r}, as if it were known"
            assert not isinstance(came, (Refused, AccountNotFound)), f"{address} is turned away for good: {came!r}"

    async def _broken(self) -> Any:
        return await self.opened(self.make_broken(self.tmp_path))
