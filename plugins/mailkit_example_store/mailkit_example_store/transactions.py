"""`@transaction`: a method's work on SQLite, all of it or nothing, out of the reactor's way."""

import functools

from twisted.internet.threads import deferToThread


def transaction(method):
    """Make a coroutine function of it. SQLite blocks, so it runs in a thread; one at a time, for all share `db`."""

    def transact(self, *arguments, **more):
        self.db.execute("BEGIN IMMEDIATE")
        try:
            answer = method(self, *arguments, **more)
            self.db.execute("COMMIT")
            return answer
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    @functools.wraps(method)
    async def in_thread(self, *arguments, **more):
        return await self.turn.run(deferToThread, transact, self, *arguments, **more)

    return in_thread
