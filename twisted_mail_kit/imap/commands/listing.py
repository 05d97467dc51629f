"""LIST and LSUB (RFC 3501 6.3.8, 6.3.9; RFC 3348, RFC 5258, RFC 6154)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.commands.status import status_items
from twisted_mail_kit.imap.names import Tree, add_parents, matcher, spelled
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.imap.wire.commands import Path
from twisted_mail_kit.mail.flags import use_of_role

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def list_mailboxes(session: IMAPSession, command: commands.List) -> Completed:
    """LIST, and LSUB."""
    if command.lsub:
        await _lsub(session, command)
        return Completed("LSUB completed")
    if command.patterns == ("",) and not command.is_extended:
        # RFC 3501 6.3.8: what the separator is, and the root of the reference.
        session.outflow.write(b'* LIST (\\Noselect) "/" ""\r\n')
        return Completed("LIST completed")
    await _list(session, command)
    return Completed("LIST completed")


async def _list(session: IMAPSession, command: commands.List) -> None:
    tree = Tree(await session.home.mailboxes())
    selects, returns = set(command.select_options), set(command.return_options)
    patterns = [command.reference + pattern for pattern in command.patterns if pattern]
    shows_subscribed = "SUBSCRIBED" in returns or "SUBSCRIBED" in selects
    above: set[Path] = set()
    if "RECURSIVEMATCH" in selects:
        # RFC 5258 3.5: names with something below them that is selected are listed too, and say so.
        for path in tree.mailboxes:
            if _is_selected(tree, path, selects):
                add_parents(path, above)
    for path in tree.matching(patterns):
        is_selected = _is_selected(tree, path, selects)
        if not is_selected and path not in above:
            continue
        extended = b'("CHILDINFO" ("SUBSCRIBED"))' if path in above else b""
        session.outflow.write(responses.list_line(_attributes(tree, path, shows_subscribed), path, extended=extended))
        mailbox = tree.mailboxes.get(path)
        if mailbox is not None and command.return_status:
            items = await status_items(session, mailbox, command.return_status)
            session.outflow.write(responses.status_line(path, items))
        await session.breathe()


async def _lsub(session: IMAPSession, command: commands.List) -> None:
    tree = Tree(await session.home.mailboxes())
    subscribed = {path for path, mailbox in tree.mailboxes.items() if mailbox.subscribed}
    listed: dict[Path, bool] = {}
    for pattern in command.patterns:
        fits = matcher(command.reference + pattern)
        shown = {path for path in subscribed if fits(spelled(path))}
        listed.update(dict.fromkeys(shown, True))
        if "%" in pattern:
            # RFC 3501 6.3.9: where foo/bar is subscribed and foo is not, % answers foo, as \Noselect.
            above: set[Path] = set()
            for path in subscribed - shown:
                add_parents(path, above)
            for path in above - subscribed:
                if fits(spelled(path)):
                    listed.setdefault(path, False)
    for path in sorted(listed, key=lambda path: (path[0] != "INBOX", path)):
        attributes = _attributes(tree, path, False) if listed[path] else ["\\Noselect"]
        session.outflow.write(responses.list_line(attributes, path, verb=b"LSUB"))
        await session.breathe()


def _is_selected(tree: Tree, path: Path, selects: set[str]) -> bool:
    mailbox = tree.mailboxes.get(path)
    if "SUBSCRIBED" in selects and (mailbox is None or not mailbox.subscribed):
        return False
    return "SPECIAL-USE" not in selects or (mailbox is not None and use_of_role(mailbox.role) is not None)


def _attributes(tree: Tree, path: Path, shows_subscribed: bool) -> list[str]:
    attributes = []
    mailbox = tree.mailboxes.get(path)
    if mailbox is None:
        attributes.append("\\Noselect")
    attributes.append("\\HasChildren" if tree.has_children(path) else "\\HasNoChildren")
    if mailbox is not None:
        if mailbox.subscribed and shows_subscribed:
            attributes.append("\\Subscribed")
        use = use_of_role(mailbox.role)
        if use:
            attributes.append(use)
    return attributes
