"""Reports to senders, read by the standard library's parser and by the rules of RFC 3464, 6522 and 6533."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import Address, parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.mail.queued import QueuedMessage
from twisted_mail_kit.queue.notices import Notice, Told, make_notice, notice_id
from twisted_mail_kit.queue.words import original_recipient

NOW = 1_800_000_000.0
ORIGINAL = (
    b"Received: from x by y; Mon, 23 Nov 2026 07:00:00 +0000\r\n"
    b"From: Ann <ann@home.example>\r\nSubject: =?utf-8?q?Lunch_f=C3=BCr_zwei?=\r\n"
    b"Message-ID: <lunch@home.example>\r\nDate: Mon, 23 Nov 2026 07:00:00 +0000\r\n\r\nAt noon?\r\n"
)
NO_SUCH_USER = Status("5.1.1", "5.1.1 <joe@example.org>: no such user", 550, "mx.example.org [192.0.2.1]")


def queued(sender: str = "ann@home.example", size: int = len(ORIGINAL), **envelope: Any) -> QueuedMessage:
    envelope.setdefault("received_at", NOW - 3600)
    return QueuedMessage(
        Envelope(parse_address(sender), Peer("", service="submission"), "0123456789abcdef", **envelope), "B1", size
    )


def told(
    address: Any = "joe@example.org", status: Status = NO_SUCH_USER, action: str = "failed", orcpt: str = ""
) -> Told:
    if isinstance(address, str):
        address = parse_address(address)
    return Told(0, Recipient(address, orcpt=orcpt), action, status)


def make(message: QueuedMessage | None = None, *news: Told, **more: Any) -> Notice:
    more = {"original": ORIGINAL, "hostname": "mx.home.example", "now": NOW, **more}
    return make_notice(message or queued(), news or (told(),), **more)


def parts(notice: Notice) -> list[Message]:
    parsed = email.message_from_bytes(notice.octets)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    assert not parsed.defects
    payload = parsed.get_payload()
    assert isinstance(payload, list)
    return payload


def fields(notice: Notice) -> list[Message]:
    """The per-message fields, and those of each recipient."""
    status = parts(notice)[1]
    assert status.get_content_type() == "message/delivery-status"
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    return blocks


def person(notice: Notice) -> str:
    text = parts(notice)[0].get_payload(decode=True)
    assert isinstance(text, bytes)
    return text.decode()


def assert_well_formed(notice: Notice) -> None:
    """What may be sent anywhere: lines of CR LF, none too long, no NUL, 8 bits only where they are declared."""
    octets = notice.octets
    assert b"\0" not in octets
    assert octets.replace(b"\r\n", b"").count(b"\r") == octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.isascii() or notice.envelope.body == "8BITMIME"
    header = octets.partition(b"\r\n\r\n")[0]
    assert header.isascii() or notice.envelope.smtputf8


def test_a_bounce_as_a_program_reads_it() -> None:
    notice = make(queued(envid="QQ314159"), told(orcpt="rfc822;joe+2Bwork@example.org"))
    assert_well_formed(notice)
    about, one = fields(notice)
    assert dict(about) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mx.home.example",
        "Arrival-Date": "Fri, 15 Jan 2027 07:00:00 +0000",
        "X-Mailkit-Trace": "0123456789abcdef",
    }
    assert dict(one) == {
        "Original-Recipient": "rfc822; joe+work@example.org",
        "Final-Recipient": "rfc822; joe@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.org",
        "Diagnostic-Code": "smtp; 550 5.1.1 <joe@example.org>: no such user",
        "Last-Attempt-Date": "Fri, 15 Jan 2027 08:00:00 +0000",
    }


def test_a_bounce_as_a_person_reads_it() -> None:
    text = person(make())
    for words in (
        "could not be delivered",
        "joe@example.org",
        "The server mx.example.org [192.0.2.1] answered:",
        "550 5.1.1 <joe@example.org>: no such user",
        "Please check the address",
        "It will not be tried again.",
        "Subject: Lunch für zwei",
        "0123456789abcdef",
        "postmaster@mx.home.example",
    ):
        assert words in " ".join(text.split()), text
    assert max(map(len, text.splitlines())) <= 78


def test_its_own_header() -> None:
    notice = make()
    parsed = email.message_from_bytes(notice.octets)
    assert parsed["From"] == "Mail Delivery System <MAILER-DAEMON@mx.home.example>"
    assert parsed["To"] == "<ann@home.example>"
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed["References"] == parsed["In-Reply-To"] == "<lunch@home.example>"
    assert parsed["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert parsed["Message-ID"] == f"<{notice.envelope.trace_id}@mx.home.example>"
    assert notice.envelope.sender is None and notice.recipient.notify == {"NEVER"}
    assert notice.envelope.peer == Peer(host="", service="queue", is_local=True)


def test_a_delay_says_how_long_it_will_be_tried() -> None:
    status = Status("4.7.1", "Greylisted", 451, "mx.example.org [192.0.2.1]")
    notice = make(queued(), told(status=status, action="delayed"), retry_until=NOW + 400_000)
    _, one = fields(notice)
    assert (one["Action"], one["Status"]) == ("delayed", "4.7.1")
    assert one["Will-Retry-Until"] == "Tue, 19 Jan 2027 23:06:40 +0000"
    text = " ".join(person(notice).split())
    assert "You need not do anything: it will be tried again until Tue, 19 Jan 2027 23:06:40 +0000." in text


@pytest.mark.parametrize("action", ["relayed", "delivered"])
def test_a_success(action: str) -> None:
    notice = make(queued(), told(status=Status("2.0.0", "ok", 250, "mx.example.org"), action=action))
    _, one = fields(notice)
    assert (one["Action"], one["Status"]) == (action, "2.0.0")
    assert email.message_from_bytes(notice.octets)["Subject"] == "Your message has arrived"


def test_what_took_too_long_keeps_the_other_sides_last_words() -> None:
    notice = make(queued(), told(status=Status("5.4.7", "Greylisted", 451, "mx.example.org [192.0.2.1]")))
    _, one = fields(notice)
    assert (one["Status"], one["Diagnostic-Code"]) == ("5.4.7", "smtp; 451 Greylisted")
    assert "At the last try, the server mx.example.org [192.0.2.1] answered:" in person(notice)


def test_our_own_words_are_not_sold_as_smtp() -> None:
    _, one = fields(make(queued(), told(status=Status("5.1.10", "The domain takes no mail", 556))))
    assert one["Diagnostic-Code"] == "X-Mailkit; 556 5.1.10 The domain takes no mail"
    assert one["Remote-MTA"] is None


def test_a_status_is_of_the_class_of_its_action() -> None:
    for given_code, code in (("4.1.8", "5.1.8"), ("nonsense", "5.0.0"), ("5.1.1\r\nX: y", "5.0.0")):
        _, one = fields(make(queued(), told(status=Status(given_code, "words"))))
        assert one["Status"] == code


def test_all_recipients_of_a_round_are_in_one_report() -> None:
    blocks = fields(make(queued(), told("joe@example.org"), told("sue@example.org"), told("kim@example.org")))
    assert [one["Final-Recipient"] for one in blocks[1:]] == [
        "rfc822; joe@example.org",
        "rfc822; sue@example.org",
        "rfc822; kim@example.org",
    ]


# --- what comes back -------------------------------------------------------------------------------------------------


def test_headers_come_back_as_they_were() -> None:
    part = parts(make())[2]
    assert part.get_content_type() == "text/rfc822-headers"
    assert part.get_payload(decode=True) == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_the_whole_message_comes_back_octet_for_octet() -> None:
    notice = make(full=True)
    assert parts(notice)[2].get_content_type() == "message/rfc822"
    assert b"\r\n\r\n" + ORIGINAL + b"\r\n--=_" in notice.octets
    assert notice.envelope.body == "7BIT"


def test_eight_bits_are_declared() -> None:
    original = ORIGINAL + "Grüße\r\n".encode()
    notice = make(original=original, full=True)
    assert_well_formed(notice)
    part = parts(notice)[2]
    assert part["Content-Transfer-Encoding"] == "8bit" and original in notice.octets
    assert email.message_from_bytes(notice.octets)["Content-Transfer-Encoding"] == "8bit"
    assert notice.envelope.body == "8BITMIME"


@pytest.mark.parametrize("body", [b"a\0b", b"bare\nfeed", b"bare\rreturn", b"x" * 999])
def test_what_no_part_can_hold_comes_back_as_headers(body: bytes) -> None:
    notice = make(original=ORIGINAL + body + b"\r\n", full=True)
    assert_well_formed(notice)
    assert parts(notice)[2].get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    "field", ["Subject: Grüße".encode(), "Subject: Grüße".encode("latin-1"), b"X-Long: " + b"y" * 2000, b"X: a\0b\rc"]
)
def test_odd_headers_come_back_in_seven_bits(field: bytes) -> None:
    notice = make(original=field + b"\r\n" + ORIGINAL)
    assert_well_formed(notice)
    assert notice.octets.isascii()
    back = parts(notice)[2].get_payload(decode=True)
    assert isinstance(back, bytes) and back.startswith(field.replace(b"\0", b"?").replace(b"\r", b" "))


def test_a_message_that_cannot_be_read_is_reported_all_the_same() -> None:
    notice = make(original=b"")
    assert_well_formed(notice)
    assert len(parts(notice)) == 2
    assert email.message_from_bytes(notice.octets)["References"] is None


def test_a_message_cannot_end_its_part() -> None:
    first = make(full=True)
    boundary = email.message_from_bytes(first.octets).get_boundary()
    assert boundary is not None
    hostile = ORIGINAL + b"--" + boundary.encode() + b"--\r\nX\r\n"
    notice = make(original=hostile, full=True)
    assert hostile in notice.octets
    assert parts(notice)[2].get_payload()[0].as_bytes().endswith(b"X\n")


# --- international mail ----------------------------------------------------------------------------------------------


def test_utf8_addresses_are_told_as_rfc_6533_says() -> None:
    message = queued("jörg@bücher.example", smtputf8=True)
    notice = make(message, told("zoë@example.org", orcpt="utf-8;zo\\x{EB}@example.org"))
    assert_well_formed(notice)
    assert notice.envelope.smtputf8 and notice.envelope.body == "8BITMIME"
    assert "To: <jörg@bücher.example>\r\n".encode() in notice.octets
    assert b"message/global-delivery-status" in notice.octets
    assert "Final-Recipient: utf-8; zoë@example.org\r\n".encode() in notice.octets
    assert "Original-Recipient: utf-8; zoë@example.org\r\n".encode() in notice.octets


def test_an_international_domain_alone_needs_no_utf8() -> None:
    notice = make(queued("ann@bücher.example"), told("joe@bücher.example"))
    assert_well_formed(notice)
    assert notice.octets.isascii() and not notice.envelope.smtputf8
    assert b"To: <ann@xn--bcher-kva.example>" in notice.octets
    assert fields(notice)[1]["Final-Recipient"] == "rfc822; joe@xn--bcher-kva.example"


def test_utf8_words_of_the_other_side() -> None:
    status = Status("5.1.1", "Benutzer unbekannt – tschüss", 550, "mx.example.org")
    plain = make(queued(), told(status=status))
    assert_well_formed(plain)
    assert fields(plain)[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 Benutzer unbekannt ? tsch?ss"
    assert "Benutzer unbekannt – tschüss" in person(plain)
    international = make(queued(smtputf8=True), told(status=status))
    assert_well_formed(international)
    assert "Diagnostic-Code: smtp; 550 5.1.1 Benutzer unbekannt – tschüss".encode() in international.octets


# --- hostile words ---------------------------------------------------------------------------------------------------


def test_the_same_news_is_the_same_message() -> None:
    assert make().envelope.trace_id == make(now=NOW + 60).envelope.trace_id
    assert make().octets == make().octets
    ids = {notice_id("0123456789abcdef", kind, [n]) for kind in ("failed", "delayed", "success") for n in range(100)}
    assert len(ids) == 300
    assert all(re.fullmatch("01234567[0-9a-z]{8}", one) for one in ids)


_text = st.text(st.one_of(st.characters(), st.sampled_from("\r\n\0\t -:;=?\u2028\u202e\x85")), max_size=300)
_octets = st.binary(max_size=400) | _text.map(lambda text: text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(
    text=_text,
    remote=_text,
    code=_text | st.sampled_from(["5.1.1", "5.4.7", "4.4.1"]),
    envid=_text,
    orcpt=_text | _text.map(lambda text: "utf-8;" + text) | _text.map(lambda text: "rfc822;" + text),
    local=_text.filter(bool),
    original=_octets | st.tuples(_octets, _octets).map(lambda two: b"Subject: " + two[0] + b"\r\n\r\n" + two[1]),
    full=st.booleans(),
    smtputf8=st.booleans(),
)
def test_whatever_others_say_there_is_no_way_into_the_structure(
    text: str, remote: str, code: str, envid: str, orcpt: str, local: str, original: bytes, full: bool, smtputf8: bool
) -> None:
    message = queued(envid=envid, smtputf8=smtputf8)
    notice = make(
        message, told(Address(local, "example.org"), Status(code, text, 550, remote), orcpt=orcpt), original=original,
        full=full,
    )  # fmt: skip
    assert_well_formed(notice)
    header, _, _ = notice.octets.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in header.split(b"\r\n") if line[:1] not in b" \t"]
    assert set(names) <= {
        b"From", b"To", b"Subject", b"Date", b"Message-ID", b"References", b"In-Reply-To", b"Auto-Submitted",
        b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding",
    }  # fmt: skip
    assert len(names) == len(set(names))
    boundary = re.search(rb'boundary="([^"]+)"', header)
    assert boundary is not None
    pieces = notice.octets.split(b"\r\n--" + boundary[1])
    assert len(pieces) == (4 if not original else 5) and pieces[-1] == b"--\r\n"
    blocks = pieces[2].partition(b"\r\n\r\n")[2].rstrip(b"\r\n").split(b"\r\n\r\n")
    assert len(blocks) == 2, "per-message fields and one recipient"
    known = {
        b"Original-Envelope-Id", b"Reporting-MTA", b"Arrival-Date", b"X-Mailkit-Trace", b"Original-Recipient",
        b"Final-Recipient", b"Action", b"Status", b"Remote-MTA", b"Diagnostic-Code", b"Last-Attempt-Date",
    }  # fmt: skip
    for block in blocks:
        found = [line.partition(b":")[0] for line in block.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
        assert set(found) <= known and len(found) == len(set(found))


def test_the_original_recipient_as_postfix_writes_an_international_one() -> None:
    assert original_recipient("rfc822;j+C3+BCrgen@example.org") == ("rfc822", "jürgen@example.org")
    assert original_recipient("utf-8;j\\x{FC}rgen@example.org") == ("utf-8", "jürgen@example.org")
