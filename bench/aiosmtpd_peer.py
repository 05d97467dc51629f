"""A peer as a program: aiosmtpd, keeping each message in a maildir, synced before the 250."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

THREADS = os.environ.get("BENCH_THREADS") == "1"
_numbers = itertools.count()


class DurableMaildir:
    def __init__(self, folder: Path) -> None:
        self.new, self.tmp = folder / "new", folder / "tmp"
        self.new.mkdir()
        self.tmp.mkdir()
        self.fd = os.open(self.new, os.O_RDONLY)

    def keep(self, octets: bytes) -> None:
        name = f"{os.getpid()}.{next(_numbers)}"
        with (self.tmp / name).open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        (self.tmp / name).rename(self.new / name)
        os.fsync(self.fd)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if THREADS:  # the file system shares syncs among those who wait
            await asyncio.to_thread(self.keep, envelope.content)
        else:
            self.keep(envelope.content)
        return "250 OK"


async def main() -> None:
    handler = DurableMaildir(Path(sys.argv[1]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="peer", loop=loop), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
