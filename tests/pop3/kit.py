"""A POP3 server over a memory store, for tests."""

from __future__ import annotations

import types

from twisted.internet.task import Clock

from twisted_mail_kit.interfaces import Add
from twisted_mail_kit.pop3.factory import make_factory
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.fakes import FakeAuthenticator

FIRST = b"Subject: one\r\nFrom: a@example.org\r\n\r\nline 1\r\n.dot\r\nline 3\r\n"
SECOND = b"Subject: two\r\n\r\nno line end"
THIRD = b"Subject: three\r\n\r\n"


async def put(account, *messages: bytes, flags: frozenset[str] = frozenset()) -> None:
    [inbox] = [box for box in await account.mailboxes() if box.role == "inbox"]
    for octets in messages:
        writer = account.new_blob()
        await writer.write(octets)
        await account.apply([Add(inbox.id, await writer.commit(), 0, b"", flags)])


async def inbox_of(account):
    [inbox] = [box for box in await account.mailboxes() if box.role == "inbox"]
    return await account.messages(inbox.id)


async def make_world(*messages: bytes, clock=None, settings: POP3Settings | None = None, certificates=None):
    """Joe has three messages (or those given), bob has none; both have the password "secret"."""
    clock = Clock() if clock is None else clock
    store = MemoryStore(clock)
    joe = await store.open_account("joe", create=True)
    bob = await store.open_account("bob", create=True)
    await put(joe, *(messages or (FIRST, SECOND, THIRD)))
    doorkeeper = FakeAuthenticator({"joe": ("secret", joe), "bob": ("secret", bob), "jürgen": ("geheim niß", bob)})
    factory = make_factory("mx.example.org", doorkeeper, certificates, settings or POP3Settings(), clock)
    return types.SimpleNamespace(
        clock=clock, store=store, joe=joe, bob=bob, doorkeeper=doorkeeper, factory=factory, messages=messages
    )
