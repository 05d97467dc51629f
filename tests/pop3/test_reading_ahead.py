"""A client that takes one message after the other: the next ones are read with the first."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet import reactor

from twisted_mail_kit.errors import MessageNotFound
from twisted_mail_kit.interfaces import Add, IAccount, Remove
from twisted_mail_kit.pop3.maildrop import Maildrop
from twisted_mail_kit.stores.sqlite import SQLiteStore


async def retrieved(maildrop: Maildrop, number: int) -> bytes:
    message = await maildrop.open_message(number)
    octets = b""
    while piece := await message.read(1000):
        octets += piece
    message.close()
    return octets


async def filled(account: IAccount, letters: list[bytes]) -> str:
    inbox = (await account.mailboxes())[0].id
    for letter in letters:
        writer = account.new_blob(len(letter))
        await writer.write(letter)
        await account.apply([Add(inbox, await writer.commit(), 0)])
    return inbox


async def test_each_message_is_what_it_is_in_whatever_order_they_are_taken(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor)
    try:
        account = await store.open_account("joe", create=True)
        letters = [b"letter %d " % number * (number * number) for number in range(1, 90)]
        inbox = await filled(account, letters)
        for order in (range(1, 90), range(89, 0, -1), [5, 6, 7, 7, 6, 1, 2, 3, 80, 81]):
            maildrop = await Maildrop.open(account)
            for number in order:
                assert await retrieved(maildrop, number) == letters[number - 1]
                assert sum(map(len, maildrop._ahead.values())) <= Maildrop.AHEAD, "memory"
        maildrop = await Maildrop.open(account)
        await account.apply([Remove(inbox, [3])])
        for number in (1, 2, 4):
            assert await retrieved(maildrop, number) == letters[number - 1]
        with pytest.raises(MessageNotFound):
            await retrieved(maildrop, 3)
    finally:
        await store.close()
