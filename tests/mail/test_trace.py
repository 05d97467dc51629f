"""Trace fields: what they say, and that nothing gets into them that should not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer
from twisted_mail_kit.mail.trace import delivered_to_field, new_trace_id, received_field, return_path_field

PEER = Peer(host="192.0.2.7", name="mx.example.net", esmtp=True)
ENVELOPE = Envelope(None, PEER, "abc", received_at=1_800_000_000)


def test_a_received_field() -> None:
    assert received_field(ENVELOPE, "ours.example", Address("joe", "ours.example")) == (
        b"Received: from mx.example.net ([192.0.2.7])\r\n"
        b"\tby ours.example (twisted_mail_kit) with ESMTP\r\n"
        b"\tid abc\r\n"
        b"\tfor <joe@ours.example>; Fri, 15 Jan 2027 08:00:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("facts", "utf8", "word"),
    [
        ({"esmtp": False}, False, b"SMTP"),
        ({"tls": "TLSv1.3 X"}, False, b"ESMTPS"),
        ({"tls": "TLSv1.3 X", "login": "joe"}, False, b"ESMTPSA"),
        ({"login": "joe"}, False, b"ESMTPA"),
        ({"service": "lmtp"}, False, b"LMTP"),
        ({"tls": "TLSv1.3 X"}, True, b"UTF8SMTPS"),
        ({"service": "lmtp"}, True, b"UTF8LMTP"),
    ],
)
def test_with_says_the_registered_name(facts: dict[str, object], utf8: bool, word: bytes) -> None:
    envelope = replace(ENVELOPE, peer=replace(PEER, **facts), smtputf8=utf8)  # type: ignore[arg-type]
    assert b" with " + word + b"\r\n" in received_field(envelope, "x.example")


@pytest.mark.parametrize("name", ["", "a b", "x\r\nEvil: y", "(comment", "a;b", "x" * 300, "ü", "a\0b"])
def test_a_peer_cannot_write_into_the_field(name: str) -> None:
    field = received_field(replace(ENVELOPE, peer=replace(PEER, name=name)), "x.example")
    assert field.startswith(b"Received: from unknown ([192.0.2.7])\r\n")


def test_hosts_of_all_kinds() -> None:
    for host, told in (("2001:db8::1", b"[IPv6:2001:db8::1]"), ("", b"local socket"), ("a b", b"local socket")):
        assert b"(" + told + b")" in received_field(replace(ENVELOPE, peer=replace(PEER, host=host)), "x.example")


def test_addresses_bring_no_line_ends() -> None:
    evil = Address("joe\r\nEvil: y\0", "x.example\n")
    for field in (
        return_path_field(evil),
        delivered_to_field(evil),
        received_field(ENVELOPE, "x.example", evil),
    ):
        assert b"\nEvil" not in field
        assert b"\0" not in field
    assert return_path_field(None) == b"Return-Path: <>\r\n"
    assert return_path_field(Address("jörg", "x.example")) == "Return-Path: <jörg@x.example>\r\n".encode()


def test_trace_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_trace_id(1_800_000_000 + n) for n in range(1000)]
    assert ids == sorted(set(ids))
    assert {len(one) for one in ids} == {16}
