"""Whatever several sessions do to one mailbox, each client's picture of it ends up as the store has it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap import matching, packed, session, turns, view
from twisted_mail_kit.imap.commands import close, copy, search, select, store

FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "key", "Other"]
FETCH = re.compile(rb"\* (\d+) FETCH \((?:UID (\d+) ?)?(?:FLAGS \(([^)]*)\) ?)?(?:MODSEQ \((\d+)\))?\)")


class Picture:
    """What a client makes of what it is told: for each message its UID and flags, where it knows them."""

    def __init__(self, client: Any, read_only: bool, condstore: bool) -> None:
        self.client = client
        self.read_only = read_only
        self.messages: list[dict[str, Any]] = []
        self.do(("EXAMINE" if read_only else "SELECT") + " INBOX" + (" (CONDSTORE)" if condstore else ""))
        self.do("FETCH 1:* FLAGS", may_expunge=False)

    def do(self, command: str, may_expunge: bool = True) -> bytes:
        *lines, last = self.client.do(command)
        for line in lines:
            self.hear(line, may_expunge)
        return last

    def hear(self, line: bytes, may_expunge: bool) -> None:
        words = line.split(b" ")
        if words[-1] == b"EXISTS":
            count = int(words[1])
            assert count >= len(self.messages), "EXISTS never takes away"
            self.messages += [{} for _ in range(count - len(self.messages))]
        elif words[-1] == b"EXPUNGE":
            assert may_expunge, "RFC 3501 7.4.1"
            del self.messages[int(words[1]) - 1]
        elif words[-1] == b"RECENT" and words[0] == b"*":
            assert int(words[1]) <= len(self.messages)
        elif b" FETCH " in line:
            found = FETCH.fullmatch(line)
            assert found, line
            message = self.messages[int(found[1]) - 1]
            if found[2]:
                assert message.setdefault("uid", int(found[2])) == int(found[2]), "a number means one message"
            if found[3] is not None:
                message["flags"] = {flag for flag in found[3].decode().split() if flag != "\\Recent"}
            if found[4]:
                message["modseq"] = int(found[4])

    def store(self, low: int, high: int, how: str, flag: str, silent: bool, by_uid: bool) -> None:
        if self.read_only or not self.messages:
            return
        if by_uid:
            low, high = sorted(message.get("uid", 1) for message in (self.messages[low], self.messages[high]))
        else:
            low, high = low + 1, high + 1
        if silent:
            for number, message in enumerate(self.messages, 1):
                key = message.get("uid", -1) if by_uid else number
                if low <= key <= high and "flags" in message:
                    old = message["flags"]
                    message["flags"] = old | {flag} if how == "+" else old - {flag} if how == "-" else {flag}
                elif by_uid and key == -1:
                    message.pop("flags", None)
        verb = "UID STORE" if by_uid else "STORE"
        item = f"{how}FLAGS{'.SILENT' if silent else ''}"
        self.do(f"{verb} {low}:{high} {item} ({flag})", may_expunge=by_uid)


actions = st.one_of(
    st.tuples(
        st.just("store"),
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from("+- "),
        st.sampled_from(FLAGS),
        st.booleans(),
        st.booleans(),
    ),
    st.tuples(
        st.just("fetch"),
        st.integers(0, 9),
        st.integers(0, 9),
        st.booleans(),
        st.sampled_from(["FLAGS", "(UID FLAGS)", "UID"]),
    ),
    st.tuples(
        st.just("store"),
        st.integers(0, 3),
        st.just(0),
        st.sampled_from("+-"),
        st.sampled_from(FLAGS[:2]),
        st.booleans(),
        st.just(False),
    ),
    st.tuples(st.just("append"), st.sampled_from(["", "(\\Deleted)", "(\\Seen key)"])),
    st.tuples(st.just("expunge")),
    st.tuples(st.just("uid expunge"), st.integers(1, 9)),
    st.tuples(st.just("noop")),
    st.tuples(st.just("idle")),
    st.tuples(st.just("search"), st.booleans()),
    st.tuples(st.just("move"), st.integers(0, 9)),
    st.tuples(st.just("copy"), st.integers(0, 9)),
    st.tuples(st.just("reselect")),
)


def play(picture: Picture, action: tuple[Any, ...], octets: bytes) -> None:
    count = len(picture.messages)
    verb, *rest = action
    if verb == "store" and count:
        picture.store(*sorted((rest[0] % count, rest[1] % count)), rest[2].strip(), rest[3], rest[4], rest[5])
    elif verb == "fetch" and count:
        low, high = sorted((rest[0] % count + 1, rest[1] % count + 1))
        if rest[2]:
            picture.do(f"UID FETCH {low}:* {rest[3]}")
        else:
            picture.do(f"FETCH {low}:{high} {rest[3]}", may_expunge=False)
    elif verb == "append":
        for line in picture.client.append(octets, flags=rest[0] + " " if rest[0] else "")[:-1]:
            picture.hear(line, True)
    elif verb == "expunge":
        picture.do("EXPUNGE")
    elif verb == "uid expunge":
        picture.do(f"UID EXPUNGE {rest[0]}:*")
    elif verb == "noop":
        picture.do("NOOP")
    elif verb == "idle":
        heard = picture.client.send(b"i IDLE\r\n") + picture.client.send(b"DONE\r\n")
        for line in heard.split(b"\r\n"):
            picture.hear(line, True)
    elif verb == "search":
        picture.do("UID SEARCH SEEN" if rest[0] else "SEARCH UNSEEN", may_expunge=rest[0])
    elif verb == "move" and count:
        picture.do(f"MOVE {rest[0] % count + 1} INBOX")
    elif verb == "copy" and count:
        picture.do(f"COPY {rest[0] % count + 1} INBOX")
    elif verb == "reselect":
        picture.messages.clear()
        picture.do("UNSELECT")
        picture.do("EXAMINE INBOX" if picture.read_only else "SELECT INBOX")
        picture.do("FETCH 1:* FLAGS", may_expunge=False)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), actions), min_size=8, max_size=50))
def test_every_picture_ends_as_the_store(make_world: Any, make_message: Any, steps: list[Any]) -> None:
    world = make_world()
    # One looks on with EXAMINE, one knows modseqs.
    pictures = [Picture(world.client(), number == 2, number == 1) for number in range(4)]
    for who, action in steps:
        play(pictures[who], action, make_message(9))
    world.client().ok("STATUS INBOX (MESSAGES)")
    for picture in pictures:
        picture.do("NOOP")
        rows = list(world.joe.rows[world.mailbox_id].values())
        assert len(picture.messages) == len(rows)
        for message, row in zip(picture.messages, rows, strict=True):
            assert message.get("uid", row.uid) == row.uid
            assert message.get("flags", set(row.flags)) == set(row.flags)
            assert message.get("modseq", row.modseq) <= row.modseq
    assert not world.log_errors()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), actions), max_size=30))
def test_an_idler_is_told_everything_at_once(make_world: Any, make_message: Any, steps: list[Any]) -> None:
    world = make_world()
    pictures = [Picture(world.client(), number == 2, number == 1) for number in range(4)]
    watcher = Picture(world.client(), True, False)
    assert watcher.client.send(b"i IDLE\r\n") == b"+ Idling\r\n"
    for who, action in steps:
        play(pictures[who], action, make_message(9))
        for line in watcher.client.hear().split(b"\r\n"):
            watcher.hear(line, True)
        rows = list(world.joe.rows[world.mailbox_id].values())
        assert len(watcher.messages) == len(rows)
        for message, row in zip(watcher.messages, rows, strict=True):
            assert message.get("flags", set(row.flags)) == set(row.flags)
    assert not world.log_errors()


class Eager(Picture):
    """Says its command and does not wait for the answer, while `is_eager`."""

    is_eager = False
    waits: bool | None = None
    """For an answer, in which EXPUNGE may come, or must not."""

    def do(self, command: str, may_expunge: bool = True) -> bytes:
        if not self.is_eager:
            return super().do(command, may_expunge)
        self.waits = may_expunge
        self.client.tags += 1
        self.client.transport.send(b"t%d %b\r\n" % (self.client.tags, command.encode()))
        return b""

    def hear_the_answer(self) -> None:
        if self.waits is None:
            return
        heard, tag = b"", b"\r\nt%d " % self.client.tags
        for _ in range(3000):
            heard += self.client.hear()
            if heard.endswith(b"\r\n") and tag in b"\r\n" + heard:
                break
        *lines, last = heard[:-2].split(b"\r\n")
        assert last.startswith(tag.lstrip()), heard
        for line in lines:
            self.hear(line, self.waits)
        self.waits = None


at_the_same_time = actions.filter(lambda action: action[0] not in ("append", "idle", "reselect"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), at_the_same_time), max_size=4), min_size=4, max_size=12))
def test_sessions_that_take_turns_within_their_commands_get_the_same_picture(
    make_world: Any, make_message: Any, rounds: list[list[Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (turns, session):
            patch.setattr(module, "TURN", -1.0)  # every piece ends a turn
        for module in (packed, matching, search, select, close):
            patch.setattr(module, "SLICE", 2)
        for module in (store, copy, close):
            patch.setattr(module, "AT_ONCE", 2)
        patch.setattr(view, "_PIECE", 1)
        world = make_world()
        pictures = [Eager(world.client(), number == 2, number == 1) for number in range(4)]
        for doing in rounds:
            world.deliver(make_message(9))
            for who, action in doing:
                pictures[who].is_eager = True
                if pictures[who].waits is None:
                    play(pictures[who], action, b"")
            for picture in pictures:
                picture.hear_the_answer()
                picture.is_eager = False
        for picture in pictures:
            picture.do("NOOP")
            rows = list(world.joe.rows[world.mailbox_id].values())
            assert len(picture.messages) == len(rows)
            for message, row in zip(picture.messages, rows, strict=True):
                assert message.get("uid", row.uid) == row.uid
                assert message.get("flags", set(row.flags)) == set(row.flags)
                assert message.get("modseq", row.modseq) <= row.modseq
        assert not world.log_errors()
