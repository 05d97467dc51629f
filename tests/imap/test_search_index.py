"""SEARCH with an index says what SEARCH says without one, whatever becomes of its files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.imap.mails import KEYS, NEEDLES, messages
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.imap.factory import make_factory
from twisted_mail_kit.imap.index import indexes, tail
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import CreateMailbox, DeleteMailbox, Remove


def ask(client: Any, key: str, text: str) -> list[bytes]:
    octets = text.encode("utf-8")
    return client.ok(b"UID SEARCH CHARSET UTF-8 %b {%d+}\r\n%b" % (key.encode(), len(octets), octets))


class Indexed:
    """Sessions over a world's store that keep an index; any number of messages is enough for one."""

    def __init__(self, world: Any, folder: Path | None = None, **more: Any) -> None:
        self.world = world
        self.serve(folder, **more)

    def serve(self, folder: Path | None, **more: Any) -> None:
        """As another process would."""
        world = self.world
        world.factory = make_factory(
            "imap.example.org",
            world.authenticator,
            None,
            IMAPSettings(**more),
            world.clock,
            world.watch,
            index_folder=folder,
        )
        self.client = world.client()
        self.server = self.client.session.server
        self.client.ok("EXAMINE INBOX")

    @property
    def indexes(self) -> indexes.Indexes:
        return self.server.indexes

    @property
    def index(self) -> Any:
        """The one that was used last."""
        return list(self.indexes._indexes.values())[-1]

    def learn(self) -> None:
        """Search, and wait until all is learned."""
        for _ in range(2):
            self.client.ok("SEARCH TEXT harbour")
        for _ in range(1000):
            if not self.indexes._is_learning:
                return
            self.world.clock.advance(indexes.PAUSE)
        raise AssertionError("it learns and learns")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few messages are enough for an index, and for a block."""
    monkeypatch.setattr(indexes, "FEW", 1)
    monkeypatch.setattr(tail, "FULL", 4)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[str]]:
    """Notes whose octets are read."""

    def note(world: Any) -> list[str]:
        noted: list[str] = []
        before = world.joe.read_blob

        async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
            noted.append(blob_id)
            return await before(blob_id, offset, size)

        monkeypatch.setattr(world.joe, "read_blob", read_blob, raising=False)
        return noted

    return note


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "search"


def blocks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.block"))


def fill(world: Any, count: int = 12) -> None:
    for number in range(count):
        world.deliver(b"Subject: about %d\r\n\r\nthe word%d lies in the harbour\r\n" % (number, number))


pairs = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(NEEDLES)), min_size=10, max_size=20)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(mails=st.lists(messages(), min_size=1, max_size=6), reads_many=st.booleans(), later=messages(), asked=pairs)
def test_with_an_index_is_found_what_is_found(
    make_world: Any, small: None, tmp_path_factory: Any, mails: list[bytes], reads_many: bool, later: bytes, asked: Any
) -> None:
    plain, world = make_world(), make_world(reads_many=reads_many)
    folder = tmp_path_factory.mktemp("search") if reads_many else None
    without, indexed = Indexed(plain, search_memory=0), Indexed(world, folder)
    for mail in mails:
        plain.deliver(mail)
        world.deliver(mail)
    for client in (without.client, indexed.client):
        client.ok("NOOP")
    indexed.learn()
    for one in (plain, world):
        one.deliver(later)  # this one is in no index
        one.apply(Remove(one.mailbox_id, [2]))
    for client in (without.client, indexed.client):
        client.ok("NOOP")
    for key, needle in asked:
        assert ask(indexed.client, key, needle) == ask(without.client, key, needle), (key, needle, mails)
    assert not world.log_errors()


@pytest.mark.parametrize("reads_many", [False, True])
def test_what_cannot_hold_a_word_is_not_read(
    make_world: Any, small: None, files: Path, read: Any, reads_many: bool
) -> None:
    world = make_world(reads_many=reads_many)
    fill(world)
    indexed = Indexed(world, files)
    noted = read(world)
    indexed.learn()
    assert noted
    assert len(indexed.index.blocks) == 3
    assert len(indexed.index.tail.uids) == 3
    for key, found in (
        ("TEXT word7", b"11"),
        ("BODY WORD7", b"11"),
        ("BODY word11", b"15"),
        ('BODY "word7 lies"', b"11"),
        ("HEADER Subject abou OR TEXT word7 TEXT word9", b"11 13"),
    ):
        noted.clear()
        assert indexed.client.ok(f"UID SEARCH {key}") == [b"* SEARCH " + found]
        assert len(set(noted)) == len(found.split()), key
    noted.clear()
    assert indexed.client.ok("UID SEARCH NOT TEXT word7") == [b"* SEARCH 1 2 3 4 5 6 7 8 9 10 12 13 14 15"]
    assert len(set(noted)) == 1
    noted.clear()
    assert indexed.client.ok("UID SEARCH NOT TEXT zebra TEXT kittiwake") == [b"* SEARCH"]
    assert indexed.client.ok("UID SEARCH HEADER X-Spam yes") == [b"* SEARCH"]
    assert not noted


def test_new_mail_is_found_before_and_after_it_is_learned(make_world: Any, small: None, files: Path) -> None:
    world = make_world(reads_many=True)
    indexed = Indexed(world, files)
    indexed.learn()
    for count in range(10):
        uid = world.deliver(b"Subject: new\r\n\r\na kittiwake\r\n")
        indexed.client.ok("NOOP")
        uids = b" ".join(b"%d" % one for one in range(4, uid + 1))
        assert indexed.client.ok("UID SEARCH BODY kittiwake") == [b"* SEARCH " + uids]
        if count % 3:
            indexed.learn()
            assert indexed.index.known_to == uid
        assert indexed.client.ok("UID SEARCH BODY kittiwake") == [b"* SEARCH " + uids]


def test_what_was_learned_is_there_after_a_restart(make_world: Any, small: None, files: Path, read: Any) -> None:
    world = make_world()
    fill(world)
    Indexed(world, files).learn()
    (folder,) = files.iterdir()
    assert {stat.S_IMODE(one.stat().st_mode) for one in (files, folder)} == {0o700}
    assert {stat.S_IMODE(one.stat().st_mode) for one in blocks(files)} == {0o600}
    assert "joe" not in str(folder)
    again = Indexed(world, files)
    noted = read(world)
    assert again.client.ok("UID SEARCH BODY word7") == [b"* SEARCH 11"]
    # The three newest were in the tail, which is in memory.
    assert len(set(noted)) == 4
    assert len(again.index.blocks) == 3


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "nonsense": lambda file: file.write_bytes(os.urandom(5000)),
    "its head only": lambda file: os.truncate(file, 36),
    "half of it": lambda file: os.truncate(file, file.stat().st_size // 2),
    "its last octet": lambda file: os.truncate(file, file.stat().st_size - 1),
    "gone": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "not to be read": lambda file: (file.unlink(), file.symlink_to("nowhere")),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "another form": lambda file: file.write_bytes(b"TMK0" + file.read_bytes()[4:]),
    "pages of another": lambda file: file.write_bytes(
        file.read_bytes()[:100] + blocks(file.parents[1])[1].read_bytes()[100:]
    ),
}


@pytest.mark.parametrize("is_open", [True, False], ids=["while it is used", "at a restart"])
@pytest.mark.parametrize("what", DAMAGE)
def test_a_file_that_is_damaged_is_made_anew(
    make_world: Any, small: None, files: Path, what: str, is_open: bool
) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.learn()
    DAMAGE[what](blocks(files)[0])
    if not is_open:
        indexed = Indexed(world, files)
    for _ in range(3):
        assert indexed.client.ok("UID SEARCH BODY word0") == [b"* SEARCH 4"]
        assert indexed.client.ok("UID SEARCH BODY about") == [b"* SEARCH"]
        assert indexed.client.ok("UID SEARCH NOT BODY harbour") == [b"* SEARCH 1 2 3"]
        indexed.learn()
    assert not indexed.index.open
    assert not world.log_errors()


def test_every_octet_of_a_file_is_held_against_a_checksum(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.learn()
    file = blocks(files)[1]
    octets = file.read_bytes()
    size = len(octets)
    for place in (*range(0, 140, 7), *range(140, size, size // 50), size - 1):
        file.write_bytes(octets[:place] + bytes([octets[place] ^ 0x10]) + octets[place + 1 :])
        indexed = Indexed(world, files)
        for number in (0, 3, 5, 9):
            assert indexed.client.ok(f"UID SEARCH BODY word{number}x") == [b"* SEARCH"]
            assert indexed.client.ok(f"UID SEARCH BODY word{number}") == [b"* SEARCH %d" % (number + 4)]
        file.parent.mkdir(exist_ok=True)


def test_a_file_of_another_mailbox_is_not_believed(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.learn()
    other = make_world()
    fill(other)
    other.joe.name = "ann"
    there = files.with_name("there")
    foreign = Indexed(other, there)
    foreign.learn()
    assert {one.parent.name for one in blocks(files)}.isdisjoint(one.parent.name for one in blocks(there))
    for mine, its in zip(blocks(files), blocks(there), strict=True):
        shutil.copy(its, mine)
    world.deliver(b"Subject: x\r\n\r\nword0\r\n")
    again = Indexed(world, files)
    assert again.client.ok("UID SEARCH BODY word0") == [b"* SEARCH 4 16"]
    assert not again.index.blocks


def test_a_store_that_was_put_back_is_not_searched_by_what_it_was(make_world: Any, small: None, files: Path) -> None:
    first, second = make_world(), make_world()
    fill(first)
    indexed = Indexed(first, files)
    indexed.learn()
    assert blocks(files)
    # The same account, mailbox, UIDVALIDITY and UIDs, and other messages.
    for number in range(12):
        second.deliver(b"Subject: other\r\n\r\nkittiwake %d, and more\r\n" % number)
    ours, its = (world.client().ok("STATUS INBOX (UIDVALIDITY)") for world in (first, second))
    assert ours == its
    again = Indexed(second, files)
    assert again.client.ok("UID SEARCH BODY kittiwake") == [b"* SEARCH " + b" ".join(b"%d" % n for n in range(4, 16))]
    again.learn()
    assert again.client.ok("UID SEARCH BODY harbour") == [b"* SEARCH"]


def test_a_mailbox_that_was_deleted_and_made_again_begins_anew(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    indexed = Indexed(world, files)
    seen = set()
    for word in (b"kittiwake", b"puffin"):
        (mailbox,) = world.apply(CreateMailbox(("Birds",))).results
        for _ in range(5):
            assert indexed.client.append(b"Subject: x\r\n\r\na %b\r\n" % word, "Birds")[-1].startswith(b"OK")
        indexed.client.ok("EXAMINE Birds")
        indexed.learn()
        seen.add(indexed.index.identity)
        assert indexed.client.ok(b"UID SEARCH BODY " + word) == [b"* SEARCH 1 2 3 4 5"]
        assert indexed.client.ok(b"UID SEARCH NOT BODY kittiwake") == [
            b"* SEARCH" + b" 1 2 3 4 5" * (word == b"puffin")
        ]
        indexed.client.ok("UNSELECT")
        world.apply(DeleteMailbox(mailbox.id))
    assert len(seen) == 2


def test_what_tells_of_expunged_mail_goes_with_the_next_start(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world)
    Indexed(world, files).learn()
    first, second, third = blocks(files)
    assert [one.name[:21] for one in (first, second, third)] == [f"{low:010}-{low + 3:010}" for low in (1, 5, 9)]
    world.apply(Remove(world.mailbox_id, [1, 2, 3, 5]))
    again = Indexed(world, files)
    assert again.client.ok("UID SEARCH TEXT word0") == [b"* SEARCH 4"]
    assert not first.exists()
    assert second.exists()
    again.learn()
    assert again.client.ok("UID SEARCH TEXT word0") == [b"* SEARCH 4"]
    assert not again.index.open


def test_a_small_mailbox_is_learned_when_it_is_searched_again(make_world: Any, small: None, files: Path) -> None:
    indexed = Indexed(make_world(), files)
    indexed.client.ok("SEARCH TEXT harbour")
    assert not indexed.indexes._is_learning
    indexed.client.ok("SEARCH TEXT harbour")
    assert indexed.indexes._is_learning


def test_few_messages_are_not_worth_an_index(make_world: Any) -> None:
    world = make_world()
    fill(world, indexes.FEW - 4)
    indexed = Indexed(world)
    indexed.learn()
    assert not indexed.indexes._indexes
    fill(world, 1)
    indexed.client.ok("NOOP")
    indexed.learn()
    assert indexed.index.known_to == indexes.FEW


def test_two_servers_with_one_folder_share_what_they_learn(
    make_world: Any, small: None, files: Path, read: Any
) -> None:
    world = make_world()
    one, other = Indexed(world, files), Indexed(world, files)
    fill(world)
    for each in (one, other):
        each.client.ok("NOOP")
        assert each.client.ok("UID SEARCH BODY word1") == [b"* SEARCH 5 14 15"]
    while other.indexes._is_learning or one.indexes._is_learning:
        world.clock.advance(indexes.PAUSE)
    for each in (one, other):
        assert each.client.ok("UID SEARCH BODY word1") == [b"* SEARCH 5 14 15"]
        assert not each.index.open
    fill(world)
    one.client.ok("NOOP")
    one.learn()
    other.client.ok("NOOP")
    noted = read(world)
    assert other.client.ok("UID SEARCH BODY word1") == [b"* SEARCH 5 14 15 17 26 27"]
    known = {uid for block in other.index.blocks.values() for uid in block.uids}
    assert len(known) == 24
    assert len(set(noted)) < 12


@pytest.mark.parametrize("full", [6, 4])
def test_what_another_server_knows_of_later_mail_is_no_news_of_ours(
    make_world: Any, small: None, files: Path, monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    monkeypatch.setattr(tail, "FULL", full)
    world = make_world()
    one, other = Indexed(world, files), Indexed(world, files)
    fill(world, 2)
    other.client.ok("NOOP")
    other.client.ok("SEARCH TEXT harbour")
    words = b" ".join(b"w%x" % (number * 0x9E3779B1 % 2**32) for number in range(40_000))
    world.deliver(b"Subject: too long for an index\r\n\r\n" + words + b" kittiwake\r\n")
    fill(world)
    one.client.ok("NOOP")
    one.learn()
    # It has not yet been told of any of these; their index is there already.
    assert other.client.ok("UID SEARCH BODY kittiwake")[0] == b"* SEARCH"
    assert other.client.ok("UID SEARCH BODY kittiwake") == [b"* SEARCH 6"]
    other.learn()
    assert other.client.ok("UID SEARCH BODY kittiwake") == [b"* SEARCH 6"]
    assert other.client.ok("UID SEARCH BODY word7") == [b"* SEARCH 14"]


def test_a_file_says_the_same_in_another_process(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.learn()
    program = (
        "import sys; from pathlib import Path\n"
        "from twisted_mail_kit.imap.index.block import Block\n"
        "from twisted_mail_kit.imap.index.codes import asked\n"
        "block = Block(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))\n"
        "with block.looking() as find: print(*sorted(find(asked('word3')[0])))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(blocks(files)[1]), indexed.index.identity.hex()],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert answer.stdout == b"7\n"


def test_a_session_that_leaves_ends_the_learning(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.client.ok("SEARCH TEXT harbour")
    indexed.client.ok("LOGOUT")
    world.clock.advance(indexes.PAUSE)
    assert not indexed.indexes._is_learning
    assert not indexed.index.known_to
    assert not world.log_errors()


def test_a_large_mailbox_does_not_keep_others_waiting(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world, 40)
    one = Indexed(world, files)
    world.apply(CreateMailbox(("Small",)))
    for number in range(6):
        one.client.append(b"Subject: x\r\n\r\nword %d\r\n" % number, "Small")
    other = world.client()
    other.ok("EXAMINE Small")
    one.client.ok("SEARCH TEXT harbour")
    other.ok("SEARCH TEXT harbour")
    learned = []
    while one.indexes._is_learning:
        world.clock.advance(indexes.PAUSE)
        learned.append(sorted(index.known_to for index in one.indexes._indexes.values()))
    assert learned[-1] == [6, 43]
    assert any(small == 6 < large < 43 for small, large in learned)


def test_a_store_that_fails_meanwhile_is_asked_again_by_the_next_search(
    make_world: Any, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world)
    indexed.client.ok("SEARCH SEEN")
    before = world.joe.read_blob

    async def fails(*asked: Any) -> bytes:
        raise Unavailable("not now")

    indexed.client.ok("SEARCH TEXT harbour")
    monkeypatch.setattr(world.joe, "read_blob", fails, raising=False)
    world.clock.advance(indexes.PAUSE)
    assert len(world.log_errors()) == 1
    assert not indexed.indexes._is_learning
    monkeypatch.setattr(world.joe, "read_blob", before)
    indexed.learn()
    assert indexed.index.known_to == 15


def test_a_message_that_is_too_long_for_an_index_is_found_all_the_same(make_world: Any, small: None, read: Any) -> None:
    world = make_world()
    words = b" ".join(b"w%x" % (number * 0x9E3779B1 % 2**32) for number in range(40_000))
    world.deliver(b"Subject: long\r\n\r\n" + words + b" kittiwake\r\n")
    world.deliver(b"Subject: an endless word\r\n\r\n" + b"ab\xc3\xa4c" * 30_000 + b"kittiwake" + b"cdeX" * 20_000)
    indexed = Indexed(world)
    indexed.learn()
    assert indexed.index.unreadable == {4}
    assert indexed.client.ok("UID SEARCH BODY kittiwake") == [b"* SEARCH 4 5"]
    noted = read(world)
    assert indexed.client.ok("UID SEARCH BODY puffin") == [b"* SEARCH"]
    assert len(set(noted)) == 1


def test_indexes_hold_no_more_memory_than_is_set(make_world: Any, small: None) -> None:
    world = make_world()
    indexed = Indexed(world, search_memory=400_000)
    for number in range(8):
        name = f"Box{number}"
        world.apply(CreateMailbox((name,)))
        for one in range(20):
            indexed.client.append(b"Subject: x\r\n\r\nbird %d in %d\r\n" % (one, number), name)
        indexed.client.ok(f"EXAMINE {name}")
        indexed.learn()
        assert indexed.client.ok("UID SEARCH BODY bird NOT BODY in") == [b"* SEARCH"]
        assert indexed.client.ok(f'UID SEARCH BODY "bird 7 in {number}"') == [b"* SEARCH 8"]
        assert indexed.indexes.octets <= 450_000
    assert 1 < len(indexed.indexes._indexes) < 8


def test_one_mailbox_alone_holds_no_more_than_is_set(make_world: Any, small: None) -> None:
    world = make_world()
    fill(world, 40)
    indexed = Indexed(world, search_memory=100_000)
    indexed.learn()
    assert 0 < indexed.index.known_to < 43
    assert indexed.indexes.octets <= 150_000
    assert indexed.client.ok("UID SEARCH BODY word39") == [b"* SEARCH 43"]


def test_files_have_no_more_room_than_is_set(
    make_world: Any, small: None, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "_SWEEP", 2)
    world = make_world()
    indexed = Indexed(world, files, search_disk=50_000)
    for number in range(6):
        name = f"Box{number}"
        world.apply(CreateMailbox((name,)))
        for one in range(8):
            indexed.client.append(b"Subject: x\r\n\r\nbird %d\r\n" % one, name)
        indexed.client.ok(f"EXAMINE {name}")
        indexed.learn()
        for folder in files.iterdir():
            os.utime(folder, (world.clock.seconds() + number - 10, world.clock.seconds() + number - 10))
        assert indexed.client.ok("UID SEARCH BODY bird NOT BODY 3") == [b"* SEARCH 1 2 3 5 6 7 8"]
    assert sum(one.stat().st_size for one in blocks(files)) < 80_000
    assert not world.log_errors()


def test_an_index_that_nobody_uses_is_removed_after_a_month(make_world: Any, small: None, files: Path) -> None:
    world = make_world()
    fill(world)
    forgotten = files / "0123456789abcdef"
    forgotten.mkdir(parents=True)
    (forgotten / "x.block").write_bytes(b"x")
    os.utime(forgotten, (world.clock.seconds() - 31 * 86_400,) * 2)
    used = files / "123456789abcdef0"
    used.mkdir()
    for name, age in (("half.part", 7200), ("just now.part", 60)):
        (used / name).write_bytes(b"x")
        os.utime(used / name, (world.clock.seconds() - age,) * 2)
    os.utime(used, (world.clock.seconds() - 29 * 86_400,) * 2)
    indexed = Indexed(world, files)
    indexed.learn()
    assert not forgotten.exists()
    assert [one.name for one in used.iterdir()] == ["just now.part"]
    assert len(blocks(files)) == 3


def test_a_folder_that_cannot_be_written_is_told_once(make_world: Any, small: None, files: Path) -> None:
    files.write_bytes(b"a file stands here")
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.learn()
    assert len(indexed.index.blocks) == 3
    assert indexed.client.ok("UID SEARCH BODY word7") == [b"* SEARCH 11"]
    assert not world.log_errors()
    assert indexed.indexes._has_complained


def test_a_program_of_many_words_is_judged_too(make_world: Any, small: None, files: Path, read: Any) -> None:
    world = make_world()
    fill(world)
    indexed = Indexed(world, files)
    indexed.learn()
    noted = read(world)
    program = " ".join(f"OR HEADER Message-ID puffin{number}" for number in range(100)) + " BODY word7"
    assert indexed.client.ok("UID SEARCH " + program) == [b"* SEARCH 11"]
    assert len(set(noted)) <= 4  # word7's, and those in the tail
