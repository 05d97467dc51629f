"""The shared mailbox in memory keeps up with the store, whatever the store does."""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mail_kit.errors import StateTooOld, Unavailable
from twisted_mail_kit.imap import model as model_module
from twisted_mail_kit.interfaces import Remove, SetFlags


def open_model(client: Any) -> Any:
    return client.session.selected.model


def test_sessions_share_one_model_and_the_last_one_takes_it_along(world: Any) -> None:
    one, two = world.client(), world.client()
    one.ok("SELECT INBOX")
    two.ok("SELECT INBOX")
    assert open_model(one) is open_model(two)
    home = one.session.home
    one.ok("UNSELECT")
    assert len(home.open) == 1
    two.ok("LOGOUT")
    assert not home.open


def test_a_store_that_has_forgotten_is_read_from_the_beginning(world: Any, make_message: Any) -> None:
    client = world.client()
    client.ok("SELECT INBOX")
    client.ok("FETCH 1:* FLAGS")
    world.apply(Remove(world.mailbox_id, [1]), SetFlags(world.mailbox_id, [3], add=frozenset({"\\Seen"})))
    world.deliver(make_message(4))
    real = world.joe.changes
    asked = []

    async def changes(since: int, *args: Any, **more: Any) -> Any:
        asked.append(since)
        if len(asked) == 1:
            raise StateTooOld("forgotten")
        return await real(since, *args, **more)

    world.joe.changes = changes
    assert client.ok("NOOP") == [
        b"* 1 EXPUNGE",
        b"* 3 EXISTS",
        b"* 3 RECENT",
        b"* 2 FETCH (UID 3 FLAGS (\\Seen \\Recent))",
    ]
    assert len(asked) == 2


def test_changes_come_in_pages(world: Any, make_message: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_PAGE", 2)
    client = world.client()
    client.ok("SELECT INBOX")
    uids = [world.deliver(make_message(number)) for number in range(7)]
    world.apply(SetFlags(world.mailbox_id, uids[:2], add=frozenset({"\\Seen"})))
    assert client.ok("NOOP") == [b"* 10 EXISTS", b"* 10 RECENT"]
    assert [line.split()[4] for line in client.ok("FETCH 1:* UID")] == [b"%d)" % uid for uid in range(1, 11)]
    assert client.ok("SEARCH SEEN") == [b"* SEARCH 4 5"]


def test_a_laggard_does_not_make_the_log_grow(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_LONGEST_LOG", 10)
    laggard, busy = world.client(), world.client()
    laggard.ok("SELECT INBOX")
    busy.ok("SELECT INBOX")
    for number in range(100):
        busy.ok(f"STORE 2 {'+-'[number % 2]}FLAGS (\\Seen)")
        assert len(open_model(busy).log) <= 11
    busy.ok("STORE 2 +FLAGS (\\Deleted)")
    busy.ok("EXPUNGE")
    assert laggard.ok("NOOP") == [b"* 2 EXPUNGE"]


def test_a_store_in_trouble_costs_no_command(world: Any) -> None:
    client = world.client()
    client.ok("SELECT INBOX")

    async def state() -> int:
        raise Unavailable("the disk")

    real, world.joe.state = world.joe.state, state
    assert client.ok("NOOP") == []
    client.refused("STATUS INBOX (MESSAGES)", b"UNAVAILABLE")
    world.joe.state = real
    assert client.ok("NOOP") == []
    assert len(world.log_errors()) == 3


def test_recent_is_told_to_one_session_only(world: Any, make_message: Any) -> None:
    one, two, reader = world.client(), world.client(), world.client()
    assert b"* 3 RECENT" in reader.ok("EXAMINE INBOX")
    assert b"* 3 RECENT" in one.ok("SELECT INBOX")
    assert b"* 0 RECENT" in two.ok("SELECT INBOX")
    world.deliver(make_message(4))
    assert two.ok("NOOP") == [b"* 4 EXISTS", b"* 1 RECENT"]
    assert one.ok("NOOP") == [b"* 4 EXISTS"]
    assert two.ok("SEARCH RECENT") == [b"* SEARCH 4"]
    assert one.ok("SEARCH RECENT") == [b"* SEARCH 1 2 3"]
    for client in (one, two, reader):
        client.ok("UNSELECT")
    assert b"* 0 RECENT" in one.ok("SELECT INBOX")
    assert one.ok("STATUS INBOX (RECENT)") == [b"* STATUS INBOX (RECENT 0)"]
    world.deliver(make_message(5))
    assert two.ok("STATUS INBOX (RECENT)") == [b"* STATUS INBOX (RECENT 1)"]


def test_keywords_are_the_same_in_any_case(world: Any) -> None:
    client = world.client()
    client.ok("SELECT INBOX")
    client.ok("STORE 1 +FLAGS (Key)")
    assert client.ok("STORE 2 +FLAGS (kEY)") == [b"* 2 FETCH (FLAGS (Key \\Recent))"]
    assert client.ok("STORE 1 -FLAGS (KEY)") == [b"* 1 FETCH (FLAGS (\\Recent))"]
