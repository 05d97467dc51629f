"""STORE (RFC 3501 6.4.6, RFC 7162 3.1.3)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import MessageNotFound
from twisted_mail_kit.imap.commands.basis import AT_ONCE, Completed, check_keywords, read_flags, resolve
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.interfaces import FlagsSet, SetFlags

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_PAGE = 1000

Change = Callable[[frozenset[str]], frozenset[str]]


async def store(session: IMAPSession, command: commands.Store) -> Completed:
    """Set flags, and say what they are now; with .SILENT only where that is not what the client must think."""
    view = session.writable
    flags = read_flags(session.home, command.flags)
    if command.how != "remove":
        check_keywords(session.home, flags)
    if command.unchanged_since is not None:
        session.is_condstore = True
    uids, some_gone = resolve(view, command.messages, command.by_uid)
    refused = array("I")
    for start in range(0, len(uids), AT_ONCE):
        refused.extend(await _store_some(session, view, command, flags, uids[start : start + AT_ONCE]))
    text, code = "STORE completed", b""
    if refused:
        numbers = refused if command.by_uid else view.numbers(refused)
        text, code = "Conditional STORE failed for some", responses.modified(numbers)
    if some_gone and not command.silent:
        raise MessageNotFound("RFC 2180 4.2")
    return Completed(text, code, is_fresh=bool(uids))


async def _store_some(
    session: IMAPSession, view: View, command: commands.Store, flags: frozenset[str], uids: Sequence[int]
) -> tuple[int, ...]:
    model = view.model
    thought = _what_the_client_will_think(view, uids, _change(command, flags)) if command.silent else {}
    op = SetFlags(
        model.mailbox.id,
        uids,
        add=flags if command.how == "add" else frozenset(),
        remove=flags if command.how == "remove" else frozenset(),
        replace=flags if command.how == "replace" else None,
        unchanged_since=command.unchanged_since,
    )
    applied = await session.account.apply([op])
    result = applied.results[0]
    assert isinstance(result, FlagsSet)
    if not model.take_flags(op, applied):
        await model.refresh(applied.modseq)
    view.catch_up()
    refused = set(result.refused)
    done: Sequence[int] = [uid for uid in uids if uid not in refused]
    if command.silent:
        view.forget_pending(_as_thought(view, thought, refused))
        # RFC 7162 3.1.3: a client that knows modseqs is told the new ones even so.
        done = result.changed if session.is_condstore else ()
    session.say(view.new_keywords())
    for start in range(0, len(done), _PAGE):
        page = done[start : start + _PAGE]
        session.say(view.fetch_flags(page, session.is_condstore, command.by_uid, not command.silent))
        if not command.silent:
            view.forget_pending(page)
        await session.breathe()
    return result.refused


def _change(command: commands.Store, flags: frozenset[str]) -> Change:
    if command.how == "add":
        return lambda before: before | flags
    if command.how == "remove":
        return lambda before: before - flags
    return lambda before: flags


def _what_the_client_will_think(view: View, uids: Sequence[int], change: Change) -> dict[int, frozenset[str]]:
    # Of messages whose flags the client knows as they are; where another session's change was not told yet, it is to
    # be told in any case.
    model, untold = view.model, view.pending or ()
    places = model.places(list(uids))
    numbers = [model.flag_ids[at] for at in places]
    after = {number: change(model.flag_sets[number]) for number in set(numbers)}
    thought = {model.uids[at]: after[number] for at, number in zip(places, numbers, strict=True)}
    return {uid: flags for uid, flags in thought.items() if uid not in untold} if untold else thought


def _as_thought(view: View, thought: dict[int, frozenset[str]], refused: set[int]) -> list[int]:
    """Those whose flags are what the client thinks."""
    model = view.model
    found = []
    for at in model.places(list(thought)):
        uid = model.uids[at]
        if model.flag_sets[model.flag_ids[at]] == thought[uid] and uid not in refused:
            found.append(uid)
    return found
