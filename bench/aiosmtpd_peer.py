"""A peer as a program: aiosmtpd, keeping each message in a maildir, synced before the 250."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from bench.maildir import THREADS, DurableMaildir


class Handler:
    def __init__(self, folder: Path) -> None:
        self.maildir = DurableMaildir(folder)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if THREADS:  # the file system shares syncs among those who wait
            await asyncio.to_thread(self.maildir.keep, envelope.content)
        else:
            self.maildir.keep(envelope.content)
        return "250 OK"


async def main() -> None:
    handler = Handler(Path(sys.argv[1]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="peer", loop=loop), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
