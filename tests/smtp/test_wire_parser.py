"""Command lines to values; what is wrong with the others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.smtp.wire import commands
from twisted_mail_kit.smtp.wire.commands import Auth, Bad, Bdat, Hello, Mail, Rcpt, Unknown
from twisted_mail_kit.smtp.wire.parameters import decode_xtext, encode_xtext
from twisted_mail_kit.smtp.wire.parser import parse_command
from twisted_mail_kit.smtp.wire.replies import reply

JOE = Address("joe", "example.org")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"EHLO mx.example.org", Hello("EHLO", "mx.example.org")),
        (b"helo [192.0.2.1]", Hello("HELO", "[192.0.2.1]")),
        (b"LHLO under_score", Hello("LHLO", "under_score")),
        (b"MAIL FROM:<>", Mail(None)),
        (b"mail from:<joe@example.org>", Mail(JOE)),
        (b"MAIL FROM: <joe@example.org>  SIZE=12", Mail(JOE, size=12)),
        (b"MAIL FROM:<@a.example,@b.example:joe@example.org>", Mail(JOE)),
        (b'MAIL FROM:<"a b > c"@example.org> SIZE=0', Mail(Address("a b > c", "example.org"), size=0)),
        (
            b"MAIL FROM:<joe@example.org> body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+3D1 AUTH=a+2Bb@c.example",
            Mail(JOE, body="8BITMIME", smtputf8=True, ret="HDRS", envid="QQ=1", auth="a+b@c.example"),
        ),
        (b"MAIL FROM:<joe@example.org> AUTH=<> REQUIRETLS", Mail(JOE, auth="<>", require_tls=True)),
        ("MAIL FROM:<jö@example.org> SMTPUTF8".encode(), Mail(Address("jö", "example.org"), True, smtputf8=True)),
        (b"RCPT TO:<joe@example.org>", Rcpt(JOE)),
        (b"RCPT TO:<postmaster>", Rcpt(Address("postmaster", ""))),
        (b"RCPT TO:<joe@example.org> NOTIFY=NEVER", Rcpt(JOE, notify=frozenset({"NEVER"}))),
        (
            b"RCPT TO:<joe@example.org> NOTIFY=success,DELAY ORCPT=rfc822;jo+2Be@example.org",
            Rcpt(JOE, notify=frozenset({"SUCCESS", "DELAY"}), orcpt="rfc822;jo+2Be@example.org"),
        ),
        (
            b"RCPT TO:<joe@example.org> ORCPT=rfc822;j+C3+BCrgen@example.org",  # Postfix writes UTF-8 so
            Rcpt(JOE, orcpt="rfc822;j+C3+BCrgen@example.org"),
        ),
        (b"BDAT 10", Bdat(10, False)),
        (b"bdat 0 last", Bdat(0, True)),
        (b"AUTH plain", Auth("PLAIN", None)),
        (b"AUTH SCRAM-SHA-256 =", Auth("SCRAM-SHA-256", b"=")),
        (b"DATA", commands.Data()),
        (b"DATA ", commands.Data()),
        (b"NOOP whatever", commands.Noop()),
        (b"HELP me", commands.Help()),
        (b"VRFY joe", commands.Vrfy()),
        (b"EXPN list", commands.Expn()),
        (b"RSET", commands.Rset()),
        (b"QUIT", commands.Quit()),
        (b"STARTTLS", commands.StartTls()),
    ],
)
def test_understood(line: bytes, command: object) -> None:
    parsed = parse_command(line)
    assert (type(parsed), parsed) == (type(command), command)


@pytest.mark.parametrize(
    ("line", "code", "enhanced"),
    [
        (b"EHLO", 501, "5.5.4"),
        (b"EHLO two names", 501, "5.5.4"),
        (b"HELO <script>", 501, "5.5.4"),
        (b"HELO (comment)", 501, "5.5.4"),
        ("HELO jö".encode(), 501, "5.5.4"),
        (b"MAIL", 501, "5.5.4"),
        (b"MAIL TO:<joe@example.org>", 501, "5.5.4"),
        (b"MAIL FROM:joe@example.org", 501, "5.1.7"),
        (b"MAIL FROM:<joe", 501, "5.1.7"),
        (b"MAIL FROM:<joe@example.org>SIZE=1", 501, "5.1.7"),
        (b"MAIL FROM:<joe\xff@example.org>", 501, "5.1.7"),
        (b"MAIL FROM:<joe@example.org> SIZE=", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> SIZE=1x", 501, "5.5.4"),
        ("MAIL FROM:<joe@example.org> SIZE=١".encode(), 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> SIZE=" + b"9" * 21, 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> SIZE=1 size=1", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> BODY=9BIT", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> SMTPUTF8=yes", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> RET=some", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> ENVID=a=b", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> ENVID=a+0D+0Ab", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> ENVID=a+zz", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> ENVID=" + b"a" * 101, 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> AUTH=", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> WHAT=ever", 555, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> NOTIFY=NEVER", 555, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> \xff", 501, "5.5.4"),
        (b"MAIL FROM:<joe@example.org> ===", 501, "5.5.4"),
        (b"RCPT TO:<>", 501, "5.1.3"),
        (b"RCPT TO:joe@example.org", 501, "5.1.3"),
        (b"RCPT FROM:<joe@example.org>", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> NOTIFY=NEVER,SUCCESS", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> NOTIFY=", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> ORCPT=rfc822", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> ORCPT=rfc822;a+0Ab", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> ORCPT=rfc822;j+C3rgen@example.org", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> ORCPT=rfc822;j+C3+BC+0Argen@example.org", 501, "5.5.4"),
        (b"RCPT TO:<joe@example.org> SIZE=1", 555, "5.5.4"),
        (b"BDAT", 501, "5.5.4"),
        (b"BDAT -1", 501, "5.5.4"),
        (b"BDAT 1 FIRST", 501, "5.5.4"),
        (b"AUTH", 501, "5.5.4"),
        (b"AUTH <x>", 501, "5.5.4"),
        (b"DATA now", 501, "5.5.4"),
        (b"RSET now", 501, "5.5.4"),
        (b"VRFY", 501, "5.5.4"),
        (b"STARTTLS now", 501, "5.5.4"),
        (b"NOOP \0", 500, "5.5.2"),
        (b"MAIL FROM:<joe@exa\rmple.org>", 500, "5.5.2"),
    ],
)
def test_misunderstood(line: bytes, code: int, enhanced: str) -> None:
    parsed = parse_command(line)
    assert isinstance(parsed, Bad), parsed
    assert parsed.reply[:2] == (code, enhanced)


@pytest.mark.parametrize("line", [b"", b" ", b"ETRN example.org", b"GET / HTTP/1.1", b"\xff\xfe", b"TURN", b"EHLO\tx"])
def test_unknown(line: bytes) -> None:
    parsed = parse_command(line)
    assert isinstance(parsed, Unknown)
    assert parsed.reply.code == 500


def test_a_size_that_is_misunderstood_loses_step() -> None:
    parsed = parse_command(b"BDAT 10x LAST")
    assert isinstance(parsed, Bad)
    assert parsed.loses_step


@settings(max_examples=200)
@given(
    st.sampled_from([b"MAIL FROM:", b"RCPT TO:", b"RCPT TO:<a@b.example> ", b"EHLO ", b"BDAT ", b"AUTH ", b""]),
    st.binary(max_size=60),
)
def test_nothing_raises_and_nothing_breaks_out_of_a_reply(start: bytes, rest: bytes) -> None:
    parsed = parse_command(start + rest)
    if isinstance(parsed, Bad | Unknown):
        octets = parsed.reply.encode()
        assert octets.endswith(b"\r\n")
        assert octets.count(b"\n") == octets.count(b"\r") == 1
        assert octets.isascii()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_there_and_back(text: str) -> None:
    assert decode_xtext(encode_xtext(text)) == text


def test_replies_have_their_form() -> None:
    assert reply(250, "", "mx", "SIZE 1").encode() == b"250-mx\r\n250 SIZE 1\r\n"
    assert reply(550, "5.1.1", "no\r\n250 yes", "jö").encode() == b"550-5.1.1 no??250 yes\r\n550 5.1.1 j?\r\n"
    assert len(reply(550, "5.1.1", "x" * 2000).encode()) <= 512
