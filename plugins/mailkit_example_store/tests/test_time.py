"""What time takes away, in a store that runs: the octets that no message has, and tokens."""

import pytest
import pytest_twisted
from mailkit_example_store.store import ExampleStore
from twisted.internet.task import Clock

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import Add, Copy, CreateMailbox, DeleteMailbox, Remove

HOUR, DAY = 3600, 24 * 3600


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    return ExampleStore(tmp_path, clock.seconds)


async def put_blobs(account, *names):
    blobs = {}
    for name in names:
        writer = account.new_blob()
        await writer.write(name.encode())
        blobs[name] = await writer.commit()
    return blobs


async def still_there(account, blobs):
    there = set()
    for name, blob in blobs.items():
        try:
            assert await account.read_blob(blob, 0, 100) == name.encode()
        except BlobNotFound:
            continue
        there.add(name)
    return there


@pytest_twisted.ensureDeferred
async def test_octets_go_when_no_message_has_had_them_for_a_day(store, clock):
    account = await store.open_account("alice", create=True)
    (box,) = await account.mailboxes()
    applied = await account.apply([CreateMailbox(("Going",))])
    going = applied.results[0].id
    blobs = await put_blobs(account, "removed", "kept", "copied", "in a deleted box", "added late", "never added")
    await account.apply([Add(box.id, blobs[name], 1) for name in ("removed", "kept", "copied")])
    await account.apply([Add(going, blobs["in a deleted box"], 1)])
    await account.apply([Copy(box.id, [3], box.id)])

    clock.advance(20 * HOUR)
    await account.apply([Add(box.id, blobs["added late"], 1)])
    clock.advance(20 * HOUR)
    await store.open_account("alice")
    assert await still_there(account, blobs) == set(blobs) - {"never added"}

    await account.apply([Remove(box.id, [1, 3]), DeleteMailbox(going)])
    clock.advance(20 * HOUR)
    await store.open_account("alice")
    assert await still_there(account, blobs) == set(blobs) - {"never added"}
    clock.advance(20 * HOUR)
    await store.open_account("alice")
    assert await still_there(account, blobs) == {"kept", "copied", "added late"}
    rows = store.db.execute("SELECT (SELECT count(*) FROM blob), count(DISTINCT blob) FROM piece").fetchone()
    assert rows == (3, 3), "no piece stays behind"

    # What was looked at once is looked at again when its last message goes.
    await account.apply([Remove(box.id, [2, 4])])
    clock.advance(30 * HOUR)
    with pytest.raises(Exception, match="nobody"):
        await store.open_account("nobody")
    await store.open_account("bob", create=True)
    assert await still_there(account, blobs) == {"added late"}
    await store.close()


@pytest_twisted.ensureDeferred
async def test_what_was_swept_cannot_be_added(store, clock):
    account = await store.open_account("alice", create=True)
    (box,) = await account.mailboxes()
    blobs = await put_blobs(account, "late")
    clock.advance(2 * DAY)
    await store.open_account("alice")
    with pytest.raises(BlobNotFound):
        await account.apply([Add(box.id, blobs["late"], 1)])
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_token_is_known_for_a_week_and_forgotten_then(store, clock):
    account = await store.open_account("alice", create=True)
    first = await account.apply([CreateMailbox(("One",))], token="t")
    clock.advance(7 * DAY)
    await store.open_account("alice")
    assert await account.apply([], token="t") == first._replace(replayed=True)
    clock.advance(2 * DAY)
    await store.open_account("alice")
    assert not (await account.apply([], token="t")).replayed
    await store.close()
