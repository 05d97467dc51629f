"""Mailboxes of twisted.mail behind our POP3 server."""

from __future__ import annotations

import io
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.mail.interfaces import IMailboxPOP3
from twisted.mail.maildir import MaildirMailbox, StringListMailbox
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.adapters.deployment import Maildir, fill_maildir
from twisted_mail_kit.adapters import MountedMailboxes
from twisted_mail_kit.adapters.maildrop import MountedMessage
from twisted_mail_kit.adapters.patience import Patience
from twisted_mail_kit.errors import AccountNotFound, AuthenticationFailed, ConfigurationError, MessageNotFound
from twisted_mail_kit.interfaces import IMaildrop, IMaildropAccount, IMaildropMessage, IMaildropStore
from twisted_mail_kit.pop3.factory import make_factory
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.testing.dialogue import Dialogue, play
from twisted_mail_kit.testing.fakes import FakeAuthenticator

LOGIN = "S: +OK *\nC: USER joe\nC: PASS secret\nS: +OK *\nS: +OK *\n"
UNIX_LINES = b"Subject: one\n\nline 1\n.dot\n8 bit: \xe9\n"
NETWORK_LINES = b"Subject: two\r\n\r\nno line end"


@implementer(IRealm)
class Realm:
    """Gives mailboxes that it was given; notes who came and went."""

    def __init__(self, **mailboxes: Any) -> None:
        self.mailboxes = mailboxes
        self.story: list[str] = []

    def requestAvatar(self, avatarId: bytes, mind: object, *interfaces: Any) -> Any:
        name = avatarId.decode()
        if name not in self.mailboxes:
            raise UnauthorizedLogin(name)
        self.story.append(f"{name} came")
        return IMailboxPOP3, self.mailboxes[name], lambda: self.story.append(f"{name} went")


async def served(realm: Any, clock: Any = None, **more: Any) -> tuple[Any, Clock]:
    """The factory of a POP3 server, where joe's password is "secret"."""
    clock = clock or Clock()
    account = await MountedMailboxes(realm, clock, **more).open_account("joe")
    doorkeeper = FakeAuthenticator({"joe": ("secret", account)})  # type: ignore[dict-item]
    return make_factory("mx.example.org", doorkeeper, None, POP3Settings(), clock), clock


async def test_it_provides_the_doors_that_it_says(tmp_path: Path) -> None:
    store = MountedMailboxes(Realm(joe=MaildirMailbox(fill_maildir(tmp_path / "joe", UNIX_LINES))), Clock())
    account = await store.open_account("joe")
    maildrop = await account.open_maildrop()
    message = await maildrop.open_message(1)
    verifyObject(IMaildropStore, store)
    verifyObject(IMaildropAccount, account)
    verifyObject(IMaildrop, maildrop)
    verifyObject(IMaildropMessage, message)
    message.close()
    maildrop.close()


async def test_a_maildir_of_twisted_mail_is_read_whole(tmp_path: Path) -> None:
    mailbox = MaildirMailbox(fill_maildir(tmp_path / "joe", UNIX_LINES, NETWORK_LINES))
    factory, clock = await served(Realm(joe=mailbox))
    await play(
        LOGIN
        + f"""
        C: STAT
        S: +OK 2 {len(UNIX_LINES) + len(NETWORK_LINES)}
        C: LIST
        S: +OK 2 messages *
        S: 1 {len(UNIX_LINES)}
        S: 2 {len(NETWORK_LINES)}
        S: .
        C: UIDL 2
        S: +OK 2 {mailbox.getUidl(1)}
        C: UIDL
        S: +OK *
        S: 1 {mailbox.getUidl(0)}
        S: 2 {mailbox.getUidl(1)}
        S: .
        C: RETR 2
        S: +OK *
        S: Subject: two
        S:
        S: no line end
        S: .
        C: TOP 1 1
        S: +OK *
        S: Subject: one
        S:
        S: line 1
        S: .
        C: QUIT
        S: +OK Goodbye
        X:
        """,
        factory,
        clock,
    )


async def test_octets_are_kept_and_line_ends_become_those_of_the_network(tmp_path: Path) -> None:
    # MaildirMailbox opens its files as text, in UTF-8.
    mailbox = MaildirMailbox(fill_maildir(tmp_path / "joe", UNIX_LINES, NETWORK_LINES))
    maildrop = await opened(Realm(joe=mailbox))
    for size in (1, 2, 7, 4096):
        assert await octets_of(maildrop, 1, size) == UNIX_LINES.replace(b"\n", b"\r\n")
        assert await octets_of(maildrop, 2, size) == NETWORK_LINES


