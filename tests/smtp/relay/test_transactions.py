"""What becomes of a message, by what the other server says, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed

ALL = ("PIPELINING", "SIZE 1000000", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")
A, B, C = "a@example.org", "b@example.org", "c@example.org"
REMOTE = "mx.example.org [192.0.2.1]"

MATRIX = [
    # answers, outcomes of a and b as (class, code, reply)
    ({}, (Delivered, "2.1.0", 250), (Delivered, "2.1.0", 250)),
    ({"RCPT TO:<a": "550 5.1.1 nobody"}, (Failed, "5.1.1", 550), (Delivered, "2.1.0", 250)),
    ({"RCPT TO:<a": "550 nobody"}, (Failed, "5.0.0", 550), (Delivered, "2.1.0", 250)),
    ({"RCPT TO:<a": "450 4.2.0 greylisted"}, (Delayed, "4.2.0", 450), (Delivered, "2.1.0", 250)),
    ({"RCPT TO:<a": "550 4.2.0 lies"}, (Failed, "5.0.0", 550), (Delivered, "2.1.0", 250)),
    ({"RCPT TO:<a": "552 too many"}, (Delayed, "4.5.3", 552), (Delivered, "2.1.0", 250)),
    ({"RCPT TO:<a": "552 5.2.2 full"}, (Failed, "5.2.2", 552), (Delivered, "2.1.0", 250)),
    ({"MAIL": "550 5.7.1 not you"}, (Failed, "5.7.1", 550), (Failed, "5.7.1", 550)),
    ({"MAIL": "451 4.3.0 later"}, (Delayed, "4.3.0", 451), (Delayed, "4.3.0", 451)),
    ({"MAIL": "550 5.7.1 no", "RCPT": "503 5.5.1 MAIL first", "DATA": "503 5.5.1"},
     (Failed, "5.7.1", 550), (Failed, "5.7.1", 550)),
    ({"DATA": "554 5.6.0 no"}, (Failed, "5.6.0", 554), (Failed, "5.6.0", 554)),
    ({"RCPT TO:<a": "550 5.1.1 x", "DATA": "451 4.3.0 x"}, (Failed, "5.1.1", 550), (Delayed, "4.3.0", 451)),
    ({".": "554 5.7.1 spam"}, (Failed, "5.7.1", 554), (Failed, "5.7.1", 554)),
    ({".": "452 4.3.1 full"}, (Delayed, "4.3.1", 452), (Delayed, "4.3.1", 452)),
    ({".": "421 4.3.2 down"}, (Delayed, "4.3.2", 421), (Delayed, "4.3.2", 421)),
    ({"RCPT TO:<a": "550 5.1.1 x", ".": "451 4.3.0 x"}, (Failed, "5.1.1", 550), (Delayed, "4.3.0", 451)),
    ({"RCPT TO:<b": "421 4.3.2 down"}, (Delayed, "4.3.2", 421), (Delayed, "4.3.2", 421)),
    ({"RCPT TO:<a": "550 5.1.1 x", "RCPT TO:<b": "421 4.3.2 down"}, (Failed, "5.1.1", 550), (Delayed, "4.3.2", 421)),
    ({"RCPT TO:<a": "550 5.1.1 x", "RCPT TO:<b": "(cut)"}, (Failed, "5.1.1", 550), (Delayed, "4.4.2", 0)),
    ({"MAIL": "(cut)"}, (Delayed, "4.4.2", 0), (Delayed, "4.4.2", 0)),
    ({"DATA": "(cut)"}, (Delayed, "4.4.2", 0), (Delayed, "4.4.2", 0)),
    ({".": "(cut)"}, (Delayed, "4.4.2", 0), (Delayed, "4.4.2", 0)),
    ({".": "(silence)"}, (Delayed, "4.4.2", 0), (Delayed, "4.4.2", 0)),
    ({"RCPT TO:<a": "garbage"}, (Delayed, "4.5.0", 0), (Delayed, "4.5.0", 0)),
    ({"RCPT TO:<a": "354 go"}, (Delayed, "4.5.0", 0), (Delivered, "2.1.0", 250)),
    ({"DATA": "250 what"}, (Delayed, "4.5.0", 0), (Delayed, "4.5.0", 0)),
    ({"MAIL": "(silence)"}, (Delayed, "4.4.2", 0), (Delayed, "4.4.2", 0)),
]  # fmt: skip


@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "chopped"])
@pytest.mark.parametrize("offers", [ALL, (), (*ALL, "CHUNKING")], ids=["pipelined", "lockstep", "chunks"])
@pytest.mark.parametrize(("answers", "of_a", "of_b"), MATRIX, ids=[str(one[0]) for one in MATRIX])
def test_each_recipient_has_its_own_outcome(
    office: Any, server: Any, offers: Any, answers: Any, of_a: Any, of_b: Any, chop: int | None
) -> None:
    if "CHUNKING" in offers and "DATA" in answers:
        pytest.skip("DATA is not said")
    there = office()
    there.mx(server(*offers, answers=dict(answers), chop=chop))
    outcomes = there.sends(A, B)
    told = [(type(one), one.status.code, one.status.reply) for one in outcomes]
    assert told == [of_a, of_b]
    assert all(one.status.remote == REMOTE for one in outcomes)


def test_a_lost_reply_says_so_and_no_other_host_is_tried(office: Any, server: Any) -> None:
    there = office()
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    there.net.host("one.example.org", "192.0.2.1", server(*ALL, answers={".": "(cut)"}))
    second = there.net.host("two.example.org", "192.0.2.2", server(*ALL))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed)
    assert "may have been delivered" in outcome.status.text
    assert second.said == []


def test_a_message_goes_out_in_two_writes_when_pipelined(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    there.sends(A, B)
    assert mx.writes[1].splitlines() == [
        b"MAIL FROM:<ann@example.com> SIZE=21",
        b"RCPT TO:<a@example.org>",
        b"RCPT TO:<b@example.org>",
        b"DATA",
    ]
    assert mx.writes[2] == b"Subject: hi\r\n\r\nbody\r\n.\r\n"


def test_without_pipelining_each_command_waits(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server())
    there.sends(A, B)
    assert [write.count(b"\r\n") for write in mx.writes[1:5]] == [1, 1, 1, 1]


def test_a_pipelined_data_for_nobody_is_ended_with_a_dot_and_the_connection_goes_on(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL, answers={"RCPT TO:<a": ["550 5.1.1 no"]}))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert mx.messages == [b""]
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delivered)
    assert len(mx.said) == 1, "one connection"


def test_rset_comes_before_the_next_message_after_a_transaction_that_was_left_open(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL, answers={"DATA": ["451 4.3.0 not now"]}))
    assert isinstance(there.sends(A)[0], Delayed)
    assert isinstance(there.sends(A)[0], Delivered)
    assert [line.split(" ")[0] for line in mx.said[0]] == [
        *("EHLO", "MAIL", "RCPT", "DATA"),
        *("RSET", "MAIL", "RCPT", "DATA"),
    ]


def test_dots_are_stuffed_whatever_the_chunks(office: Any, server: Any) -> None:
    octets = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n.\r\nMAIL FROM:<evil@example.org>\r\n"
    for chunk in (1, 2, 3, 7, None):
        there = office()
        mx = there.mx(server(*ALL))
        there.sends(A, octets=octets, chunk=chunk)
        assert mx.messages == [octets]
        assert len(mx.said[0]) == 4


@pytest.mark.parametrize("offers", [ALL, (*ALL, "CHUNKING")])
def test_bare_line_ends_never_pass(office: Any, server: Any, offers: Any) -> None:
    there = office()
    mx = there.mx(server(*offers))
    there.sends(A, octets=b"Subject: x\r\n\r\na\n.\nb\r.\rc\n.\r\nMAIL FROM:<evil@example.org>\r\n")
    assert mx.messages == [b"Subject: x\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n.\r\nMAIL FROM:<evil@example.org>\r\n"]


def test_more_recipients_than_the_server_takes_come_in_the_next_transaction(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL, answers={"RCPT TO:<c": ["452 4.5.3 too many"]}))
    outcomes = there.sends(A, B, C)
    assert [type(one) for one in outcomes] == [Delivered] * 3
    assert len(mx.messages) == 2
    assert len(mx.said) == 1


def test_recipients_are_sent_in_groups_of_the_setting_and_of_what_the_server_says(office: Any, server: Any) -> None:
    for settings, offers in (({"recipients": 2}, ALL), ({}, (*ALL, "LIMITS RCPTMAX=2 MAILMAX=1000"))):
        there = office(**settings)
        mx = there.mx(server(*offers))
        outcomes = there.sends(A, B, C)
        assert [type(one) for one in outcomes] == [Delivered] * 3
        assert len(mx.messages) == 2


def test_a_message_that_is_too_large_is_not_even_begun(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server("PIPELINING", "SIZE 20"))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert outcome.status[0] == "5.3.4"
    assert mx.said == [["EHLO our.example.com"]]


def test_dsn_parameters_are_passed_on_where_they_are_offered(office: Any, server: Any) -> None:
    to = Recipient(Address("a", "example.org"), frozenset({"SUCCESS", "FAILURE"}), "rfc822;a+2Bx@example.org")
    there = office()
    mx = there.mx(server(*ALL))
    [outcome] = there.sends(to, ret="HDRS", envid="a b+c")
    assert outcome.will_notify
    assert mx.said[0][1:3] == [
        "MAIL FROM:<ann@example.com> SIZE=21 RET=HDRS ENVID=a+20b+2Bc",
        "RCPT TO:<a@example.org> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;a+2Bx@example.org",
    ]
    there = office()
    mx = there.mx(server("PIPELINING"))
    [outcome] = there.sends(to, ret="HDRS", envid="a b+c")
    assert not outcome.will_notify, "that is for the queue to do"
    assert mx.said[0][1:3] == ["MAIL FROM:<ann@example.com>", "RCPT TO:<a@example.org>"]


def test_the_null_sender(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server())
    there.sends(A, sender=None)
    assert mx.said[0][1] == "MAIL FROM:<>"


def test_an_address_with_a_line_break_never_gets_onto_the_wire(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    evil = Recipient(Address("a>\r\nRCPT TO:<b@example.net", "example.org"))
    outcomes = there.sends(evil, B)
    assert isinstance(outcomes[0], Failed)
    assert isinstance(outcomes[1], Delivered)
    assert not any("example.net" in line for line in mx.said[0])


def test_helo_where_ehlo_is_not_known(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(answers={"EHLO": "502 5.5.1 what?"}))
    assert isinstance(there.sends(A)[0], Delivered)
    assert mx.said[0][:3] == ["EHLO our.example.com", "HELO our.example.com", "MAIL FROM:<ann@example.com>"]


def test_a_server_that_answers_within_the_message_has_answered(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL, answers={"DATA": "354 go\r\n552 5.3.4 too much"}))
    [outcome] = there.sends(A, octets=b"Subject: x\r\n\r\n" + b"x" * 300 + b"\r\n")
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.3.4"
    assert mx.messages == []


def test_a_large_message_in_chunks(office: Any, server: Any) -> None:
    octets = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000
    there = office()
    mx = there.mx(server("PIPELINING", "SIZE 100000000", "CHUNKING"))
    assert isinstance(there.sends(A, octets=octets, chunk=50_000)[0], Delivered)
    assert mx.messages == [octets]
    assert len([line for line in mx.said[0] if line.startswith("BDAT")]) > 3
    there = office(chunking=False)
    mx = there.mx(server("PIPELINING", "SIZE 100000000", "CHUNKING"))
    there.sends(A, octets=octets)
    assert mx.messages == [octets]
    assert "DATA" in mx.said[0]


def test_a_chunk_that_is_refused_ends_it(office: Any, server: Any) -> None:
    octets = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000
    there = office()
    mx = there.mx(server("PIPELINING", "CHUNKING", answers={"CHUNK": ["250 ok", "552 5.3.4 enough"]}))
    [outcome] = there.sends(A, octets=octets)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.3.4"
    assert mx.messages == []


def test_lmtp_has_one_answer_a_recipient(office: Any, server: Any) -> None:
    from twisted_mail_kit.smtp.relay import RouteSettings

    there = office(routes=(RouteSettings(domain="example.org", host="192.0.2.9", port=24, lmtp=True),))
    lmtp = server(*ALL, lmtp=True, answers={"RCPT TO:<b": "550 5.1.1 no", ".": ["250 2.0.0 kept", "452 4.2.2 full"]})
    there.net.servers["192.0.2.9", 24] = lmtp
    outcomes = there.sends(A, B, C)
    assert [(type(one), one.status.code) for one in outcomes] == [
        (Delivered, "2.0.0"),
        (Failed, "5.1.1"),
        (Delayed, "4.2.2"),
    ]
    assert lmtp.said[0][0] == "LHLO our.example.com"


def test_lmtp_that_is_cut_between_two_answers_loses_only_the_second(office: Any, server: Any) -> None:
    from twisted_mail_kit.smtp.relay import RouteSettings

    there = office(routes=(RouteSettings(domain="example.org", host="192.0.2.9", port=24, lmtp=True),))
    there.net.servers["192.0.2.9", 24] = server(*ALL, lmtp=True, answers={".": ["250 2.0.0 kept", "(cut)"]})
    outcomes = there.sends(A, B)
    assert isinstance(outcomes[0], Delivered)
    assert isinstance(outcomes[1], Delayed)
    assert "may have been delivered" in outcomes[1].status.text
