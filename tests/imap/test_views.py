"""All open mailboxes together have a bound; those that nobody has selected go first."""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mail_kit.imap import views
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import Add, Copy, CreateMailbox, DeleteMailbox, SetFlags

EACH = 40


@pytest.fixture
def world(make_world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Joe has mailboxes A to E, of 40 messages each; up to 3 are a small one, and 100 messages have room."""
    monkeypatch.setattr(views, "SMALL", 3)
    monkeypatch.setattr(views, "LEFT_SHARE", 1)
    world = make_world(IMAPSettings(views=1024 * 1024))
    for name in "ABCDE":
        made = world.apply(CreateMailbox((name,))).results[0].id
        world.apply(*[Copy(world.mailbox_id, [1], made) for _ in range(EACH)])
    return world


def views_of(client: Any, most: int = 100) -> Any:
    bound = client.session.server.views
    bound.most = most * views.PACKED
    return bound


def model_of(client: Any) -> Any:
    return client.session.selected.model


def test_a_mailbox_that_was_left_is_there_for_who_comes_back(world: Any) -> None:
    client = world.client()
    bound = views_of(client)
    client.ok("SELECT A")
    left = model_of(client)
    client.ok("LOGOUT")
    assert bound.held == EACH * views.PACKED
    world.apply(SetFlags(left.mailbox.id, [2], add=frozenset({"\\Flagged"})))
    again = world.client()
    again.ok("SELECT A")
    assert model_of(again) is left
    assert b"* 2 FETCH (FLAGS (\\Flagged))" in again.ok("FETCH 2 FLAGS")
    assert b"* 0 RECENT" in again.ok("EXAMINE A")


def test_those_that_nobody_has_selected_go_first(world: Any) -> None:
    one, two = world.client(), world.client()
    bound = views_of(one)
    one.ok("SELECT A")
    staying = model_of(one)
    two.ok("SELECT B")
    two.ok("SELECT C")  # B was left, and goes
    assert bound.held == 2 * EACH * views.PACKED
    two.ok("SELECT D")
    assert bound.held == 2 * EACH * views.PACKED
    assert model_of(one) is staying and one.ok("FETCH 40 UID") == [b"* 40 FETCH (UID 40)"]
    two.ok("LOGOUT")
    one.ok("LOGOUT")
    assert bound.held == 2 * EACH * views.PACKED


def test_a_select_that_has_no_room_is_refused_until_somebody_leaves(world: Any) -> None:
    one, two, three = world.client(), world.client(), world.client()
    views_of(one)
    one.ok("SELECT A")
    two.ok("SELECT B")
    three.refused("SELECT C", b"UNAVAILABLE")
    assert three.session.selected is None
    three.ok("SELECT A")  # open already: it costs nothing
    three.ok("SELECT INBOX")  # a small one is always opened
    two.ok("UNSELECT")
    three.ok("SELECT C")


def test_a_mailbox_that_is_greater_than_all_room_is_refused_for_good(world: Any) -> None:
    client = world.client()
    bound = views_of(client, most=EACH - 1)
    client.refused("SELECT A", b"LIMIT")
    assert bound.held == 0
    bound.most += views.PACKED
    client.ok("SELECT A")


def test_an_open_mailbox_that_grows_counts_and_makes_others_go(world: Any, make_message: Any) -> None:
    one, two = world.client(), world.client()
    bound = views_of(one)
    one.ok("SELECT A")
    two.ok("SELECT B")
    two.ok("LOGOUT")
    row = world.joe.rows[model_of(one).mailbox.id][1]
    world.apply(*[Add(row.mailbox_id, row.blob_id, 1) for _ in range(30)])
    one.ok("NOOP")
    assert bound.held == (EACH + 30) * views.PACKED, "B had to go"
    one.ok("LOGOUT")
    assert bound.held == (EACH + 30) * views.PACKED


def test_a_mailbox_that_is_deleted_is_not_kept(world: Any) -> None:
    client = world.client()
    bound = views_of(client)
    client.ok("SELECT A")
    world.apply(DeleteMailbox(model_of(client).mailbox.id))
    client.do("NOOP")
    assert bound.held == 0


def test_another_mailbox_of_the_same_id_is_not_taken_for_the_one_that_was_left(world: Any) -> None:
    client = world.client()
    bound = views_of(client)
    client.ok("SELECT A")
    left = model_of(client)
    client.ok("UNSELECT")
    left.mailbox = left.mailbox._replace(uidvalidity=left.mailbox.uidvalidity + 7)
    client.ok("SELECT A")
    assert model_of(client) is not left
    assert bound.held == EACH * views.PACKED


def test_one_with_very_many_sets_of_flags_is_not_kept(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "FLAG_SETS", 2)
    client = world.client()
    bound = views_of(client)
    client.ok("SELECT A")
    client.ok("STORE 1 +FLAGS (a)")
    client.ok("STORE 2 +FLAGS (b)")
    client.ok("UNSELECT")
    assert bound.held == 0