@settings(max_examples=100)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc"]), max_size=30).map(b"".join), st.integers(1, 9))
def test_line_ends_are_the_same_whatever_the_pieces(octets: bytes, size: int) -> None:
    async def read() -> bytes:
        message, pieces = MountedMessage(io.BytesIO(octets), Patience(Clock(), 1)), []
        while piece := await message.read(size):
            pieces.append(piece)
        return b"".join(pieces)

    done: list[bytes] = []
    Deferred.fromCoroutine(read()).addCallback(done.append)
    assert done == [re.sub(rb"(?<!\r)\n", b"\r\n", octets)]


async def test_sizes_are_counted_where_that_is_wanted(tmp_path: Path) -> None:
    mailbox = MaildirMailbox(fill_maildir(tmp_path / "joe", UNIX_LINES, NETWORK_LINES))
    reads = count_calls(mailbox, "getMessage")
    clock = Clock()
    store = MountedMailboxes(Realm(joe=mailbox), clock, count_sizes=True)
    for _ in range(2):
        opening = Deferred.fromCoroutine(store.open_maildrop("joe"))
        while not opening.called:
            clock.advance(0)
        maildrop = await opening
        assert [maildrop.size(1), maildrop.size(2)] == [len(UNIX_LINES) + 5, len(NETWORK_LINES)]
        assert maildrop.total == len(UNIX_LINES) + 5 + len(NETWORK_LINES)
    assert len(reads) == 2


async def test_deletions_are_made_at_quit_and_not_before(tmp_path: Path) -> None:
    path = fill_maildir(tmp_path / "joe", UNIX_LINES, NETWORK_LINES, b"A: 3\n\n")
    factory, clock = await served(Realm(joe=Maildir(path)))
    new = tmp_path / "joe" / "new"
    dialogue = Dialogue(factory, clock)
    await dialogue.play(LOGIN + "C: DELE 1\nS: +OK *\nC: DELE 3\nS: +OK *\nC: STAT\nS: +OK 1 *\n")
    assert len(files(new)) == 3
    await dialogue.play("C: RSET\nS: +OK 3 *\nC: DELE 2\nS: +OK *\nC: QUIT\nS: +OK Goodbye, 1 messages deleted\nX:")
    assert sorted(file.read_bytes()[:1] for file in new.iterdir()) == [b"A", b"S"]
    assert not files(tmp_path / "joe" / ".Trash" / "cur")


async def test_a_lost_connection_deletes_nothing_and_logs_out(tmp_path: Path) -> None:
    path = fill_maildir(tmp_path / "joe", UNIX_LINES)
    realm = Realm(joe=Maildir(path))
    factory, clock = await served(realm)
    await play(LOGIN + "C: DELE 1\nS: +OK *\nD:", factory, clock)
    assert len(files(tmp_path / "joe" / "new")) == 1
    assert realm.story == ["joe came", "joe went"]


async def test_every_end_of_a_session_logs_out(tmp_path: Path) -> None:
    realm = Realm(joe=StringListMailbox([b"A: 1\r\n\r\n"]))
    factory, clock = await served(realm)
    await play(LOGIN + "C: QUIT\nS: +OK *\nX:", factory, clock)
    assert realm.story == ["joe came", "joe went"]
    await play(LOGIN + "T: 601\nX:", factory, clock)
    assert realm.story == ["joe came", "joe went"] * 2


async def test_a_second_session_is_kept_out_and_the_first_ones_avatar_is_left_alone() -> None:
    realm = Realm(joe=StringListMailbox([b"A: 1\r\n\r\n"]))
    factory, clock = await served(realm)
    await play(
        """
        S[a]: +OK *
        C[a]: USER joe
        C[a]: PASS secret
        S[a]: +OK *
        S[a]: +OK 1 *
        S[b]: +OK *
        C[b]: USER joe
        C[b]: PASS secret
        S[b]: +OK *
        S[b]: -ERR [IN-USE] *
        C[b]: QUIT
        S[b]: +OK *
        X[b]:
        C[a]: NOOP
        S[a]: +OK
        """,
        factory,
        clock,
    )
    assert realm.story[0] == "joe came" and realm.story.count("joe came") == 1


