"""Many messages: read many at once, and some before they are asked for; the client hears the same as one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.pop3.kit import put
from twisted_mail_kit.errors import MessageNotFound, Unavailable
from twisted_mail_kit.interfaces import Remove, SetFlags
from twisted_mail_kit.pop3.ahead import PAGE, Room
from twisted_mail_kit.pop3.factory import make_factory
from twisted_mail_kit.pop3.maildrop import SEEN, Maildrop
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.pop3.wire.replies import DotStuffer, retrieved
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.testing.fakes import FakeAuthenticator, MemoryTransport

DOTS = [b".", b".\r\n", b"a\r\n.\r\nb", b"..\n.\n", b"\r\n..\r\n.", b"\n.", b"no end", b"A: b\r\n\r\n.dot\r\n", b""]


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path):
    store = SQLiteStore(tmp_path, reactor)
    yield store
    await store.close()


async def account_with(store, letters: list[bytes]):
    account = await store.open_account("joe", create=True)
    await put(account, *letters)
    return account


async def read(maildrop: Maildrop, number: int) -> bytes:
    message = await maildrop.open_message(number)
    octets = b""
    while piece := await message.read(1000):
        octets += piece
    message.close()
    return octets


async def test_each_message_is_what_it_is_in_whatever_order_they_are_taken(store) -> None:
    letters = [b"letter %d " % number * (number * number) for number in range(1, 90)]
    account = await account_with(store, letters)
    room = Room(10 * PAGE)
    for order in (range(1, 90), range(89, 0, -1), [5, 6, 7, 7, 6, 1, 2, 3, 80, 81]):
        maildrop = await Maildrop.open(account, room=room)
        for number in order:
            assert await read(maildrop, number) == letters[number - 1]
            assert maildrop.ahead.octets <= PAGE, "memory"
            assert room.left == 10 * PAGE - maildrop.ahead.octets
        maildrop.close()
        assert room.left == 10 * PAGE
    maildrop = await Maildrop.open(account, room=room)
    [inbox] = await account.mailboxes()
    await account.apply([Remove(inbox.id, [3])])
    for number in (1, 2, 4):
        assert await read(maildrop, number) == letters[number - 1]
    with pytest.raises(MessageNotFound):
        await read(maildrop, 3)


async def test_all_sessions_together_hold_no_more_than_there_is_room_for(store) -> None:
    letters = [b"%d" % number * 2000 for number in range(60)]
    account = await account_with(store, letters)
    room = Room(200_000)
    maildrops = [await Maildrop.open(account, room=room) for _ in range(10)]
    for number in range(1, 61):
        for maildrop in maildrops:
            assert await read(maildrop, number) == letters[number - 1]
            assert sum(one.ahead.octets for one in maildrops) == 200_000 - room.left <= 200_000
    for maildrop in maildrops:
        maildrop.close()
    assert room.left == 200_000


async def test_a_client_in_turn_asks_the_store_once_for_many(store, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await account_with(store, [b"%d" % number * 1000 for number in range(40)])
    asked = counted(account, monkeypatch)
    maildrop = await Maildrop.open(account, room=Room(PAGE))
    for number in range(1, 41):
        await read(maildrop, number)
    assert len(asked) == 1
    maildrop = await Maildrop.open(account)
    for number in range(1, 11):
        await read(maildrop, number)
    assert [len(uids) for uids in asked[1:]] == [1] * 10, "without room nothing is read ahead"


async def test_messages_that_are_marked_are_not_read(store, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await account_with(store, [b"%d" % number for number in range(10)])
    asked = counted(account, monkeypatch)
    maildrop = await Maildrop.open(account, room=Room(PAGE))
    for number in (2, 3, 10):
        maildrop.mark(number)
    assert await read(maildrop, 1) == b"0"
    assert asked == [[1, 4, 5, 6, 7, 8, 9]]


@pytest.mark.parametrize("page", [1, 7, 20, 1000])
async def test_the_snapshot_is_the_same_from_columns_and_from_rows(store, page: int) -> None:
    plain = await account_with(MemoryStore(Clock()), [b"x" * number for number in range(20)])
    listed = await account_with(store, [b"x" * number for number in range(20)])
    seen = []
    for account in (plain, listed):
        [inbox] = await account.mailboxes()
        await account.apply([Remove(inbox.id, [1, 5, 20])])
        await account.apply([SetFlags(inbox.id, [2, 9], add=frozenset({SEEN}))])
        drop = await Maildrop.open(account, page=page)
        for number in drop.numbers():
            drop.was_retrieved(number)
        sizes = [drop.size(number) for number in drop.numbers()]
        ids = [drop.unique_id(number).partition(".")[2] for number in drop.numbers()]
        seen.append((drop.count, drop.total, sizes, ids, await drop.mark_seen()))
    assert seen[0] == seen[1]
    assert seen[0][0] == 17 and seen[0][4] == 15


async def test_a_message_that_was_read_ahead_and_is_marked_then_is_not_sent(store) -> None:
    account = await account_with(store, [b"one\r\n", b"two\r\n", b"three\r\n"])
    words = [b"RETR 1\r\n", b"DELE 2\r\n", b"RETR 2\r\n", b"RETR 2\r\nRETR 3\r\n", b"RSET\r\n", b"RETR 2\r\n"]
    heard = told(account, *words)
    assert heard.splitlines() == [
        *(b"+OK 5 octets", b"one", b".", b"+OK Message 2 is marked"),
        *(b"-ERR There is no such message", b"-ERR There is no such message"),
        *(b"+OK 7 octets", b"three", b".", b"+OK 3 messages (17 octets)", b"+OK 5 octets", b"two", b"."),
    ]


async def test_a_large_message_is_never_held_as_a_whole(store, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = [b"small", b"large" * PAGE, b"small again"]
    account = await account_with(store, letters)
    asked = counted(account, monkeypatch)
    heard = told(account, b"RETR 1\r\nRETR 2\r\nRETR 3\r\n")
    assert heard == retrieved(letters)
    assert asked == [[1], [3]]


@pytest.mark.parametrize("octets", DOTS)
def test_a_whole_message_is_sent_as_one_that_comes_in_pieces(octets: bytes) -> None:
    for size in (1, 2, 3, 100):
        stuffer = DotStuffer()
        pieces = [stuffer.stuff(octets[at : at + size]) for at in range(0, len(octets), size)]
        said = b"+OK %d octets\r\n" % len(octets) + b"".join(pieces) + stuffer.finish()
        assert retrieved([octets, octets]) == said + said


LETTERS = [*DOTS, b"Subject: x\r\n\r\n" + b"line\r\n.\r\n" * 3000, b"big\r\n.\r\n" * 20_000, b"last\r\n"]
NUMBERS = st.integers(0, len(LETTERS) + 1)
WORDS = st.one_of(
    *[st.builds(lambda number: b"RETR %d" % number, NUMBERS)] * 4,
    st.builds(lambda number: b"retr %d" % number, NUMBERS),
    st.builds(lambda number: b"DELE %d" % number, NUMBERS),
    st.builds(lambda number, lines: b"TOP %d %d" % (number, lines), NUMBERS, st.integers(0, 3)),
    st.sampled_from(
        [b"NOOP", b"RSET", b"STAT", b"RETR", b"RETR 1 2", b"RETR  1", b"RETR 99999999999", b"LIST", b"\x07"]
    ),
)


@given(words=st.lists(WORDS, max_size=30), chop=st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_what_is_pipelined_is_answered_as_if_said_one_by_one(many, words: list[bytes], chop: int) -> None:
    plain, account = many
    expected = told(plain, *[word + b"\r\n" for word in words])
    said = b"".join(word + b"\r\n" for word in words)
    assert told(account, said) == expected
    assert told(account, *[said[at : at + chop] for at in range(0, len(said), chop)]) == expected


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory):
    """The same maildrop twice: in a store that reads one by one, and in one that reads many at once."""
    accounts = []

    async def fill() -> SQLiteStore:
        store = SQLiteStore(tmp_path_factory.mktemp("many"), reactor)
        accounts.append(await account_with(MemoryStore(Clock()), LETTERS))
        accounts.append(await account_with(store, LETTERS))
        return store

    store = pytest_twisted.blockon(Deferred.fromCoroutine(fill()))
    yield accounts
    pytest_twisted.blockon(Deferred.fromCoroutine(store.close()))


async def test_a_damaged_message_is_told_of_and_those_around_it_are_not(store, tmp_path: Path) -> None:
    letters = [b"letter %d\r\n" % number * 50 for number in range(20)]
    account = await account_with(store, letters)
    (segment,) = tmp_path.glob("segments/*.log")
    octets = bytearray(segment.read_bytes())
    octets[octets.index(b"letter 7") + 3] ^= 1
    segment.write_bytes(octets)
    heard = told(account, b"".join(b"RETR %d\r\n" % number for number in range(1, 21)))
    before, error, after = retrieved(letters[:7]), b"-ERR [SYS/TEMP] ", retrieved(letters[8:])
    assert heard.startswith(before + error) and heard.endswith(b"\r\n" + after)
    assert heard.count(b"-ERR") == 1 and len(heard) < len(before) + len(after) + 200


async def test_a_store_in_trouble_is_told_of_once_for_each_message(store, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await account_with(store, [b"one\r\n", b"two\r\n"])

    async def bodies(mailbox_id, uids):
        raise Unavailable("the disk is on fire")

    monkeypatch.setattr(account, "bodies", bodies)
    heard = told(account, b"RETR 1\r\nRETR 3\r\nRETR 2\r\nNOOP\r\n")
    assert [line[:15] for line in heard.splitlines()] == [
        b"-ERR [SYS/TEMP]",
        b"-ERR There is n",
        b"-ERR [SYS/TEMP]",
        b"+OK",
    ]


async def test_messages_that_a_slow_client_does_not_read_are_not_read_either(
    store, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await account_with(store, [b"0123456789abcdef" * 1000] * 100)
    asked = counted(account, monkeypatch)
    client = Client(account)
    client.transport.send(b"".join(b"RETR %d\r\n" % number for number in range(1, 101)))
    assert client.transport.unread() < 3 * PAGE
    assert sum(map(len, asked)) < 20
    assert len(client.take()) == 100 * len(b"+OK 16000 octets\r\n" + b"\r\n.\r\n") + 1_600_000
    client.drop()


def counted(account, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    asked: list[list[int]] = []
    bodies = account.bodies

    async def noted(mailbox_id, uids):
        asked.append(list(uids))
        return await bodies(mailbox_id, uids)

    monkeypatch.setattr(account, "bodies", noted)
    return asked


class Client:
    """One that reads when it likes."""

    def __init__(self, account) -> None:
        doorkeeper = FakeAuthenticator({"joe": ("secret", account)})
        self.clock = Clock()
        factory = make_factory("mx.example.org", doorkeeper, None, POP3Settings(errors=1000), self.clock)
        self.transport = MemoryTransport()
        self.transport.connect(factory.buildProtocol(self.transport.peer))
        self.transport.send(b"USER joe\r\nPASS secret\r\n")
        self.take()

    def take(self) -> bytes:
        """All that is said, one bufferful after the other."""
        heard = b""
        while octets := self.transport.take():
            heard += octets
            self.clock.advance(0)
        return heard

    def drop(self) -> None:
        self.transport.drop()
        self.transport.turn()


def told(account, *words: bytes) -> bytes:
    """What the server answers to words that come one after the other."""
    client = Client(account)
    heard = b""
    for octets in words:
        client.transport.send(octets)
        heard += client.take()
    client.drop()
    return heard
