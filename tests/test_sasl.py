"""SASL exchanges on hostile input: an error of ours, never another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import AuthenticationFailed, BadSyntax
from twisted_mail_kit.sasl import Bearer, Login, Plain, ScramKeys, ScramSha256, make_scram_keys


async def nobody(*_: Any) -> Any:
    raise AuthenticationFailed


async def keys(user: str) -> ScramKeys:
    return ScramKeys(salt=b"0" * 16, iterations=4096, stored_key=b"1" * 32, server_key=b"2" * 32)


def exchanges() -> list[Any]:
    return [
        Plain(nobody),
        Login(nobody),
        ScramSha256(keys, nobody, nobody),
        Bearer("XOAUTH2", nobody),
        Bearer("OAUTHBEARER", nobody),
    ]


_PIECES = st.lists(
    st.sampled_from(
        [b"n,,", b"y,,", b"p=tls-exporter,,", b"n=joe,", b"r=abc", b"n=", b",", b"=", b"\0", b"\x01", b"c=biws,"]
    )
    | st.sampled_from([b"auth=Bearer x", b"user=joe", b"p=AAAA", b"m=x", b"\xff"])
    | st.binary(max_size=6),
    max_size=8,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | _PIECES, min_size=1, max_size=4))
@example([b"n,,n=joe,r=abc", b"c=biws,r=abc,p=AAAA"])
@example([b"n,,n=joe,r=abc", b"p"])
def test_nothing_but_our_errors(responses: list[bytes | None]) -> None:
    for exchange in exchanges():
        for response in responses:
            got: list[Any] = []
            Deferred.fromCoroutine(exchange.respond(response)).addBoth(got.append)
            if not isinstance(got[0], bytes):
                assert got[0].check(AuthenticationFailed, BadSyntax), got[0]
                break


@pytest.mark.parametrize(
    "response", [b"", b"joe", b"\0joe", b"\0\0x", b"\0a\0b\0c", b"\xff\0a\0b", b"\0a\0" + b"x" * 20_000]
)
async def test_plain_that_is_none(response: bytes) -> None:
    with pytest.raises(BadSyntax):
        await Plain(nobody).respond(response)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_refused_token_is_explained_first(mechanism: str) -> None:
    exchange = Bearer(mechanism, nobody)
    start = b"user=joe\x01" if mechanism == "XOAUTH2" else b"n,a=joe,\x01"
    told = await exchange.respond(start + b"auth=Bearer bad\x01\x01")
    assert isinstance(told, bytes)
    assert told.startswith(b'{"status"')
    with pytest.raises(AuthenticationFailed):
        await exchange.respond(b"\x01")


def test_a_secret_is_not_shown_by_repr() -> None:
    made = make_scram_keys("sesame", 4096)
    assert repr(made.stored_key) not in repr(made)
