"""Who has which address."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_mail_kit.accounts.aliases import parse_aliases
from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.accounts.furnish import furnish
from twisted_mail_kit.accounts.names import account_name
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.mail.address import Address, parse_address
from twisted_mail_kit.mail.destination import Alias, Local
from twisted_mail_kit.mail.operations import CreateMailbox, DeleteMailbox
from twisted_mail_kit.stores.memory import MemoryStore


@pytest.fixture
def directory() -> Directory:
    return Directory(
        ["ours.example", "other.example"],
        {"joe@ours.example", "Ann", "a+b@ours.example"},
        {
            "sales@ours.example": ["joe", "bob@theirs.example"],
            "info": "ann@ours.example",
            "joe": ["joe", "ann@ours.example"],
            "@other.example": ["@ours.example"],
        },
        catch_all={"ours.example": "joe@ours.example"},
    )


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("ann@ours.example", Local("ann@ours.example")),
        ("ANN@OURS.example", Local("ann@ours.example")),
        ("ann+Lists@ours.example", Local("ann@ours.example", "Lists")),
        ("a+b@ours.example", Local("a+b@ours.example")),
        ("joe@ours.example", Alias((Address("ann", "ours.example"),), Local("joe@ours.example"))),
        ("joe+x@ours.example", Alias((Address("ann", "ours.example"),), Local("joe@ours.example", "x"))),
        ("sales@ours.example", Alias((Address("joe", "ours.example"), Address("bob", "theirs.example")))),
        ("info@other.example", Alias((Address("ann", "ours.example"),))),
        ("ann@other.example", Alias((Address("ann", "ours.example"),))),
        ("+x@ours.example", Alias((Address("joe", "ours.example"),))),
        ("anything@ours.example", Alias((Address("joe", "ours.example"),))),
        ("postmaster@other.example", Local("postmaster@ours.example")),
        ("joe@theirs.example", None),
    ],
)
async def test_lookup(directory: Directory, address: str, found: object) -> None:
    assert await directory.lookup(parse_address(address)) == found


async def test_postmaster_is_always_there() -> None:
    assert await Directory(["a.example"]).lookup(Address("PostMaster", "")) == Local("postmaster@a.example")
    to_joe = Directory(["a.example"], {"joe"}, postmaster="joe")
    assert await to_joe.lookup(Address("postmaster", "a.example")) == Alias((Address("joe", "a.example"),))
    assert await Directory(["a.example"]).lookup(Address("joe", "")) is None


async def test_who_may_send_as_whom(directory: Directory) -> None:
    async def may(account: str, sender: str) -> bool:
        return await directory.may_send_as(f"{account}@ours.example", parse_address(sender))

    assert await may("joe", "joe@ours.example")
    assert await may("joe", "sales@ours.example")
    assert await may("joe", "whatever@ours.example")
    assert await may("ann", "info@other.example")
    assert await may("ann", "ann+x@other.example")
    assert not await may("joe", "info@ours.example")
    assert not await may("joe", "ann@ours.example")
    assert not await may("joe", "joe@theirs.example")


async def test_users_may_be_a_function_async_or_not() -> None:
    async def late(name: str) -> bool:
        return name == "joe@a.example"

    for users in (late, lambda name: name == "joe@a.example"):
        directory = Directory(["a.example"], users)
        assert await directory.lookup(Address("joe", "a.example")) == Local("joe@a.example")
        assert await directory.lookup(Address("ann", "a.example")) is None


async def test_a_broken_aliases_file_keeps_the_old_ones(tmp_path: Path) -> None:
    file = tmp_path / "aliases"
    file.write_text("sales: joe\n")
    directory = Directory(["a.example"], {"joe"}, aliases_file=file)
    file.write_text("sales: |/bin/sh\nnew joe\n x\n")
    with pytest.raises(ConfigurationError) as wrong:
        directory.reload()
    assert len(wrong.value.problems) == 2
    assert await directory.lookup(Address("sales", "a.example")) == Alias((Address("joe", "a.example"),))
    file.write_text("new: joe\n")
    directory.reload()
    assert await directory.lookup(Address("sales", "a.example")) is None
    assert await directory.lookup(Address("new", "a.example"))


def test_aliases_of_other_domains_and_bad_targets_are_named() -> None:
    with pytest.raises(ConfigurationError) as wrong:
        Directory(["a.example"], (), {"x@b.example": ["joe"], "y": ["a b c"], "z": ["/etc/passwd"]})
    assert len(wrong.value.problems) == 3


def test_the_aliases_file_has_comments_and_long_lines() -> None:
    table, problems = parse_aliases("# all\n\nAll: joe,\n  ann@b.example\n  # more\nroot: joe\nroot: ann\n:\n")
    assert table == {"all": ("joe", "ann@b.example"), "root": ("joe",)}
    assert len(problems) == 2


@pytest.mark.parametrize("text", ["", " ", "a\0b", "a\nb", "@x", "x@", "x" * 400])
def test_names_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="user's name"):
        account_name(text, "a.example")


async def test_an_account_is_furnished_once() -> None:
    account = await MemoryStore().open_account("joe", create=True)
    assert await furnish(account)
    roles = {mailbox.role for mailbox in await account.mailboxes()}
    assert roles == {"inbox", "drafts", "sent", "trash", "junk", "archive"}
    assert not await furnish(account)
    junk = next(mailbox for mailbox in await account.mailboxes() if mailbox.role == "junk")
    await account.apply([DeleteMailbox(junk.id)])
    assert not await furnish(account)
    other = await MemoryStore().open_account("ann", create=True)
    await other.apply([CreateMailbox(("Mine",))])
    assert not await furnish(other)
