"""FETCH of sections: the right octets, at the client's pace, also where things are missing."""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import Remove

NESTED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
    b"preamble\r\n--o\r\nContent-Type: text/plain\r\n\r\nfirst\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
    b"--i\r\n\r\none\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--i--\r\n"
    b"\r\n--o--\r\n"
)


@pytest.fixture(params=[False, True], ids=["one by one", "many at once"])
def world(make_world: Any, request: pytest.FixtureRequest) -> Any:
    return make_world(reads_many=request.param)


def literal(lines: list[bytes]) -> bytes:
    """The octets of the first literal of an answer."""
    octets = b"\r\n".join(lines)
    head, _, rest = octets.partition(b"}\r\n")
    return rest[: int(head.rpartition(b"{")[2])]


@pytest.mark.parametrize(
    "section, octets",
    [
        ("", NESTED),
        ("HEADER", NESTED[: NESTED.index(b"preamble")]),
        ("TEXT", NESTED[NESTED.index(b"preamble") :]),
        ("1", b"first"),
        ("1.MIME", b"Content-Type: text/plain\r\n\r\n"),
        ("2.MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ("2.HEADER", NESTED[NESTED.index(b"Subject: inner") : NESTED.index(b"--i")]),
        ("2.HEADER.FIELDS (subject)", b"Subject: inner\r\n\r\n"),
        ("2.1", b"one"),
        ("2.2", b"<p>two"),
        ("2.2.MIME", b"Content-Type: text/html\r\n\r\n"),
        ("2.TEXT", NESTED[NESTED.index(b"--i") : NESTED.index(b"\r\n--o--")]),
    ],
)
def test_sections_of_a_nested_message(world: Any, section: str, octets: bytes) -> None:
    world.deliver(NESTED)
    client = world.client()
    client.ok("EXAMINE INBOX")
    assert literal(client.ok(f"FETCH 4 BODY.PEEK[{section}]")) == octets
    assert literal(client.ok(f"FETCH 4 BODY.PEEK[{section}]<2.3>")) == octets[2:5]


def test_a_summary_that_is_missing_or_old_is_made_again(world: Any) -> None:
    world.deliver(NESTED, summary=b"")
    world.deliver(NESTED, summary=b"\xff\xffold")
    world.deliver(NESTED)
    client = world.client()
    client.ok("EXAMINE INBOX")
    answers = [client.ok(f"FETCH {number} (ENVELOPE BODYSTRUCTURE BODY.PEEK[2.1])") for number in (4, 5, 6)]
    assert [line.replace(b"* 4 ", b"* 6 ") for line in answers[0]] == answers[2]
    assert [line.replace(b"* 5 ", b"* 6 ") for line in answers[1]] == answers[2]
    assert len(client.ok("FETCH 1:* ENVELOPE")) == 6
    assert client.ok("SEARCH SUBJECT outer") == [b"* SEARCH 4 5 6"]


def test_a_large_message_waits_for_a_slow_reader(world: Any) -> None:
    big = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 64 * 1024 * 8
    world.deliver(big)
    client = world.client()
    client.ok("EXAMINE INBOX")
    reads = []
    real = world.joe.read_blob

    async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
        reads.append(size)
        return await real(blob_id, offset, size)

    world.joe.read_blob = read_blob
    client.transport.send(b"a FETCH 4 BODY[]\r\n")
    assert client.transport.unread() < 512 * 1024, "it waits for the reader"
    assert sum(reads) < 512 * 1024, "what is not sent is not read"
    heard = client.hear()
    assert literal(heard.split(b"\r\n")) == big
    assert heard.endswith(b"a OK FETCH completed\r\n")


def test_many_small_messages_wait_for_a_slow_reader(world: Any, make_message: Any) -> None:
    for number in range(4, 1004):
        world.deliver(make_message(number, b"x" * 4000 + b"\r\n"))
    client = world.client()
    client.ok("EXAMINE INBOX")
    reads = []
    real = world.joe.read_blob

    async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
        reads.append(size)
        return await real(blob_id, offset, size)

    world.joe.read_blob = read_blob
    client.transport.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
    assert client.transport.unread() < 512 * 1024, "it waits for the reader"
    assert sum(reads) < 768 * 1024, "little is read that is not sent"
    heard = client.hear()
    assert heard.count(b" FETCH (BODY[] {") == 1003
    assert heard.endswith(b"a OK FETCH completed\r\n")


def test_messages_of_a_thousand_parts_give_others_their_turn(world: Any) -> None:
    part = b"--b\r\nContent-Type: text/plain; name=part\r\n\r\n\r\n"
    mail = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 900 + b"--b--\r\n"
    for _ in range(20):
        world.deliver(mail)
    client = world.client()
    client.ok("EXAMINE INBOX")
    breaths = []
    real = client.session.breathe

    async def breathe() -> None:
        breaths.append(1)
        await real()

    client.session.breathe = breathe
    assert len(client.ok("FETCH 1:* BODYSTRUCTURE")) == 23
    assert len(breaths) > 3


def test_a_reader_who_leaves_ends_the_reading(world: Any) -> None:
    world.deliver(b"Subject: big\r\n\r\n" + b"x" * 4_000_000)
    client = world.client()
    client.ok("EXAMINE INBOX")
    client.transport.send(b"a FETCH 4 BODY[]\r\n")
    client.transport.drop()
    client.transport.turn()
    assert not world.factory.sessions
    assert not world.log_errors()
    assert not client.session.server.accounts


def test_a_message_whose_octets_are_gone_is_told_of(world: Any) -> None:
    client = world.client()
    client.ok("EXAMINE INBOX")
    real = world.joe.read_blob

    async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
        if blob_id == world.joe.rows[world.mailbox_id][2].blob_id:
            raise BlobNotFound(blob_id)
        return await real(blob_id, offset, size)

    world.joe.read_blob = read_blob
    lines = client.refused("FETCH 1:3 BODY.PEEK[TEXT]", b"EXPUNGEISSUED")
    assert b"* 1 FETCH (BODY[TEXT] {20}" in lines and b"* 3 FETCH (BODY[TEXT] {20}" in lines
    assert not any(line.startswith(b"* 2 ") for line in lines)


def test_octets_that_end_too_soon_end_the_connection(world: Any) -> None:
    world.deliver(b"Subject: big\r\n\r\n" + b"x" * 400_000)
    client = world.client()
    client.ok("EXAMINE INBOX")
    real = world.joe.read_blob

    async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
        return b"" if offset else await real(blob_id, offset, size)

    world.joe.read_blob = read_blob
    client.send(b"a FETCH 4 BODY.PEEK[]\r\n")
    assert client.transport.is_closed()


def test_a_message_that_goes_between_two_pages_is_left_out(world: Any) -> None:
    client = world.client()
    client.ok("SELECT INBOX")
    real = world.joe.messages

    async def messages(*args: Any, **more: Any) -> Any:
        world.joe.messages = real
        world.apply(Remove(world.mailbox_id, [2]))
        return await real(*args, **more)

    world.joe.messages = messages
    lines = client.refused("FETCH 1:3 ENVELOPE", b"EXPUNGEISSUED")
    assert [line[:4] for line in lines[:-1]] == [b"* 1 ", b"* 3 "]
    assert client.ok("NOOP") == [b"* 2 EXPUNGE"]


def test_many_messages_go_out_in_order(world: Any, make_message: Any) -> None:
    for number in range(4, 1300):
        world.deliver(make_message(number))
    client = world.client()
    client.ok("EXAMINE INBOX")
    for items in ("UID", "(UID ENVELOPE)", "(UID BODY.PEEK[]<0.1>)"):
        lines = [line for line in client.ok(f"FETCH 1:* {items}") if b"FETCH" in line]
        assert [int(line.split()[1]) for line in lines] == list(range(1, 1300))
    assert len(client.ok("UID FETCH 5:7,100,1200:* UID")) == 3 + 1 + 100
