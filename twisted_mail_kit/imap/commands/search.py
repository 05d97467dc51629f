"""SEARCH (RFC 3501 6.4.4, RFC 7162 3.1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.matching import Matching
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
    view = session.view
    view.catch_up()
    modseq = None
    if asks_modseq:
        places = [at for uid in uids if (at := view.model.index(uid)) >= 0]
        modseq = max((view.model.modseqs[at] for at in places), default=None)
    numbers = uids if command.by_uid else view.numbers(uids)
    session.outflow.write(responses.search_line(numbers, modseq))
    return Completed("SEARCH completed")


def _asks_modseq(key: SearchKey) -> bool:
    if isinstance(key, And):
        return any(map(_asks_modseq, key.keys))
    if isinstance(key, Or):
        return _asks_modseq(key.left) or _asks_modseq(key.right)
    return _asks_modseq(key.key) if isinstance(key, Not) else isinstance(key, ModSeq)
