"""What Signing makes verifies at the other end, for those who are signed, and for nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_world import (
    CORPUS,
    ED,
    KEYS,
    PLAIN,
    STRANGER,
    Next,
    envelope,
    now,
    tags,
    through,
    verdicts,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_mail_kit.delivery.dkimkeys import DKIMKey
from twisted_mail_kit.delivery.dkimsettings import DKIMSettings
from twisted_mail_kit.delivery.signing import Signing
from twisted_mail_kit.mail.envelope import Peer

# --- what verifies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("chop", [1, 7, 65536])
async def test_both_signatures_verify(name: str, chop: int) -> None:
    message = CORPUS[name]
    if chop < 65536 and len(message) > 100_000:
        chop *= 4001
    signed = await through(message, chop)
    assert signed.endswith(message)
    assert verdicts(signed) == [True, True]
    assert [one["a"] for one in tags(signed)] == ["rsa-sha256", "ed25519-sha256"]
    assert max(map(len, signed[: -len(message)].split(b"\r\n"))) <= 78


ALTERATIONS = [
    (b"Hello Ann", b"Hello Bob"),
    (b"Subject: hello", b"Subject: hallo"),
    (b"Subject: hello", b"Subject: hello\r\nSubject: second"),
    (b"From: Joe", b"From: eve@example.com\r\nFrom: Joe"),
    (b"To: ann@example.net\r\n", b""),
    (b"Subject: hello", b"Subject: hello\r\nReply-To: eve@example.com"),
    (b"Subject: hello", b"Subject: hello\r\nContent-Type: text/html"),
    (b"Subject: hello", b"Subject: hello\r\nCc: eve@example.com"),
    (b"Hello Ann\r\n", b"Hello Ann\r\nmore\r\n"),
    (b"d=example.org", b"d=example.com"),
    (b"Hello Ann", b"HelloAnn"),
]


@pytest.mark.parametrize(("before", "after"), ALTERATIONS)
async def test_an_altered_message_fails(before: bytes, after: bytes) -> None:
    signed = await through(PLAIN)
    altered = signed.replace(before, after)
    assert altered != signed
    assert verdicts(altered) == [False, False]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject: hello", b"Subject:   hello  "),
        (b"Subject: hello", b"SUBJECT: hello"),
        (b"To: ann@example.net", b"To:\r\n\tann@example.net"),
        (b"Hello Ann\r\n", b"Hello \t Ann  \r\n\r\n\r\n"),
        (b"Subject: hello", b"Subject: hello\r\nX-Spam: no\r\nReceived: from x"),
        (b"Subject: hello", b"Subject: hello\r\nList-Id: <a.b>"),
    ],
)
async def test_what_mail_servers_do_on_the_way_does_no_harm(before: bytes, after: bytes) -> None:
    signed = (await through(PLAIN)).replace(before, after)
    assert verdicts(signed) == [True, True]


async def test_a_list_field_that_is_there_can_be_neither_changed_nor_doubled() -> None:
    signed = await through(CORPUS["list"])
    assert verdicts(signed.replace(b"<l.example.org>", b"<m.example.org>")) == [False, False]
    assert verdicts(signed.replace(b"Subject:", b"List-Id: <x.y>\r\nSubject:")) == [False, False]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([b"Subject", b"To", b"X-A", b"Cc", b"Received"]), max_size=6),
    st.lists(st.sampled_from([b"x", b" ", b"\t", b"\r\n", b"\r\n.\r\n", b"\xfc"]), max_size=30),
    st.integers(1, 400),
)
def test_whatever_it_is_it_verifies(names: list[bytes], body: list[bytes], chop: int) -> None:
    fields = b"".join(b"%b:  v%d\r\n \tw \r\n" % (name, number) for number, name in enumerate(names))
    message = b"From: joe@example.org\r\n" + fields + b"\r\n" + b"".join(body)
    done: list[bytes] = []
    Deferred.fromCoroutine(through(message, chop, keys=[ED])).addCallback(done.append)
    assert verdicts(done[0]) == [True]


async def test_the_tags() -> None:
    clock = Clock()
    clock.advance(1_800_000_000.9)
    signed = await through(PLAIN, reactor=clock, settings=DKIMSettings(expires=3600))
    for one, selector in zip(tags(signed), ("rsa1", "ed1"), strict=True):
        assert (one["v"], one["c"], one["d"], one["s"]) == ("1", "relaxed/relaxed", "example.org", selector)
        assert (one["t"], one["x"]) == ("1800000000", "1800003600")
        assert "l" not in one
        signed_names = one["h"].lower().split(":")
        for name in ("from", "to", "subject", "date"):
            assert signed_names.count(name) == 2
        for name in ("cc", "message-id", "reply-to", "references", "mime-version", "content-type"):
            assert signed_names.count(name) == 1
        assert not [name for name in signed_names if name.startswith("list-")]
    assert "x" not in tags(await through(PLAIN))[0]


# --- who is signed -------------------------------------------------------------------------------------------------


def key(domain: str, selector: str = "s") -> DKIMKey:
    return DKIMKey(domain, selector, ED.private)


@pytest.mark.parametrize(
    ("author", "domains"),
    [
        ("joe@example.org", ["example.org"]),
        ("joe@EXAMPLE.Org", ["example.org"]),
        ("joe@mail.example.org", ["example.org"]),
        ("joe@a.sub.example.org", ["sub.example.org"]),
        ("joe@notexample.org", []),
        ("joe@org", []),
        ("joe@example.com", []),
        ("joe@bücher.example", ["xn--bcher-kva.example"]),
        ("joe@xn--bcher-kva.example", ["xn--bcher-kva.example"]),
        ("joe@[192.0.2.1]", []),
        ("nobody", []),
        ("", []),
        ("Joe <joe@example.org>, eve@example.com", ["example.org"]),
        ('"eve@example.com" <joe@example.org>', ["example.org"]),
        ('"joe@example.org" <eve@example.com>', []),
    ],
)
async def test_the_domain_of_the_author_decides(author: str, domains: list[str]) -> None:
    keys = [key("example.org"), key("sub.example.org"), key("xn--bcher-kva.example")]
    message = b"From: " + author.encode() + b"\r\nSubject: x\r\n\r\nhi\r\n"
    signed = await through(message, keys=keys)
    assert [one["d"] for one in tags(signed)] == domains
    assert signed.endswith(message)
    if not domains:
        assert signed == message
    else:
        assert verdicts(signed, keys) == [True]


@pytest.mark.parametrize(
    "message",
    [
        b"From: joe@example.org\r\nFrom: eve@example.com\r\n\r\nhi\r\n",
        b"From: joe@example.org\r\nfrom : joe@example.org\r\n\r\nhi\r\n",
        b"Subject: nobody\r\n\r\nFrom: joe@example.org\r\n",
        b"\r\nFrom: joe@example.org\r\n\r\nhi\r\n",
        b" folded\r\nFrom: joe@example.org\r\n\r\nhi\r\n",
        b"From: joe@example.org\r\n" + b"A: b\r\n" * 1001 + b"\r\nhi\r\n",
        b"From: joe@example.org\r\nA: " + b"b" * 300_000 + b"\r\n\r\nhi\r\n",
        b"From: joe@example.com\r\n\r\nhi\r\n",
        b"x",
        b"",
    ],
)
@pytest.mark.parametrize("chop", [1, 65536])
async def test_the_rest_passes_as_it_is(message: bytes, chop: int) -> None:
    assert await through(message, chop if len(message) < 9999 else 4096) == message


async def test_unsigned_mail_is_not_kept() -> None:
    target = Next()
    delivery = await Signing(target, [key("example.com")], now()).begin(envelope())
    await delivery.write(PLAIN)
    assert target.octets == PLAIN
    await delivery.write(b"more")
    assert target.octets == PLAIN + b"more"


async def test_a_strangers_mail_is_not_vouched_for() -> None:
    assert await through(PLAIN, peer=STRANGER) == PLAIN
    assert await through(PLAIN, peer=Peer(host="", service="lmtp", is_local=True)) == PLAIN
    assert len(tags(await through(PLAIN, peer=Peer(host="", service="queue", is_local=True)))) == 2
    assert len(tags(await through(PLAIN, peer=STRANGER, is_ours=lambda _: True))) == 2


async def test_nothing_is_signed_twice() -> None:
    once = await through(PLAIN)
    assert await through(once) == once
    more = await through(once, keys=[*KEYS, key("example.org", "third")])
    assert [one["s"] for one in tags(more)] == ["third", "rsa1", "ed1"]
    assert verdicts(more, [*KEYS, key("example.org", "third")]) == [True, True, True]


async def test_a_strangers_signature_hinders_nobody() -> None:
    foreign = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=rsa1; h=from;\r\n bh=x; b=y\r\n" + PLAIN
    signed = await through(foreign)
    assert verdicts(signed)[:2] == [True, True]
