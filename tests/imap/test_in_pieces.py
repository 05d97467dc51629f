"""Commands on many messages are done in pieces, and answered as if they were one."""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mail_kit.errors import OverQuota
from twisted_mail_kit.imap import matching, packed, view
from twisted_mail_kit.imap.commands import close, copy, search, select, store
from twisted_mail_kit.interfaces import Copy, CreateMailbox, DeleteMailbox, Remove, SetFlags


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (close, copy, store):
        monkeypatch.setattr(module, "AT_ONCE", 2)
    for module in (close, matching, packed, search, select):
        monkeypatch.setattr(module, "SLICE", 2)
    monkeypatch.setattr(view, "_PIECE", 2)


@pytest.fixture
def client(world: Any, make_message: Any) -> Any:
    """Seven messages, and an empty mailbox."""
    for number in range(4, 8):
        world.deliver(make_message(number))
    world.apply(CreateMailbox(("Other",)))
    client = world.client()
    client.ok("SELECT INBOX")
    return client


def test_copy_tells_all_uids_in_one_answer(client: Any) -> None:
    (line,) = client.do("COPY 2:6 Other")[-1:]
    assert line.startswith(b"OK [COPYUID ") and line.endswith(b" 2:3,4:5,6 1:2,3:4,5] COPY completed")


@pytest.mark.parametrize("problem", [OverQuota("full"), ValueError("surprise")])
def test_a_copy_that_fails_halfway_leaves_nothing_behind(client: Any, world: Any, problem: Exception) -> None:
    really, done = world.joe.apply, []

    async def apply(ops: Any, *args: Any) -> Any:
        if isinstance(ops[0], Copy) and len(done) == 2:
            raise problem
        done.append(ops)
        return await really(ops, *args)

    world.joe.apply = apply
    client.refused("COPY 1:7 Other", b"OVERQUOTA" if isinstance(problem, OverQuota) else b"SERVERBUG")
    assert len(done) == 4
    world.joe.apply = really
    assert client.ok("STATUS Other (MESSAGES)") == [b"* STATUS Other (MESSAGES 0)"]
    world.log_errors()


def test_a_copy_whose_target_goes_halfway_says_trycreate(client: Any, world: Any) -> None:
    really, done = world.joe.apply, []
    other = next(box.id for box in world.joe.mailboxes_by_id.values() if box.name == ("Other",))

    async def apply(ops: Any, *args: Any) -> Any:
        done.append(ops)
        if len(done) == 2:
            await really([DeleteMailbox(other)])
        return await really(ops, *args)

    world.joe.apply = apply
    client.refused("COPY 1:7 Other", b"TRYCREATE")


def test_move_tells_what_went_where_before_it_is_gone(client: Any) -> None:
    lines = client.do("MOVE 1:5 Other")
    told = [line.partition(b"COPYUID ")[2].partition(b" ")[2] for line in lines if b"COPYUID" in line]
    assert told == [b"1:2 1:2] Moved", b"3:4 3:4] Moved", b"5 5] Moved"]
    assert lines[3:] == [b"* %d EXPUNGE" % number for number in (5, 4, 3, 2, 1)] + [b"OK MOVE completed"]


def test_store_says_all_that_it_has_refused(client: Any, world: Any) -> None:
    modseq = max(row.modseq for row in world.joe.rows[world.mailbox_id].values())
    world.apply(SetFlags(world.mailbox_id, [2, 3, 6], add=frozenset({"\\Flagged"})))
    lines = client.do(f"STORE 1:7 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)")
    assert lines[-1] == b"OK [MODIFIED 2:3,6] Conditional STORE failed for some"
    assert [line.split()[1] for line in lines if b"\\Flagged" in line] == [b"2", b"3", b"6"]
    assert client.ok("SEARCH SEEN") == [b"* SEARCH 1 4 5 7"]


def test_a_silent_store_stays_silent_but_for_what_others_did(client: Any, world: Any) -> None:
    world.apply(SetFlags(world.mailbox_id, [5], add=frozenset({"\\Flagged"})))
    assert client.ok("STORE 1:* +FLAGS.SILENT (\\Seen)") == [b"* 5 FETCH (UID 5 FLAGS (\\Flagged \\Seen \\Recent))"]


def test_expunge_takes_all_that_are_marked_and_uid_expunge_only_those_that_are_named(client: Any) -> None:
    client.ok("STORE 1,3:7 +FLAGS.SILENT (\\Deleted)")
    assert client.ok("UID EXPUNGE 2:4,7") == [b"* 7 EXPUNGE", b"* 4 EXPUNGE", b"* 3 EXPUNGE"]
    assert client.ok("EXPUNGE") == [b"* 4 EXPUNGE", b"* 3 EXPUNGE", b"* 1 EXPUNGE"]
    assert client.ok("FETCH 1:* UID") == [b"* 1 FETCH (UID 2)"]


def test_news_come_in_pieces_and_add_up(client: Any, world: Any, make_message: Any) -> None:
    world.apply(Remove(world.mailbox_id, [1, 3, 4, 6]))
    world.apply(SetFlags(world.mailbox_id, [2, 5, 7], add=frozenset({"\\Seen", "word"})))
    world.deliver(make_message(8))
    assert client.ok("NOOP") == [
        b"* 6 EXPUNGE",
        b"* 4 EXPUNGE",
        b"* 3 EXPUNGE",
        b"* 1 EXPUNGE",
        b"* 4 EXISTS",
        b"* 4 RECENT",
        b"* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen word)",
        b"* OK [PERMANENTFLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen word \\*)] Flags that are kept",
        *[b"* %d FETCH (UID %d FLAGS (\\Seen word \\Recent))" % pair for pair in ((1, 2), (2, 5), (3, 7))],
    ]
    assert client.ok("NOOP") == []


def test_search_and_numbers_are_right_while_the_client_does_not_know_what_is_gone(client: Any, world: Any) -> None:
    world.apply(Remove(world.mailbox_id, [1, 4, 5]))
    client.ok("SEARCH ALL")  # the server looks for news, and may not tell of removals here
    assert client.ok("SEARCH 3:6") == [b"* SEARCH 3 6"]
    assert client.ok("SEARCH NOT 6") == [b"* SEARCH 2 3 7"]
    assert client.ok("SEARCH OR UID 2 1:*") == [b"* SEARCH 2 3 6 7"]
    client.refused("FETCH 1:3 UID", b"EXPUNGEISSUED")
    assert client.ok("FETCH 6:* UID") == [b"* 6 FETCH (UID 6)", b"* 7 FETCH (UID 7)"]
    lines = client.ok("UID SEARCH ALL")
    assert lines == [b"* SEARCH 2 3 6 7", b"* 5 EXPUNGE", b"* 4 EXPUNGE", b"* 1 EXPUNGE"]
    assert client.ok("SEARCH NOT 1") == [b"* SEARCH 2 3 4"]


def test_select_names_the_first_unseen_message_wherever_it_is(client: Any) -> None:
    client.ok("STORE 1:6 +FLAGS (\\Seen)")
    client.ok("UNSELECT")
    assert b"* OK [UNSEEN 7] The first unseen message" in client.ok("SELECT INBOX")
    client.ok("STORE 7 +FLAGS (\\Seen)")
    client.ok("UNSELECT")
    assert not [line for line in client.ok("SELECT INBOX") if b"UNSEEN" in line]
