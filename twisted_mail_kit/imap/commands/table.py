"""Every command: what does it, and the states in which it may be said (RFC 3501 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted_mail_kit.imap.commands import (
    append,
    authenticate,
    close,
    copy,
    fetch,
    general,
    idle,
    listing,
    mailboxes,
    search,
    select,
    starttls,
    status,
    store,
)
from twisted_mail_kit.imap.commands.basis import AUTHENTICATED, NOT_AUTHENTICATED, SELECTED, Completed
from twisted_mail_kit.imap.wire import commands

_ANY = frozenset({NOT_AUTHENTICATED, AUTHENTICATED, SELECTED})
_BEFORE = frozenset({NOT_AUTHENTICATED})
_AFTER = frozenset({AUTHENTICATED, SELECTED})
_IN = frozenset({SELECTED})

Do = Callable[[Any, Any], Awaitable[Completed | None]]
"""``await do(session, command)``; None: the command has written its tagged response itself."""

COMMANDS: dict[type[commands.Command], tuple[Do, frozenset[int]]] = {
    commands.Capability: (general.capability, _ANY),
    commands.Noop: (general.noop, _ANY),
    commands.Logout: (general.logout, _ANY),
    commands.Id: (general.identify, _ANY),
    commands.StartTls: (starttls.starttls, _BEFORE),
    commands.Authenticate: (authenticate.authenticate, _BEFORE),
    commands.Login: (authenticate.login, _BEFORE),
    commands.Enable: (general.enable, _AFTER),
    commands.Namespace: (general.namespace, _AFTER),
    commands.Select: (select.select, _AFTER),
    commands.Create: (mailboxes.create, _AFTER),
    commands.Delete: (mailboxes.delete, _AFTER),
    commands.Rename: (mailboxes.rename, _AFTER),
    commands.Subscribe: (mailboxes.subscribe, _AFTER),
    commands.List: (listing.list_mailboxes, _AFTER),
    commands.Status: (status.status, _AFTER),
    commands.Append: (append.append, _AFTER),
    commands.Idle: (idle.idle, _AFTER),
    commands.Check: (close.check, _IN),
    commands.Close: (close.close, _IN),
    commands.Expunge: (close.expunge, _IN),
    commands.Search: (search.search, _IN),
    commands.Fetch: (fetch.fetch, _IN),
    commands.Store: (store.store, _IN),
    commands.Copy: (copy.copy, _IN),
}
"""What later extensions bring goes in here."""
