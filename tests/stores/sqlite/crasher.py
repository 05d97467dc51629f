"""Applies as fast as it can, and says what was acknowledged; to be killed. Arguments: directory, account."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from twisted.internet import defer, reactor

from twisted_mail_kit.mail.operations import Add, Remove, SetFlags
from twisted_mail_kit.stores.sqlite import SQLiteStore


async def main() -> None:
    store = SQLiteStore(Path(sys.argv[1]), reactor)
    account = await store.open_account(sys.argv[2], create=True)
    box = (await account.mailboxes())[0].id

    async def one(number: int) -> None:
        while True:
            octets = os.urandom(300_000 if number == 0 else 500)
            writer = account.new_blob()
            await writer.write(octets)
            blob_id = await writer.commit()
            added = (await account.apply([Add(box, blob_id, 0, b"", frozenset(), None)])).results[0]
            print("added", added.uid, hashlib.sha256(octets).hexdigest(), flush=True)
            if added.uid % 3 == 0:
                await account.apply([SetFlags(box, [added.uid], add=frozenset({r"\Seen", "$Kept"}))])
                print("seen", added.uid, flush=True)
            if added.uid % 5 == 0:
                await account.apply([Remove(box, [added.uid])])
                print("gone", added.uid, flush=True)

    await defer.gatherResults([defer.ensureDeferred(one(number)) for number in range(8)])


if __name__ == "__main__":
    defer.ensureDeferred(main()).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
    reactor.run()
