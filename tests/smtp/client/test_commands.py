"""What the client says, and what it understands of offers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.smtp.wire import client as wire
from twisted_mail_kit.smtp.wire.client import Offers, Unspeakable, read_offers
from twisted_mail_kit.smtp.wire.commands import Mail, Rcpt
from twisted_mail_kit.smtp.wire.parser import parse_command
from twisted_mail_kit.smtp.wire.replies import Reply

TEXT = st.text(max_size=20)


def test_mail_and_rcpt() -> None:
    sender = Address("john doe", "example.org")
    assert wire.mail(sender, size=5, body="8BITMIME", smtputf8=True, ret="HDRS", envid="a=b", require_tls=True) == (
        b'MAIL FROM:<"john doe"@example.org> SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+3Db REQUIRETLS\r\n'
    )
    assert wire.mail(None) == b"MAIL FROM:<>\r\n"
    assert wire.rcpt(Address("postmaster", "")) == b"RCPT TO:<postmaster>\r\n"
    assert wire.rcpt(Address("é", "example.org"), notify=frozenset({"NEVER"})) == (
        "RCPT TO:<é@example.org> NOTIFY=NEVER\r\n".encode()
    )


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT, TEXT, TEXT)
def test_one_command_is_one_line_whatever_is_in_it(local: str, domain: str, orcpt: str, envid: str) -> None:
    for say in (
        lambda: wire.mail(Address(local, domain), envid=envid, ret=orcpt),
        lambda: wire.rcpt(Address(local, domain), orcpt=orcpt, notify=frozenset({envid})),
        lambda: wire.hello("EHLO", domain),
        lambda: wire.auth(orcpt, None),
    ):
        try:
            octets = say()
        except Unspeakable:
            continue
        assert octets.endswith(b"\r\n")
        assert not set(octets[:-2]) & {0, 10, 13}


@pytest.mark.parametrize("evil", ["a\r\nb", "a\nb", "a\rb", "a\0b"])
def test_control_characters_are_refused(evil: str) -> None:
    with pytest.raises(Unspeakable):
        wire.rcpt(Address(evil, "example.org"))
    with pytest.raises(Unspeakable):
        wire.mail(Address("a", evil))
    with pytest.raises(Unspeakable):
        wire.rcpt(Address("a", "example.org"), orcpt=f"rfc822;{evil}")
    assert b"\r\n" not in wire.mail(None, envid=evil)[:-2], "xtext hides them"


@settings(max_examples=100, deadline=None)
@given(st.from_regex(r"[a-z <>\"\\@é.]{1,12}", fullmatch=True), st.text("abc +=é~", max_size=12))
def test_our_server_reads_what_our_client_says(local: str, envid: str) -> None:
    address = Address(local, "example.org")
    command = parse_command(wire.rcpt(address)[:-2])
    if local.strip():
        assert isinstance(command, Rcpt)
        assert command.address == address
    if envid.isascii():
        command = parse_command(wire.mail(address, envid=envid)[:-2])
        assert isinstance(command, Mail)
        assert command.envid == envid


def test_offers() -> None:
    assert read_offers(Reply(250, "", ("mx",))) == Offers()
    told = read_offers(
        Reply(
            250,
            "",
            (
                *("mx", "pipelining", "SIZE 1000", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN", "STARTTLS"),
                *("AUTH PLAIN login", "AUTH=SCRAM-SHA-256", "REQUIRETLS", "LIMITS RCPTMAX=5 MAILMAX=7", "", "X-ODD é"),
            ),
        )
    )
    assert told == Offers(
        *(True, 1000, True, True, True, True, True, True, True),
        frozenset({"PLAIN", "LOGIN", "SCRAM-SHA-256"}),
        7,
        5,
    )


@pytest.mark.parametrize(
    ("line", "size"), [("SIZE", 0), ("SIZE 0", 0), ("SIZE x", 0), ("SIZE -5", 0), ("SIZE " + "9" * 30, 0)]
)
def test_a_size_that_says_nothing_limits_nothing(line: str, size: int) -> None:
    assert read_offers(Reply(250, "", ("mx", line))).size == size


def test_binarymime_needs_chunking() -> None:
    assert not read_offers(Reply(250, "", ("mx", "BINARYMIME"))).binary
