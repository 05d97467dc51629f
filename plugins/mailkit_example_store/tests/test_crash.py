"""What was answered is there after `kill -9`, and nothing is there by halves."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from mailkit_example_store.store import ExampleStore

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from twisted.internet import task
from twisted.internet.defer import ensureDeferred
from mailkit_example_store.store import ExampleStore
from twisted_mail_kit.interfaces import Add, CreateMailbox

async def deliver(reactor):
    account = await ExampleStore(Path(sys.argv[1])).open_account("alice", create=True)
    (box,) = [box for box in await account.mailboxes() if box.role == "inbox"]
    while True:
        writer = account.new_blob()
        await writer.write(b"x" * 300_000)
        add = Add(box.id, await writer.commit(), 1)
        applied = await account.apply([add, add])
        print(applied.results[1].uid, flush=True)

task.react(lambda reactor: ensureDeferred(deliver(reactor)))
"""


@pytest.mark.parametrize("seed", range(5))
@pytest_twisted.ensureDeferred
async def test_what_was_answered_survives(tmp_path, seed):
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parents[1])]
    answered = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for _ in range(random.Random(seed).randrange(1, 20)):
            answered.append(int(child.stdout.readline()))
        child.send_signal(signal.SIGKILL)
        answered.extend(int(line) for line in child.stdout if line.endswith("\n"))
    store = ExampleStore(tmp_path)
    account = await store.open_account("alice")
    (box,) = await account.mailboxes()
    rows = await account.messages(box.id)
    assert len(rows) >= answered[-1]
    assert len(rows) % 2 == 0, "both messages of an apply, or none"
    for row in rows:
        octets = b""
        while more := await account.read_blob(row.blob_id, len(octets), 100_000):
            octets += more
        assert octets == b"x" * 300_000
    await store.close()
