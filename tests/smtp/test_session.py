"""What a session promises beyond the dialogues: limits, smuggling, broken doors, hasty clients, clean ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import ConnectionEnded, OverQuota, Refused, TooManyLogins, TryLater, Unavailable
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Status
from twisted_mail_kit.smtp.outcomes import fold, reply_to

Listen = Callable[..., Any]


def greeted(listener: Any, **peer: Any) -> Any:
    client = listener.connect(**peer)
    client.says("LHLO me" if listener.factory.make_session().is_lmtp else "EHLO me")
    return client


def sends(client: Any, *content: str | bytes, to: str = "joe@example.org", more: str = "") -> list[str]:
    assert client.says(f"MAIL FROM:<ann@example.net>{more}", f"RCPT TO:<{to}>", "DATA")[-1][:3] == "354"
    return client.says(*content)


# --- smuggling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n\r.\r\n", b"\n\n.\r\n", b"\r\r\n.\r\n"],
)
@pytest.mark.parametrize("policy", ["refuse", "rewrite", "keep"])
def test_no_message_is_smuggled_in(listen: Listen, end: bytes, policy: str) -> None:
    listener = listen(bare_line_ends=policy)
    client = greeted(listener)
    inner = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nhaha"
    if end == b"\r\r\n.\r\n":  # the end, and a bare CR before it
        answer = sends(client, b"Subject: a\r\n\r\nbody" + end)
    else:
        answer = sends(client, b"Subject: a\r\n\r\nbody" + end + inner + b"\r\n.\r\n")
    if policy == "refuse":
        assert answer == ["550 5.6.11 Lines have to end in CR LF, and CR or LF are nowhere else"]
        assert listener.target.messages == []
        assert len(listener.target.aborted) == 1
    else:
        assert [line[:9] for line in answer] == ["250 2.0.0"]
        (message,) = listener.target.messages
        assert message.envelope.sender.local == "ann"
        if policy == "rewrite":
            rest = message.octets.replace(b"\r\n", b"")
            assert b"\r" not in rest
            assert b"\n" not in rest
    assert client.says("NOOP")[0][:3] == "250"


def test_a_nul_before_the_dot_does_not_end_data(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    assert sends(client, b"a\r\n\0.\r\n") == []
    assert client.says(b"b\r\n.\r\n")[0][:3] == "250"
    assert listener.target.messages[0].octets == b"a\r\n\0.\r\nb\r\n"


def test_a_command_line_with_a_bare_lf_is_an_error(listen: Listen) -> None:
    client = greeted(listen())
    assert client.says(b"MAIL FROM:<ann@example.net>\n") == ["500 5.5.2 Lines end in CR LF"]
    assert client.says("RCPT TO:<joe@example.org>")[0][:3] == "503"


# --- hasty clients -------------------------------------------------------------------------------------------------


def test_commands_behind_starttls_end_the_session(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    answer = client.says("STARTTLS", "MAIL FROM:<evil@example.org>", "NOOP")
    assert answer == ["554 5.5.0 STARTTLS has to be the last command of a group"]
    assert client.transport.tls_started == 0
    assert client.is_closed()


def test_half_a_command_behind_starttls_ends_the_session_too(listen: Listen) -> None:
    client = greeted(listen())
    assert client.says(b"STARTTLS\r\nMA")[0][:3] == "554"
    assert client.is_closed()


def test_who_talks_before_the_greeting_is_sent_away(listen: Listen) -> None:
    for tolerant in (False, True):
        listener = listen(greeting_delay=2.0, reject_unauth_pipelining=not tolerant)
        client = listener.connect()
        assert client.says("EHLO me") == []
        listener.clock.advance(2)
        assert client.hears()[0][:3] == ("220" if tolerant else "554")
        assert client.is_closed() is not tolerant


@pytest.mark.parametrize(
    "group",
    [
        ["EHLO me", "MAIL FROM:<ann@example.net>"],
        ["HELO me", "MAIL FROM:<ann@example.net>"],
    ],
)
def test_who_does_not_wait_for_the_answer_to_ehlo_is_sent_away(listen: Listen, group: list[str]) -> None:
    listener = listen()
    client = listener.connect()
    client.hears()
    assert [line[:9] for line in client.says(*group)] == ["554 5.5.1"]
    assert client.is_closed()
    client = listen(reject_unauth_pipelining=False).connect()
    client.hears()
    assert client.says(*group)[-1][:3] == "250"


def test_who_does_not_wait_for_354_is_sent_away(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    answer = client.says("MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>", "DATA", "hello", ".", "QUIT")
    assert [line[:3] for line in answer] == ["250", "250", "554"]
    assert client.is_closed()
    assert listener.target.messages == []
    assert listener.target.open == 0


def test_groups_are_for_those_who_said_ehlo(listen: Listen) -> None:
    client = listen().connect()
    client.says("HELO me")
    assert client.says("MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>")[0][:3] == "554"
    assert client.is_closed()


def test_answers_to_a_group_go_out_in_one_write(listen: Listen) -> None:
    client = greeted(listen())
    writes: list[bytes] = []
    write = client.transport.write
    client.transport.write = lambda octets: (writes.append(octets), write(octets))
    assert (
        len(
            client.says("MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>", "RCPT TO:<jim@example.org>", "DATA")
        )
        == 4
    )
    assert len(writes) == 1


def test_half_a_command_holds_no_answer_back(listen: Listen) -> None:
    client = greeted(listen())
    assert len(client.says(b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<jo")) == 1


# --- limits --------------------------------------------------------------------------------------------------------


def test_a_message_too_great_is_heard_to_its_end_and_refused(listen: Listen) -> None:
    listener = listen(message_size=1000)
    client = greeted(listener)
    assert client.says("MAIL FROM:<ann@example.net> SIZE=1001")[0][:9] == "552 5.3.4"
    assert sends(client, b"x" * 998 + b"\r\n.\r\n")[0][:3] == "250"
    assert sends(client, b"x" * 999 + b"\r\n.\r\n") == ["552 5.3.4 More than 1000 octets"]
    for _ in range(3):
        answer = sends(client, b"x" * 999, b"y" * 3000)
        assert answer == []
        # still within the message: the dot has not come
        assert client.says(b"\r\n.\r\n")[0][:9] == "552 5.3.4"
    assert len(listener.target.messages) == 1
    assert listener.target.open == 0


def test_a_bdat_too_great_is_refused_and_its_octets_are_no_commands(listen: Listen) -> None:
    client = greeted(listen(message_size=1000))
    client.says("MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>")
    answer = client.says(
        b"BDAT 900\r\n" + b"x" * 900 + b"BDAT 14\r\nRSET\r\nRSET\r\nxx" + b"BDAT 106\r\nQUIT\r\n" + b"x" * 100
    )
    assert [line[:9] for line in answer] == ["250 2.0.0", "250 2.0.0", "552 5.3.4"]
    assert client.says("BDAT 0 LAST")[0][:3] == "503"


def test_recipients_messages_and_the_minute_have_limits(listen: Listen) -> None:
    listener = listen(recipients=100, messages=2, errors=5)
    client = greeted(listener)
    answer = client.says(
        "MAIL FROM:<ann@example.net>", *[f"RCPT TO:<a{number}@example.org>" for number in range(110)], "DATA"
    )
    assert [line[:9] for line in answer] == ["250 2.1.0"] + ["250 2.1.5"] * 100 + ["452 4.5.3"] * 10 + [answer[-1][:9]]
    assert client.says(".")[0][:3] == "250"
    assert len(listener.target.messages[0].recipients) == 100
    assert sends(client, ".")[0][:3] == "250"
    assert client.says("MAIL FROM:<ann@example.net>")[0][:9] == "421 4.7.0"
    assert client.is_closed()


def test_an_address_may_bring_so_much_a_minute(listen: Listen) -> None:
    listener = listen(messages_per_minute=2, recipients_per_minute=3)
    for _ in range(2):
        assert sends(greeted(listener), ".")[0][:3] == "250"
    client = greeted(listener)
    assert client.says("MAIL FROM:<ann@example.net>")[0][:9] == "450 4.7.1"
    assert sends(greeted(listener, peer="192.0.2.8"), ".")[0][:3] == "250"
    assert greeted(listener, peer="127.0.0.1").says("MAIL FROM:<ann@example.net>")[0][:3] == "250"
    listener.clock.advance(60)
    assert client.says("MAIL FROM:<ann@example.net>")[0][:3] == "250"
    answer = client.says(*["RCPT TO:<joe@example.org>"] * 5)
    assert [line[:9] for line in answer] == ["250 2.1.5"] * 3 + ["450 4.7.1"] * 2


@pytest.mark.parametrize(
    ("line", "times", "code"),
    [("MAIL", 20, "501"), ("WHAT", 3, "500"), ("x" * 3000, 3, "500"), ("NOOP", 99, "250"), ("RSET", 99, "250")],
)
def test_patience_ends(listen: Listen, line: str, times: int, code: str) -> None:
    client = greeted(listen())
    for _ in range(times):
        assert client.says(line)[0][:3] == code
    (last,) = client.says(line)
    assert last.startswith("421 4.7.0 mx.example.org Too many")
    assert client.is_closed()


def test_whoever_brings_mail_may_make_mistakes(listen: Listen) -> None:
    client = greeted(listen(errors=3, messages=1000))
    for _ in range(10):
        client.says("MAIL")
        client.says("MAIL")
        assert sends(client, ".")[0][:3] == "250"


def test_unknown_recipients_cost_more_and_more_time(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    client.says("MAIL FROM:<ann@example.net>")
    assert [line[:3] for line in client.says("RCPT TO:<nobody@example.org>", "RCPT TO:<nobody1@example.org>")] == [
        "550"
    ] * 2
    for number, seconds in enumerate([1, 2, 3], 2):
        assert client.says("RCPT TO:<joe@example.org>", f"RCPT TO:<nobody{number}@example.org>")[0][:3] == "250"
        listener.clock.advance(seconds - 0.1)
        assert client.hears() == []
        listener.clock.advance(0.1)
        assert client.hears()[0][:3] == "550"
    client.says("RCPT TO:<nobody9@example.org>")
    client.transport.drop()
    assert client.is_closed()
    assert listener.target.open == 0
    assert not listener.factory.sessions


def test_lmtp_takes_refused_recipients_as_they_come(listen: Listen) -> None:
    listener = listen("lmtp", errors=5)
    client = greeted(listener, peer="")
    answer = client.says("MAIL FROM:<>", *[f"RCPT TO:<nobody{number}@example.org>" for number in range(1, 30)])
    assert [line[:3] for line in answer] == ["250"] + ["550"] * 29


def test_one_connection_too_many_is_told_so(listen: Listen) -> None:
    listener = listen()
    clients = [listener.connect() for _ in range(51)]
    assert {client.hears()[0][:3] for client in clients[:50]} == {"220"}
    assert clients[50].hears() == ["421 4.7.0 mx.example.org Too many connections from your address"]
    assert clients[50].is_closed()


# --- what the doors say --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (Refused(Status("5.7.1", "Go away")), "550 5.7.1 Go away"),
        (Refused(Status("5.7.1", "Go\r\n250 away", 554)), "554 5.7.1 Go??250 away"),
        (TryLater(Status("4.7.1", "Grey", 450)), "450 4.7.1 Grey"),
        (OverQuota("x"), "452 4.2.2 No room for it now"),
        (Unavailable("secret"), "451 4.3.0 Not available now, try again later"),
    ],
)
@pytest.mark.parametrize("where", ["greeting", "sender", "message", "commit"])
def test_a_door_may_refuse(listen: Listen, problem: Exception, answer: str, where: str) -> None:
    listener = listen()
    client = listener.connect()
    client.hears()
    listener.target.refusals[where] = problem
    told = client.says("EHLO me")
    if where != "greeting":
        told = client.says("MAIL FROM:<ann@example.net>")
    if where in ("message", "commit"):
        client.says("RCPT TO:<joe@example.org>", "DATA")
        told = client.says("Subject: x", "", ".")
    assert told == [answer]
    assert listener.target.messages == []
    assert listener.target.open == 0
    del listener.target.refusals[where]
    assert client.says("EHLO me")[0][:3] == "250"


@pytest.mark.parametrize("where", ["greeting", "sender", "joe@example.org", "message", "commit", "connect"])
def test_the_end_of_a_doors_own_connection_is_not_ours(listen: Listen, where: str) -> None:
    listener = listen()
    listener.target.refusals[where] = ConnectionEnded("of the relay")
    client = listener.connect()
    told = client.hears()
    for line in ("EHLO me", "MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>", "DATA", "a\r\n."):
        if told[-1][:1] == "4":
            break
        told = client.says(line)
    assert told[0][:3] in ("451", "421")
    assert client.is_closed() is (where == "connect")


@pytest.mark.parametrize("where", ["greeting", "sender", "message", "commit", "connect"])
def test_an_unexpected_exception_is_temporary_and_has_a_reference(listen: Listen, where: str) -> None:
    listener = listen()
    listener.target.refusals[where] = ZeroDivisionError("secret")
    client = listener.connect()
    told = client.hears()
    for line in ("EHLO me", "MAIL FROM:<ann@example.net>", "RCPT TO:<joe@example.org>", "DATA", "a\r\n."):
        if told[-1][:1] == "4":
            break
        told = client.says(line)
    assert told[0][:9] in ("451 4.3.0", "421 4.3.0")
    assert "reference" in told[0]
    assert "secret" not in told[0]
    assert client.is_closed() is (where == "connect")


def test_refused_connections_hear_554_and_then_503(listen: Listen) -> None:
    listener = listen()
    listener.target.refusals["connect"] = Refused(Status("5.7.1", "Not you"))
    client = listener.connect()
    assert client.hears() == ["554 5.7.1 Not you"]
    assert client.says("EHLO me")[0][:3] == "503"
    assert client.says("QUIT")[0][:3] == "221"
    assert client.is_closed()
    listener.target.refusals["connect"] = TryLater(Status("4.7.1", "Later"))
    client = listener.connect()
    assert client.hears() == ["421 4.7.1 mx.example.org Later"]
    assert client.is_closed()


def test_outcomes_fold_into_one_reply() -> None:
    good, later, never = Delivered(), Delayed(Status("4.2.2", "Full")), Failed(Status("5.2.1", "Closed"))
    assert fold([never, later, good], "id").code == 250
    assert fold([never, later], "id")[:2] == (452, "4.2.2")
    assert fold([never, never], "id")[:2] == (550, "5.2.1")
    assert reply_to(Refused(Status("nonsense", "x", 250)))[:2] == (550, "5.0.0")  # type: ignore[index]
    assert reply_to(TryLater(Status("5.7.1", "x")))[:2] == (451, "4.7.1")  # type: ignore[index]
    assert reply_to(KeyError()) is None


def test_login_troubles_are_temporary(listen: Listen) -> None:
    listener = listen("submission")
    client = greeted(listener, peer="127.0.0.1")
    for problem, answer in [
        (TooManyLogins("x"), "454 4.7.0"),
        (Unavailable("secret"), "454 4.7.0"),
        (ZeroDivisionError("secret"), "454 4.7.0"),
    ]:
        listener.authenticator.problem = problem
        (told,) = client.says("AUTH PLAIN AGpvZQBzZWNyZXQ=")
        assert told.startswith(answer)
        assert "secret" not in told
    listener.authenticator.problem = None
    assert client.says("AUTH PLAIN AGpvZQBzZWNyZXQ=")[0][:3] == "235"
    sends(client, ".")
    assert listener.target.messages[0].envelope.peer.login == "joe"


def test_the_envelope_has_all_that_was_said(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener, tls=True)
    client.says(
        "MAIL FROM:<ann@example.net> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2Bb AUTH=ann@example.net",
        "RCPT TO:<joe@example.org> NOTIFY=NEVER ORCPT=rfc822;jo@example.org",
        "DATA",
    )
    (answer,) = client.says("a", ".")
    (message,) = listener.target.messages
    envelope = message.envelope
    assert (envelope.body, envelope.smtputf8, envelope.size) == ("8BITMIME", True, 9)
    assert (envelope.ret, envelope.envid, envelope.auth) == ("FULL", "a+b", "ann@example.net")
    assert (envelope.received_at, envelope.peer.name, envelope.peer.esmtp) == (1_700_000_000, "me", True)
    assert envelope.peer.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert answer == f"250 2.0.0 {envelope.trace_id} kept"
    (recipient,) = message.recipients
    assert (recipient.notify, recipient.orcpt) == (frozenset({"NEVER"}), "rfc822;jo@example.org")


# --- ends ----------------------------------------------------------------------------------------------------------


def test_a_peer_that_leaves_within_data_delivers_nothing(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    sends(client, b"half a mess")
    client.transport.drop()
    assert client.is_closed()
    assert listener.target.messages == []
    assert listener.target.open == 0


def test_drain_waits_for_the_transaction_and_takes_no_other(listen: Listen) -> None:
    listener = listen()
    idle, busy = greeted(listener), greeted(listener)
    sends(busy, "half")
    over = listener.factory.drain(30)
    assert idle.hears() == ["421 4.3.2 mx.example.org The server is going down, come again"]
    assert idle.is_closed()
    assert not over.called
    answer = busy.says(".", "MAIL FROM:<ann@example.net>")
    assert [line[:9] for line in answer] == ["250 2.0.0", "421 4.3.2"]
    assert busy.is_closed()
    assert over.called
    assert len(listener.target.messages) == 1


def test_drain_cuts_off_who_does_not_come_to_an_end(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    sends(client, "half")
    over = listener.factory.drain(30)
    listener.clock.advance(30)
    assert client.is_closed()
    assert over.called
    assert listener.target.open == 0


def test_a_slow_target_makes_the_client_wait(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    waiting: list[Deferred[None]] = []

    def gate() -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    listener.target.gate = gate
    sends(client, b"x" * 50_000)
    for _ in range(20):
        client.transport.send(b"y" * 50_000)
    assert client.transport.is_paused
    assert len(waiting) == 1, "the target is asked for more only when it has taken the last"
    client.transport.send(b"\r\n.\r\n")
    at = 0
    while at < len(waiting):
        waiting[at].callback(None)
        at += 1
    assert client.hears()[0][:3] == "250"
    assert len(listener.target.messages[0].octets) == 21 * 50_000 + 2


def test_a_peer_that_leaves_before_the_answer_has_its_mail_delivered(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    waiting: list[Deferred[None]] = []
    sends(client, "a")

    def gate() -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    listener.target.gate = gate
    client.says(".")
    client.transport.drop()
    assert client.is_closed()
    at = 0
    while at < len(waiting):
        waiting[at].callback(None)
        at += 1
    assert len(listener.target.messages) == 1
    assert listener.target.open == 0


def test_connection_ended_is_no_failure() -> None:
    assert reply_to(ConnectionEnded("x")) is None


def test_a_flood_of_commands_is_done_a_few_at_a_time(listen: Listen) -> None:
    listener = listen()
    client = greeted(listener)
    for _ in range(10):
        client.transport.send(b"MAIL FROM:<>\r\n" + b"RCPT TO:<joe@example.org>\r\n" * 2000)
    assert client.transport.is_paused
    heard = client.hears()
    assert len(heard) < 300, "others have to wait too long"
    for _ in range(1000):
        listener.clock.advance(0)
        heard += client.hears()
    assert len(heard) == 20_010
    assert not client.transport.is_paused


def test_who_does_not_read_the_answers_is_not_heard_any_more(listen: Listen) -> None:
    listener = listen(junk_commands=10_000_000)
    client = greeted(listener)
    for _ in range(100):
        client.transport.send(b"NOOP\r\n" * 10_000)
        for _ in range(60):
            listener.clock.advance(0)
    assert client.transport.is_paused
    assert client.transport.unread() < 1_500_000
    listener.clock.advance(300)
    assert client.is_closed(), "nobody waits for ever"


def test_a_transcript_has_no_passwords_and_no_mail(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.logger import Logger, formatEvent

    from twisted_mail_kit.smtp.session import content

    told: list[str] = []
    monkeypatch.setattr(content, "log", Logger(observer=lambda event: told.append(formatEvent(event))))
    for transcript in (False, True):
        listener = listen("submission", transcript=transcript)
        client = listener.connect(peer="127.0.0.1")
        client.session.log = Logger(observer=lambda event: told.append(formatEvent(event)))
        client.says("EHLO me")
        client.says("AUTH PLAIN AGpvZQBzZWNyZXQ=")
        client.says("RSET")
        sends(client, "my body", ".")
        if not transcript:
            assert len(told) == 1, "one line a message"
            assert "to 1 recipients, 9 octets: 250 2.0.0" in told[0]
    text = "\n".join(told)
    assert "Mail(sender=" in text
    assert "235" in text
    assert "AGpvZQBzZWNyZXQ" not in text
    assert "my body" not in text