async def test_where_twisteds_own_maildir_cannot_delete_that_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    # In Twisted 26.10 MaildirMailbox.deleteMessage raises TypeError: it joins octets and text.
    factory, clock = await served(Realm(joe=MaildirMailbox(fill_maildir(tmp_path / "joe", UNIX_LINES))))
    told = "S: -ERR [SYS/TEMP] Not all was deleted, try again later (reference *)"
    await play(LOGIN + f"C: DELE 1\nS: +OK *\nC: QUIT\n{told}\nX:", factory, clock)
    assert len(files(tmp_path / "joe" / "new")) == 1


# --- what foreign code may do --------------------------------------------------------------------------------------


class Odd(StringListMailbox):
    """Answers with Deferreds and coroutines; breaks where it is told to."""

    def __init__(self, *messages: bytes) -> None:
        super().__init__(list(messages))
        self.breaks: dict[str, Exception] = {}
        self.story: list[str] = []

    def _do(self, name: str, value: Any) -> Any:
        self.story.append(name)
        if name in self.breaks:
            raise self.breaks[name]
        return value

    def listMessages(self, i: int | None = None) -> Any:
        return succeed(self._do("listMessages", [len(one) for one in self.msgs]))

    async def getMessage(self, i: int) -> Any:
        return self._do("getMessage", io.StringIO(self.msgs[i].decode()))

    async def getUidl(self, i: int) -> Any:
        return self._do("getUidl", [b"plain", "with blank", "x" * 71][i % 3])

    def deleteMessage(self, i: int) -> Any:
        return succeed(self._do("deleteMessage", None))

    async def sync(self) -> None:
        self._do("sync", None)

    async def undeleteMessages(self) -> None:
        self._do("undeleteMessages", None)


async def test_deferreds_coroutines_and_text_are_taken() -> None:
    maildrop = await opened(Realm(joe=Odd(b"A: 1\n\n", b"A: 2\n\n", b"A: 3\n\n")))
    assert await octets_of(maildrop, 2, 3) == b"A: 2\r\n\r\n"
    await maildrop.know_unique_ids([1, 2, 3])
    ids = [maildrop.unique_id(number) for number in (1, 2, 3)]
    assert ids[0] == "plain"
    assert all(len(one) == 64 and one.isalnum() for one in ids[1:])
    maildrop.mark(1)
    assert await maildrop.update() == 1


@pytest.mark.parametrize("where", ["deleteMessage", "sync"])
async def test_a_deletion_that_fails_is_undone_as_far_as_it_can_be_and_told(where: str) -> None:
    mailbox = Odd(b"A: 1\n\n")
    mailbox.breaks[where] = RuntimeError("out of order")
    factory, clock = await served(Realm(joe=mailbox))
    told = "S: -ERR [SYS/TEMP] Not all was deleted, try again later (reference *)"
    await play(LOGIN + f"C: DELE 1\nS: +OK *\nC: QUIT\n{told}\nX:", factory, clock)
    assert mailbox.story[-1] == "undeleteMessages"


async def test_a_message_that_somebody_else_deleted_is_passed_over() -> None:
    mailbox = Odd(b"A: 1\n\n", b"A: 2\n\n")
    mailbox.breaks["deleteMessage"] = ValueError(0)
    mailbox.breaks["getMessage"] = IndexError(0)
    maildrop = await opened(Realm(joe=mailbox))
    with pytest.raises(MessageNotFound):
        await maildrop.open_message(1)
    maildrop.mark(1)
    assert await maildrop.update() == 1
    assert mailbox.story[-1] == "sync"


@pytest.mark.parametrize(
    ("where", "said"),
    [("listMessages", "PASS secret"), ("getUidl", "UIDL 1"), ("getUidl", "UIDL"), ("getMessage", "RETR 1")],
)
async def test_an_exception_is_a_temporary_error_with_a_reference(where: str, said: str) -> None:
    mailbox = Odd(b"A: 1\n\n")
    mailbox.breaks[where] = RuntimeError("out of order")
    realm = Realm(joe=mailbox)
    factory, clock = await served(realm)
    login = "S: +OK *\nC: USER joe\nS: +OK *\n" if said.startswith("PASS") else LOGIN
    await play(login + f"C: {said}\nS: -ERR [SYS/TEMP] * (reference *)\nC: QUIT\nS: +OK *\nX:", factory, clock)
    assert realm.story == ["joe came", "joe went"]


