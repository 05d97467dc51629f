"""SEARCH (RFC 3501 6.4.4, RFC 7162 3.1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.matching import Matching
from twisted_mail_kit.imap.packed import SLICE
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.imap.wire.commands import And, ModSeq, Not, Or, SearchKey

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def search(session: IMAPSession, command: commands.Search) -> Completed:
    """Among the messages that the client was told of."""
    asks_modseq = _asks_modseq(command.program)
    if asks_modseq:
        session.is_condstore = True
    uids = await Matching(session).run(command.program)
    model = session.view.model
    # RFC 3501 7.2.5: one line. It goes out in pieces; nobody else writes to this client meanwhile.
    session.outflow.write(b"* SEARCH")
    modseq = 0
    for start in range(0, len(uids), SLICE):
        page = list(uids[start : start + SLICE])
        if asks_modseq:
            modseq = max(modseq, max((model.modseqs[at] for at in model.places(page)), default=0))
        numbers = page if command.by_uid else session.view.numbers(page)
        session.outflow.write(responses.search_numbers(numbers))
        await session.breathe()
    session.outflow.write(responses.search_end(modseq))
    return Completed("SEARCH completed")


def _asks_modseq(key: SearchKey) -> bool:
    if isinstance(key, And):
        return any(map(_asks_modseq, key.keys))
    if isinstance(key, Or):
        return _asks_modseq(key.left) or _asks_modseq(key.right)
    return _asks_modseq(key.key) if isinstance(key, Not) else isinstance(key, ModSeq)
