"""POP3 sessions: what stays and what goes, what happens when doors break, and what strangers cannot do."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.pop3.kit import FIRST, SECOND, inbox_of, make_world, put
from twisted_mail_kit.errors import AccountNotFound, TooManyLogins, Unavailable
from twisted_mail_kit.interfaces import Remove
from twisted_mail_kit.net.factory import ConnectionLimits
from twisted_mail_kit.pop3.maildrop import Maildrop
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.testing.dialogue import Dialogue, play
from twisted_mail_kit.testing.fakes import MemoryTransport

LOGIN = "S: +OK *\nC: USER joe\nS: +OK *\nC: PASS secret\nS: +OK *\n"


async def subjects(account) -> list[int]:
    return [row.uid for row in await inbox_of(account)]


# --- what is deleted, and when -------------------------------------------------------------------------------------


async def test_keeping_deletes_nothing_and_marks_as_seen_at_quit() -> None:
    world = await make_world()
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(LOGIN + "C: RETR 1\nS: ...\nS: .\nC: TOP 2 0\nS: ...\nS: .\n")
    assert not any(row.flags for row in await inbox_of(world.joe))
    await dialogue.play("C: QUIT\nS: +OK *\nX:")
    assert [sorted(row.flags) for row in await inbox_of(world.joe)] == [["\\Seen"], [], []]


async def test_marking_as_seen_can_be_switched_off() -> None:
    world = await make_world(settings=POP3Settings(mark_seen=False))
    await play(LOGIN + "C: RETR 1\nS: ...\nS: .\nC: QUIT\nS: +OK *\nX:", world.factory, world.clock)
    assert not any(row.flags for row in await inbox_of(world.joe))


async def test_deleting_happens_at_quit_in_one_transaction() -> None:
    world = await make_world()
    before = await world.joe.state()
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(LOGIN + "C: RETR 1\nC: DELE 1\nC: DELE 3\nS: ...\nS: .\nS: +OK *\nS: +OK *")
    assert await subjects(world.joe) == [1, 2, 3]
    await dialogue.play("C: QUIT\nS: +OK Goodbye, 2 messages deleted\nX:")
    assert await subjects(world.joe) == [2]
    assert await world.joe.state() == before + 1


@pytest.mark.parametrize("end", ["D:", "T: 601\nX:", "C: RSET\nS: +OK *\nC: QUIT\nS: +OK *\nX:"])
async def test_any_other_end_deletes_nothing(end: str) -> None:
    world = await make_world()
    await play(LOGIN + "C: DELE 1\nC: RETR 2\nS: ...\nS: .\n" + end, world.factory, world.clock)
    assert await subjects(world.joe) == [1, 2, 3]


async def test_too_many_errors_delete_nothing() -> None:
    world = await make_world(settings=POP3Settings(errors=2))
    await play(
        LOGIN + "C: DELE 1\nC: X\nC: X\nC: QUIT\nS: +OK *\nS: -ERR *\nS: -ERR *\nS: -ERR Too many errors\nX:",
        world.factory,
        world.clock,
    )
    assert await subjects(world.joe) == [1, 2, 3]


async def test_an_update_that_fails_deletes_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world()

    async def apply(ops, if_state=None, token=None):
        raise OSError("disk on fire")

    monkeypatch.setattr(world.joe, "apply", apply)
    await play(
        LOGIN
        + "C: DELE 1\nS: +OK *\nC: QUIT\nS: -ERR [SYS/TEMP] Nothing was deleted, try again later (reference *)\nX:",
        world.factory,
        world.clock,
    )
    assert await subjects(world.joe) == [1, 2, 3]
    await play(LOGIN.replace("+OK *\n", "+OK *\n"), world.factory, world.clock)  # the lock is free again


async def test_marking_as_seen_may_fail_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world()
    apply = world.joe.apply

    async def picky(ops, if_state=None, token=None):
        if not isinstance(ops[0], Remove):
            raise Unavailable("no")
        return await apply(ops, if_state, token)

    monkeypatch.setattr(world.joe, "apply", picky)
    await play(
        LOGIN + "C: RETR 1\nC: DELE 2\nS: ...\nS: .\nS: +OK *\nC: QUIT\nS: +OK Goodbye, 1 *\nX:",
        world.factory,
        world.clock,
    )
    assert await subjects(world.joe) == [1, 3]


async def test_the_maildrop_is_a_snapshot() -> None:
    world = await make_world()
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(LOGIN)
    await put(world.joe, FIRST)
    [inbox] = await world.joe.mailboxes()
    await world.joe.apply([Remove(inbox.id, [2])])
    await dialogue.play(
        """
        C: STAT
        S: +OK 3 104
        C: RETR 2
        S: -ERR [SYS/PERM] The message is not there any more
        C: RETR 3
        S: ...
        S: .
        C: DELE 2
        S: +OK *
        C: DELE 3
        S: +OK *
        C: QUIT
        S: +OK Goodbye, 2 messages deleted
        X:
        """
    )
    assert await subjects(world.joe) == [1, 4]


# --- the snapshot --------------------------------------------------------------------------------------------------


async def test_unique_ids_are_stable_and_unique_even_for_copies() -> None:
    from twisted_mail_kit.interfaces import Copy

    world = await make_world()
    [inbox] = await world.joe.mailboxes()
    await world.joe.apply([Copy(inbox.id, [1, 2], inbox.id)])
    one = await Maildrop.open(world.joe)
    ids = [one.unique_id(number) for number in one.numbers()]
    assert len(set(ids)) == 5
    assert all(0 < len(name) <= 70 and name.isascii() and name.isprintable() and " " not in name for name in ids)
    one.mark(1)
    await one.update()
    await put(world.joe, SECOND)
    two = await Maildrop.open(world.joe, page=2)
    assert [two.unique_id(number) for number in two.numbers()][:4] == ids[1:]


async def test_a_snapshot_of_many_pages_lets_others_have_their_turn() -> None:
    world = await make_world(*[b"A: %d\r\n\r\n" % number for number in range(25)])
    turns: list[int] = []

    async def pause() -> None:
        turns.append(1)

    drop = await Maildrop.open(world.joe, page=10, pause=pause)
    assert len(drop) == drop.count == 25
    assert len(turns) == 2
    assert drop.total == sum(row.size for row in await inbox_of(world.joe))


async def test_one_message_after_the_other_asks_for_rows_once_in_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world(*[b"A: %d\r\n\r\n" % number for number in range(250)])
    drop = await Maildrop.open(world.joe)
    asked: list[int] = []
    messages = world.joe.messages

    async def counted(*more, **named):
        asked.append(1)
        return await messages(*more, **named)

    monkeypatch.setattr(world.joe, "messages", counted)
    for number in drop.numbers():
        blob_id = await drop.blob_id(number)
        assert await drop.read(blob_id, number, 0, 100) == b"A: %d\r\n\r\n" % (number - 1)
    assert len(asked) == 3


# --- broken doors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (TooManyLogins("x"), "[SYS/TEMP] Too many logins *"),
        (AccountNotFound("x"), "[AUTH] Authentication failed"),
        (Unavailable("secret path"), "[SYS/TEMP] Something went wrong here, try again later (reference *)"),
        (ZeroDivisionError("secret path"), "[SYS/TEMP] Something went wrong here, try again later (reference *)"),
    ],
)
async def test_a_doorkeeper_in_trouble_is_a_temporary_failure(problem: Exception, words: str) -> None:
    world = await make_world()
    world.doorkeeper.problem = problem
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(f"S: +OK *\nC: USER joe\nS: +OK *\nC: PASS secret\nS: -ERR {words}")
    await dialogue.play(f"C: AUTH PLAIN AGpvZQBzZWNyZXQ=\nS: -ERR {words}")
    world.doorkeeper.problem = None
    await dialogue.play("C: USER joe\nS: +OK *\nC: PASS secret\nS: +OK *\nD:")


async def test_a_store_in_trouble_at_login_leaves_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world()
    with monkeypatch.context() as patch:

        async def mailboxes():
            raise Unavailable("no")

        patch.setattr(world.joe, "mailboxes", mailboxes)
        await play("S: +OK *\nC: USER joe\nS: +OK *\nC: PASS secret\nS: -ERR [SYS/TEMP] *", world.factory, world.clock)
    await play(LOGIN, world.factory, world.clock)


async def test_a_message_that_cannot_be_read_is_an_error_and_the_session_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()

    async def read_blob(blob_id, offset, size):
        raise OSError("secret path")

    monkeypatch.setattr(world.joe, "read_blob", read_blob)
    await play(
        LOGIN + "C: RETR 1\nS: -ERR [SYS/TEMP] *\nC: TOP 1 1\nS: -ERR [SYS/TEMP] *\nC: NOOP\nS: +OK",
        world.factory,
        world.clock,
    )


@pytest.mark.parametrize("ending", ["raise", "nothing"])
async def test_a_message_that_breaks_off_breaks_the_line_and_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    world = await make_world(b"A: b\r\n\r\n" + b"line\r\n" * 100, settings=POP3Settings(chunk=100))
    read = world.joe.read_blob

    async def read_blob(blob_id, offset, size):
        if offset >= 200:
            if ending == "raise":
                raise OSError("unreadable")
            return b""
        return await read(blob_id, offset, size)

    monkeypatch.setattr(world.joe, "read_blob", read_blob)
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(
        LOGIN + "C: RETR 1\nC: DELE 1\nC: QUIT\nS: +OK *\nS: A: b\nS:\n" + "S: line\n" * 32 + "S: ...\nX:"
    )
    assert await subjects(world.joe) == [1]


async def test_a_store_may_give_less_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world(FIRST)
    read = world.joe.read_blob

    async def read_blob(blob_id, offset, size):
        return await read(blob_id, offset, min(size, 3))

    monkeypatch.setattr(world.joe, "read_blob", read_blob)
    await play(
        LOGIN
        + "C: RETR 1\nS: +OK *\nS: Subject: one\nS: From: a@example.org\nS:\nS: line 1\nS: ..dot\nS: line 3\nS: .",
        world.factory,
        world.clock,
    )


# --- connections ---------------------------------------------------------------------------------------------------


async def test_one_connection_too_many_is_turned_away() -> None:
    world = await make_world(settings=POP3Settings(connections=ConnectionLimits(per_address=1)))
    await play("P: 192.0.2.1\nS: +OK *\nS2: -ERR [SYS/TEMP] Too many connections *\nX2:", world.factory, world.clock)


async def test_a_server_that_goes_down_says_so_and_deletes_nothing() -> None:
    world = await make_world()
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(LOGIN + "C: DELE 1\nS: +OK *")
    over = world.factory.drain(30)
    await dialogue.play("S: -ERR [SYS/TEMP] The server is going down, nothing was deleted\nX:")
    assert over.called
    assert await subjects(world.joe) == [1, 2, 3]


async def test_words_pipelined_after_stls_end_the_session() -> None:
    world = await make_world(certificates=object())
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play("S: +OK *\nC: STLS\nC: USER joe\nS: -ERR *\nX:")
    assert not dialogue.transport().tls_started
    # octet by octet they come after the handshake has begun, and break it
    await play("S: +OK *\nC: STLS\nC: USER joe\nS: +OK Begin TLS\nX:", world.factory, world.clock, 1)


async def test_without_certificates_there_is_no_stls() -> None:
    world = await make_world()
    dialogue = Dialogue(world.factory, world.clock)
    await dialogue.play(
        "S: +OK *\nC: STLS\nS: -ERR TLS cannot be started now\nC: CAPA\nS: ...\nS: SASL *\nS: IMPL*\nS: ."
    )


async def test_locks_can_be_switched_off() -> None:
    world = await make_world(settings=POP3Settings(lock=False))
    await play(LOGIN + LOGIN.replace("S:", "S2:").replace("C:", "C2:"), world.factory, world.clock)


class Reader:
    """A client that reads when it likes."""

    def __init__(self, world) -> None:
        self.transport = MemoryTransport()
        self.transport.connect(world.factory.buildProtocol(self.transport.peer))

    def say(self, octets: bytes) -> bytes:
        self.transport.send(octets)
        return self.transport.take()

    def drop(self) -> None:
        self.transport.drop()
        self.transport.turn()


async def test_a_big_message_costs_little_while_the_client_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = b"A: b\r\n\r\n" + b".0123456789\r\n" * 500_000
    world = await make_world(octets)
    read = world.joe.read_blob
    given = [0]

    async def read_blob(blob_id, offset, size):
        piece = await read(blob_id, offset, size)
        given[0] += len(piece)
        return piece

    monkeypatch.setattr(world.joe, "read_blob", read_blob)
    reader = Reader(world)
    reader.say(b"USER joe\r\nPASS secret\r\n")
    reader.transport.send(b"RETR 1\r\nNOOP\r\n")
    taken = bytearray()
    while reader.transport.unread():
        assert reader.transport.unread() < 512 * 1024
        assert given[0] < len(taken) + 512 * 1024
        taken += reader.transport.take()
        world.clock.advance(0)
    assert given[0] == len(octets)
    head, _, rest = bytes(taken).partition(b"\r\n")
    assert head == b"+OK %d octets" % len(octets)
    assert rest.endswith(b"\r\n.\r\n+OK\r\n")
    assert rest[: -len(b".\r\n+OK\r\n")].replace(b"\r\n..", b"\r\n.") == octets
    reader.drop()


async def test_a_client_that_reads_as_fast_as_we_write_does_not_keep_others_waiting() -> None:
    world = await make_world(b"A: b\r\n\r\n" + b"0123456789\r\n" * 300_000)
    reader = Reader(world)
    reader.say(b"USER joe\r\nPASS secret\r\n")
    reader.transport.send(b"RETR 1\r\n")
    turns, longest, taken = 0, 0, 1
    while taken:
        taken = 0
        while reader.transport.unread():
            taken += len(reader.transport.take())
        longest = max(longest, taken)
        turns += 1
        world.clock.advance(0)
    assert turns > 3
    assert longest < 1_500_000
    reader.drop()


async def test_a_client_that_reads_nothing_is_cut_off_and_its_maildrop_is_free() -> None:
    world = await make_world(b"A: b\r\n\r\n" + b"x" * 1_000_000)
    reader = Reader(world)
    reader.say(b"USER joe\r\nPASS secret\r\n")
    reader.transport.send(b"DELE 1\r\nRSET\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
    world.clock.advance(301)
    reader.transport.turn()
    assert reader.transport.is_closed()
    assert await subjects(world.joe) == [1]
    await play(LOGIN, world.factory, world.clock)


async def test_a_client_that_is_gone_has_not_said_quit() -> None:
    world = await make_world()
    reader = Reader(world)
    reader.say(b"USER joe\r\nPASS secret\r\n")
    # The hundredth command lets others have their turn; meanwhile the client goes.
    reader.transport.send(b"NOOP\r\n" * 97 + b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
    reader.drop()
    world.clock.advance(0)
    assert await subjects(world.joe) == [1, 2, 3]


async def test_a_flood_of_commands_gives_way_to_others() -> None:
    clock = Clock()
    world = await make_world(clock=clock)
    reader = Reader(world)
    reader.say(b"USER joe\r\nPASS secret\r\n")
    answered = reader.say(b"NOOP\r\n" * 10_000).count(b"+OK")
    assert answered <= 200
    while clock.getDelayedCalls() and answered < 10_000:
        clock.advance(0)
        answered += reader.transport.take().count(b"+OK")
    assert answered == 10_000
    reader.drop()


async def test_a_long_listing_waits_for_the_client() -> None:
    world = await make_world(*[b"A: b\r\n\r\n"] * 3000)
    clock = world.clock
    reader = Reader(world)
    reader.say(b"USER joe\r\nPASS secret\r\n")
    while not (said := reader.transport.take()).startswith(b"+OK"):
        clock.advance(0)
    reader.transport.send(b"UIDL\r\n" * 50)
    assert reader.transport.unread() < 256 * 1024
    taken = b""
    while reader.transport.unread():
        assert reader.transport.unread() < 256 * 1024
        taken += reader.transport.take()
    assert said
    assert taken.count(b"\r\n.\r\n") == 50
    reader.drop()


async def test_passwords_are_never_logged() -> None:
    from twisted.logger import globalLogPublisher

    told: list[str] = []
    observer = lambda event: told.append(repr(event))  # noqa: E731
    globalLogPublisher.addObserver(observer)
    try:
        world = await make_world()
        world.doorkeeper.problem = Unavailable("x")
        await play(
            "S: +OK *\nC: USER joe\nS: +OK *\nC: PASS geheimnis\nS: -ERR *\nC: AUTH LOGIN Z2VoZWltbmlz\n"
            "S: + *\nC: *\nS: -ERR *",
            world.factory,
            world.clock,
        )
    finally:
        globalLogPublisher.removeObserver(observer)
    assert any("login failed" in line or "login" in line for line in told)
    assert not any("geheimnis" in line for line in told)
