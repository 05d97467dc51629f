"""Routing: who gets it, and that nobody can relay through us, however an address is written."""

from __future__ import annotations

import pytest
from delivery_world import JOE, LMTP, STRANGER, House, Outside
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.mail.address import Address, BadAddress, parse_path
from twisted_mail_kit.mail.envelope import Peer, Recipient


async def route(house: House, address: Address, peer: Peer = STRANGER) -> list[str]:
    found = await house.pipeline.router.route(house.envelope(peer), Recipient(address))
    return [one.account for one in found.local] + [str(one.address) for one in found.outward]


@pytest.mark.parametrize(
    "path",
    [
        b"<joe@theirs.example>",
        b"<joe%theirs.example@ours.example>",
        b"<theirs.example!joe@ours.example>",
        b"<@ours.example:joe@theirs.example>",
        b"<@ours.example,@theirs.example:joe@theirs.example>",
        b'<"joe@theirs.example"@ours.example>',
        b'<"joe@theirs.example">',
        b"<joe@theirs.example@ours.example>",
        b"<joe@theirs.example.>",
        b"<joe@ours.example.theirs.example>",
        b"<joe@[192.0.2.1]>",
        b"<joe@[127.0.0.1]>",
        b"<joe@[IPv6:::1]>",
        b"<joe@theirs.example%ours.example>",
        b"<joe@ours.example\0.theirs.example>",
        b"<postmaster@theirs.example>",
        b"<joe>",
    ],
)
async def test_no_writing_of_an_address_relays(path: bytes) -> None:
    house = House(outbound=Outside(), aliases={"@bücher.example": ["joe@ours.example"]})
    for peer in (STRANGER, LMTP, Peer(host="127.0.0.1", service="submission", is_local=True)):
        try:
            address, _ = parse_path(path, utf8=True)
        except BadAddress:
            continue
        assert address is not None
        with pytest.raises(Refused) as refused:
            await route(house, address, peer)
        assert refused.value.status.reply == 550


_ODD = st.text('ab.%!@:,"\\+-[]1 ü', min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(local=_ODD, domain=_ODD | st.sampled_from(["ours.example", "ours.example.", "OURS.example", "theirs.example"]))
def test_a_stranger_reaches_only_our_accounts(local: str, domain: str) -> None:
    from twisted.internet.defer import Deferred

    house = House(outbound=Outside(), aliases={"@ours.example": ["ann@ours.example"]})
    got: list[object] = []
    Deferred.fromCoroutine(route(house, Address(local, domain))).addBoth(got.append)
    assert len(got) == 1
    if isinstance(got[0], list):
        assert set(got[0]) <= {"joe@ours.example", "ann@ours.example"}
        assert domain.lower().removesuffix(".") == "ours.example"
    else:
        assert got[0].check(Refused)  # type: ignore[attr-defined]


async def test_a_login_may_send_outside_where_there_is_a_way() -> None:
    away = Address("bob", "theirs.example")
    assert await route(House(outbound=Outside()), away, JOE) == ["bob@theirs.example"]
    with pytest.raises(Refused):
        await route(House(), away, JOE)


async def test_a_trusted_network_may_send_outside_and_no_other() -> None:
    house = House(outbound=Outside(), trusted_networks=("192.0.2.0/29",))
    away = Address("bob", "theirs.example")
    assert await route(house, away, STRANGER)
    assert await route(house, away, Peer(host="::ffff:192.0.2.7"))
    for host in ("192.0.2.9", "", "nonsense"):
        with pytest.raises(Refused):
            await route(house, away, Peer(host=host))


@pytest.mark.parametrize("networks", [("0.0.0.0/0",), ("::/0",), ("10.0.0.0/4",), ("nonsense",)])
def test_a_network_that_trusts_everybody_cannot_be_configured(networks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="trusted_networks"):
        DeliverySettings(trusted_networks=networks)


async def test_aliases_lead_through_aliases_each_end_once() -> None:
    house = House(
        outbound=Outside(),
        aliases={"all": ["staff", "joe", "bob@theirs.example"], "staff": ["joe", "ann", "all"], "joe": ["joe", "ann"]},
    )
    assert sorted(await route(house, Address("all", "ours.example"))) == [
        "ann@ours.example",
        "bob@theirs.example",
        "joe@ours.example",
    ]


async def test_an_alias_that_leads_nowhere_is_refused_and_one_that_leads_too_far_is_put_off() -> None:
    loop = {"a": ["b"], "b": ["a"], "dead": ["nobody"]}
    house = House(aliases=loop | {f"n{i}": [f"n{i + 1}"] for i in range(20)} | {"n20": ["joe"]})
    for name in ("a", "dead"):
        with pytest.raises(Refused):
            await route(house, Address(name, "ours.example"))
    with pytest.raises(TryLater):
        await route(house, Address("n0", "ours.example"))
    wide = House(aliases={"wide": [f"x{i}" for i in range(1001)]})
    with pytest.raises(TryLater):
        await route(wide, Address("wide", "ours.example"))


async def test_our_domain_in_any_spelling_is_ours() -> None:
    house = House()
    assert await route(house, Address("Joe", "OURS.example.")) == ["joe@ours.example"]
    for domain in ("bücher.example", "xn--bcher-kva.example"):
        assert await route(house, Address("postmaster", domain)) == ["postmaster@ours.example"]
    assert await route(house, Address("Postmaster", "")) == ["postmaster@ours.example"]
