"""One of several processes that share a spool: leases, settles, and prints what it has tried.

leaser.py DIRECTORY OWNER
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_mail_kit.mail.outcome import Delivered
from twisted_mail_kit.mail.queued import Settled
from twisted_mail_kit.queue.sqlite import SQLiteSpool


async def main(reactor: object) -> None:
    spool = SQLiteSpool(Path(sys.argv[1]), reactor)
    print("ready", flush=True)
    sys.stdin.readline()
    while leases := await spool.lease(sys.argv[2], 1.0, 1000.0, 7):
        for lease in leases:
            octets = await spool.read_blob(lease.message.blob_id, 0, 999)
            assert octets == lease.message.id.encode(), octets
            for recipient in lease.recipients:
                print(recipient.message_id, recipient.number, flush=True)
        await spool.settle([Settled(one, Delivered(), None) for lease in leases for one in lease.recipients])
    await spool.close()


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
