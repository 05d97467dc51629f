"""Addresses and texts outside ASCII, and servers that know nothing of them."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.mail.outcome import Delivered, Failed

ALL = ("PIPELINING", "SIZE 1000000", "8BITMIME", "DSN")


def test_an_international_domain_goes_out_as_a_labels(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL), "xn--fa-hia.example")
    [outcome] = there.sends("a@faß.example", smtputf8=True)
    assert isinstance(outcome, Delivered)
    assert mx.said[0][2] == "RCPT TO:<a@xn--fa-hia.example>"


def test_an_international_local_part_needs_smtputf8(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    outcomes = there.sends("jürgen@example.org", "b@example.org", smtputf8=True)
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].status.code == "5.6.7"
    assert isinstance(outcomes[1], Delivered)
    there = office()
    mx = there.mx(server(*ALL, "SMTPUTF8"))
    [outcome] = there.sends("jürgen@example.org", smtputf8=True)
    assert isinstance(outcome, Delivered)
    assert mx.said[0][1:3] == ["MAIL FROM:<ann@example.com> SIZE=21 SMTPUTF8", "RCPT TO:<jürgen@example.org>"]


def test_an_international_sender_needs_smtputf8(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    [outcome] = there.sends("a@example.org", sender="jürgen@example.com", smtputf8=True)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.6.7"
    assert mx.said == [["EHLO our.example.com"]]


def test_8bit_is_declared_where_it_is_offered_and_converted_where_not(office: Any, server: Any) -> None:
    octets = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()
    there = office()
    mx = there.mx(server(*ALL))
    there.sends("a@example.org", octets=octets)
    assert mx.said[0][1].endswith(" BODY=8BITMIME")
    assert mx.messages == [octets]
    for offers in ((), ("CHUNKING", "PIPELINING")):
        there = office()
        mx = there.mx(server(*offers))
        assert isinstance(there.sends("a@example.org", octets=octets)[0], Delivered)
        assert mx.messages[0].endswith(b"\r\n\r\nGr=C3=BC=C3=9Fe\r\n")
        assert "BODY" not in mx.said[0][1]
        [outcome] = there.sends("a@example.org", octets=b"DKIM-Signature: x\r\n" + octets)
        assert isinstance(outcome, Failed)
        assert outcome.status.code == "5.6.3"
        assert len(mx.messages) == 1