async def test_what_never_answers_is_waited_for_so_long_and_no_longer() -> None:
    class Silent(Odd):
        def listMessages(self, i: int | None = None) -> Any:
            return Deferred()

    realm = Realm(joe=Silent(b"A: 1\n\n"))
    factory, clock = await served(realm, patience=20)
    await play(
        "S: +OK *\nC: USER joe\nS: +OK *\nC: PASS secret\nT: 21\nS: -ERR [SYS/TEMP] *\nC: QUIT\nS: +OK *\nX:",
        factory,
        clock,
    )
    assert realm.story == ["joe came", "joe went"]


async def test_a_message_that_breaks_off_ends_the_connection_and_not_the_reply() -> None:
    class Torn(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError("the disk is gone")
            return super().read(8)

    mailbox = Odd(b"A: 1\n\n")
    mailbox.getMessage = lambda i: Torn(b"A: 1\r\n\r\n" + b"x" * 200_000)  # type: ignore[method-assign]
    factory, clock = await served(Realm(joe=mailbox))
    await play(LOGIN + "C: RETR 1\nS: +OK *\nS: A: 1\nS:\nX:", factory, clock)


async def test_messages_without_octets_are_those_that_are_gone() -> None:
    # IMailboxPOP3: "Any value which corresponds to a deleted message is set to 0".
    maildrop = await opened(Realm(joe=Odd(b"A: 1\n\n", b"", b"A: 3\n\n")))
    assert list(maildrop.numbers()) == [1, 3]
    assert not maildrop.has(2) and maildrop.count == 2
    maildrop.mark(1)
    maildrop.unmark_all()
    assert list(maildrop.numbers()) == [1, 3] and maildrop.total == 12


async def test_a_large_message_is_not_held(tmp_path: Path) -> None:
    line = b"x" * 71 + b"\n"
    path = fill_maildir(tmp_path / "joe", line * 200_000)
    maildrop = await opened(Realm(joe=MaildirMailbox(path)))
    message = await maildrop.open_message(1)
    size = 0
    tracemalloc.start()
    try:
        while octets := await message.read(65_536):
            size += len(octets)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        message.close()
    assert size == 200_000 * (len(line) + 1)
    assert most < 1_000_000


# --- whose mailbox -------------------------------------------------------------------------------------------------


async def test_a_mapping_of_domains_is_asked_with_local_parts() -> None:
    realm = Realm(joe=StringListMailbox([b"A: 1\r\n\r\n"]))
    domains: dict[bytes, Any] = {}
    store = MountedMailboxes(domains, Clock())
    with pytest.raises(AccountNotFound):
        await store.open_account("joe@example.org")
    domains[b"example.org"] = realm  # added while we run
    account = await store.open_account("joe@example.org")
    assert account.name == "joe@example.org"
    maildrop = await account.open_maildrop()
    assert maildrop.count == 1
    for name in ("joe", "joe@example.net", "@example.org"):
        with pytest.raises(AccountNotFound):
            await store.open_account(name)


async def test_whom_the_realm_does_not_know_has_no_mailbox_here() -> None:
    store = MountedMailboxes(Realm(), Clock())
    account = await store.open_account("joe")
    with pytest.raises(AuthenticationFailed):
        await account.open_maildrop()


def test_what_is_no_realm_is_not_mounted() -> None:
    with pytest.raises(ConfigurationError):
        MountedMailboxes(StringListMailbox([]), Clock())


async def test_a_listing_of_many_lets_others_have_their_turn() -> None:
    clock = Clock()
    realm = Realm(joe=StringListMailbox([b"A: %d\r\n\r\n" % number for number in range(2500)]))
    realm.mailboxes["joe"].listMessages = lambda i=None: [8] * 2500
    maildrop = await (await MountedMailboxes(realm, clock).open_account("joe")).open_maildrop()
    knowing = Deferred.fromCoroutine(maildrop.know_unique_ids(maildrop.numbers()))
    assert not knowing.called
    clock.pump([0] * 30)
    await knowing
    assert len({maildrop.unique_id(number) for number in maildrop.numbers()}) == 2500


# --- help ----------------------------------------------------------------------------------------------------------


async def opened(realm: Realm) -> Any:
    account = await MountedMailboxes(realm, Clock()).open_account("joe")
    return await account.open_maildrop()


async def octets_of(maildrop: Any, number: int, size: int) -> bytes:
    message = await maildrop.open_message(number)
    pieces = []
    while octets := await message.read(size):
        pieces.append(octets)
    message.close()
    return b"".join(pieces)


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def count_calls(thing: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    method = getattr(thing, name)

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return method(*arguments)

    setattr(thing, name, counted)
    return calls
