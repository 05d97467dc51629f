"""Dovecot and the Maildir++ store serve the same tree: one after the other, and at the same time."""

import random
import sys
import tempfile
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))
from dovecot_peer import Dovecot, picture
from our_server import Ours

pytestmark = pytest.mark.interop

LETTER = b"From: ann@example.org\r\nSubject: a letter\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nDear all,\r\n"
NAMES = ["Sent", "Sent/2024", "Entw\u00fcrfe", "R&D", "with space", "INBOX/below", "\u65e5\u672c\u8a9e"]


def letter(number):
    return LETTER + f"this is number {number}\r\n".encode() * (number + 1)


@pytest.fixture(scope="module")
def dovecot():
    # Not below pytest's own directory, which Dovecot's other users must not enter.
    with tempfile.TemporaryDirectory(prefix="mailkit-dovecot-", ignore_cleanup_errors=True) as top:
        server = Dovecot(Path(top))
        try:
            yield server
        finally:
            server.stop()
    wrong = [
        line for line in server.log().splitlines() if any(word in line for word in ("Error", "Panic", "Warning: "))
    ]
    assert not [line for line in wrong if "permissions for login" not in line and "signal 15" not in line], (
        "what Dovecot thinks of our tree"
    )


def furnish(dovecot, user):
    """Folders, flags, keywords, subscriptions, copies and holes between UIDs, all made by Dovecot."""
    client = dovecot.client(user)
    for name in NAMES:
        client.create_folder(name)
    for name in NAMES[::2]:
        client.subscribe_folder(name)
    for number in range(8):
        flags = [b"\\Seen", b"$Forwarded"] if number % 2 else [b"Custom", b"\\Flagged"]
        client.append("INBOX", letter(number), flags=flags)
    client.append("Sent/2024", letter(1), flags=[b"\\Draft", b"\\Answered"])
    client.select_folder("INBOX")
    client.delete_messages([2, 8])
    client.expunge()
    client.copy([3, 4], "Sent")
    client.move([5], "R&D")
    client.logout()
    for number in (20, 21):
        dovecot.deliver(letter(number), user)
    seen(dovecot, user)  # it has numbered them


def seen(server, user):
    client = server.client(user)
    try:
        return picture(client)
    finally:
        client.logout()


def change(client, name, number):
    """Add, flag, copy, move, remove: something of each."""
    client.append(name, letter(number), flags=[b"\\Answered", b"New%d" % (number % 3)])
    client.append("Sent", letter(number + 1))
    client.select_folder(name)
    uids = client.search()
    client.add_flags(uids[:2], [b"\\Flagged", b"$Junk"])
    client.remove_flags(uids[-2:], [b"\\Seen", b"\\Answered"])
    client.copy(uids[1:3], "with space")
    client.move(uids[:1], "Sent/2024")
    client.delete_messages(uids[1:2])
    client.expunge()


@pytest_twisted.ensureDeferred
async def test_what_dovecot_has_made_is_served_as_dovecot_serves_it(dovecot):
    await deferToThread(furnish, dovecot, "joe")
    theirs = await deferToThread(seen, dovecot, "joe")
    assert len(theirs) == len(NAMES) + 1 and len(theirs["INBOX"][3]) == 7
    async with Ours(dovecot.mail) as ours:
        assert await deferToThread(seen, ours, "joe") == theirs
    assert await deferToThread(seen, dovecot, "joe") == theirs, "and to look at it has changed nothing"


@pytest_twisted.ensureDeferred
async def test_what_we_change_is_served_by_dovecot_under_the_same_uids(dovecot):
    await deferToThread(furnish, dovecot, "ida")
    await deferToThread(seen, dovecot, "ida")

    def live(ours):
        client = ours.client("ida")
        change(client, "INBOX", 30)
        client.create_folder("Ours/\u00dcber")
        client.append("Ours/\u00dcber", letter(3), flags=[b"\\Seen", b"Mine"])
        client.subscribe_folder("Ours/\u00dcber")
        client.unsubscribe_folder("Sent")
        client.rename_folder("R&D", "Research")
        client.delete_folder("INBOX/below")
        client.logout()
        return seen(ours, "ida")

    async with Ours(dovecot.mail) as ours:
        made = await deferToThread(live, ours)
        assert await deferToThread(seen, dovecot, "ida") == made, "while we run"
    theirs = await deferToThread(seen, dovecot, "ida")
    assert theirs == made
    assert "Research" in theirs and "R&D" not in theirs and "INBOX/below" not in theirs
    assert theirs["Ours/\u00dcber"][2] and not theirs["Sent"][2]


@pytest_twisted.ensureDeferred
async def test_both_change_in_turn_and_see_the_same(dovecot):
    await deferToThread(furnish, dovecot, "eve")

    def live(ours):
        clients = [dovecot.client("eve"), ours.client("eve")]
        chance = random.Random(1)
        for turn in range(8):
            change(clients[turn % 2], chance.choice(["INBOX", "Sent", "with space"]), 40 + turn)
            if turn % 3 == 0:
                dovecot.deliver(letter(60 + turn), "eve")
            pictures = [seen(server, "eve") for server in (dovecot, ours)]
            assert pictures[0] == pictures[1], f"after turn {turn}"
        for client in clients:
            client.logout()

    async with Ours(dovecot.mail) as ours:
        await deferToThread(live, ours)


@pytest_twisted.ensureDeferred
async def test_both_at_the_same_time_lose_nothing_and_give_no_uid_twice(dovecot):
    await deferToThread(furnish, dovecot, "max")
    before = await deferToThread(seen, dovecot, "max")

    def add(server, start):
        client = server.client("max")
        told = [client.append("INBOX", letter(number % 7) + b"%d\r\n" % number) for number in range(start, start + 15)]
        client.select_folder("INBOX")
        for _ in range(5):
            client.add_flags(client.search(), [b"Seen%d" % start])
            client.noop()
        client.logout()
        return [int(one.split(b"APPENDUID ")[1].split()[1].rstrip(b"]")) for one in told]

    def deliver():
        for number in range(300, 310):
            dovecot.deliver(letter(1) + b"%d\r\n" % number, "max")

    async with Ours(dovecot.mail) as ours:
        begun = [deferToThread(add, dovecot, 100), deferToThread(add, ours, 200), deferToThread(deliver)]
        theirs, mine, _ = [await one for one in begun]
        pictures = [await deferToThread(seen, server, "max") for server in (ours, dovecot)]
    assert pictures[0] == pictures[1]
    assert not set(theirs) & set(mine)
    uids = pictures[0]["INBOX"][3]
    assert set(theirs) | set(mine) <= set(uids)
    assert len(uids) == len(before["INBOX"][3]) + 15 + 15 + 10
    assert all(uids[uid][3].rstrip().endswith(str(number).encode()) for number, uid in enumerate(mine, 200))


@pytest_twisted.ensureDeferred
async def test_an_index_that_is_lost_is_made_again_with_the_same_uids(dovecot):
    await deferToThread(furnish, dovecot, "amy")
    async with Ours(dovecot.mail) as ours:

        def live():
            client = ours.client("amy")
            change(client, "INBOX", 50)
            client.logout()

        await deferToThread(live)
        made = await deferToThread(seen, ours, "amy")
    for file in (dovecot.mail / "amy" / "mailkit").glob("index.sqlite*"):
        file.unlink()
    async with Ours(dovecot.mail) as ours:
        assert await deferToThread(seen, ours, "amy") == made
