"""Real IMAP clients against the IMAP listener, on a store in memory."""

from __future__ import annotations

import imaplib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from imapclient import IMAPClient
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from twisted_mail_kit.imap.factory import make_factory
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import Add, CreateMailbox, IAccount
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import pack
from twisted_mail_kit.net.tls import self_signed
from twisted_mail_kit.stores.feed import Feed
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.fakes import FakeAuthenticator

pytestmark = pytest.mark.interop

BODY = b"Subject: Gr\xc3\xbc\xc3\x9fe %d\r\nFrom: ann@example.org\r\nMessage-ID: <%d@example.org>\r\n\r\nHello %d\r\n"


class Listener:
    def __init__(self, port: int, account: IAccount, inbox: str) -> None:
        self.port = port
        self.account = account
        self.inbox = inbox

    async def deliver(self, octets: bytes, mailbox_id: str = "") -> int:
        scanner = Scanner()
        scanner.feed(octets)
        writer = self.account.new_blob()
        await writer.write(octets)
        op = Add(mailbox_id or self.inbox, await writer.commit(), 1_600_000_000, pack(scanner.close()))
        added: Any = (await self.account.apply([op])).results[0]
        return int(added.uid)


@pytest_twisted.async_yield_fixture
async def listener() -> AsyncIterator[Listener]:
    store = MemoryStore(reactor)
    account = await store.open_account("joe", create=True)
    feed = Feed(store, reactor)
    factory = make_factory(
        "imap.example.org",
        FakeAuthenticator({"joe": ("secret", account)}),
        self_signed("localhost"),
        IMAPSettings(),
        reactor,
        feed.watch,
    )
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    listener = Listener(port.getHost().port, account, (await account.mailboxes())[0].id)
    for number in (1, 2, 3):
        await listener.deliver(BODY % (number, number, number))
    yield listener
    await port.stopListening()
    await factory.drain(1)
    stop = getattr(feed, "stop", None) or getattr(feed, "close", None)
    if stop is not None:
        stop()
    await store.close()


async def test_imaplib(listener: Listener) -> None:
    def talk() -> None:
        with imaplib.IMAP4("127.0.0.1", listener.port, timeout=10) as client:
            client.starttls()
            assert client.login("joe", "secret")[0] == "OK"
            assert client.create("Sent")[0] == "OK"
            assert client.append("Sent", "(\\Seen)", None, BODY % (9, 9, 9))[0] == "OK"
            assert client.select("INBOX") == ("OK", [b"3"])
            assert client.search(None, "ALL") == ("OK", [b"1 2 3"])
            assert client.search("UTF-8", "SUBJECT", '"Gr\xfc\xdfe 2"'.encode())[1] == [b"2"]
            answer = client.fetch("2", "(UID BODY[])")[1]
            assert answer[0][1] == BODY % (2, 2, 2)
            assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
            assert client.expunge()[1] == [b"1"]
            assert client.uid("FETCH", "1:*", "(FLAGS)")[1] == [
                b"1 (UID 2 FLAGS (\\Seen \\Recent))",
                b"2 (UID 3 FLAGS (\\Recent))",
            ]
            assert client.copy("1:2", "Sent")[0] == "OK"
            assert client.status("Sent", "(MESSAGES)") == ("OK", [b"Sent (MESSAGES 3)"])
            assert client.rename("Sent", "Gone")[0] == "OK"
            assert client.list()[1] == [b'(\\HasNoChildren) "/" INBOX', b'(\\HasNoChildren) "/" Gone']
            assert client.close()[0] == "OK"

    await deferToThread(talk)


async def test_imapclient(listener: Listener) -> None:
    def talk() -> None:
        with IMAPClient("127.0.0.1", listener.port, ssl=False, use_uid=True, timeout=10) as client:
            client.login("joe", "secret")
            assert client.has_capability("IDLE") and client.has_capability("MOVE")
            client.create_folder("Entwürfe")
            assert [name for _, _, name in client.list_folders()] == ["INBOX", "Entwürfe"]
            assert client.select_folder("INBOX")[b"EXISTS"] == 3
            assert client.search(["SUBJECT", "Grüße 3"], "UTF-8") == [3]
            found = client.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "BODY.PEEK[TEXT]"])
            assert found[2][b"ENVELOPE"].message_id == b"<2@example.org>"
            assert found[2][b"BODY[TEXT]"] == b"Hello 2\r\n"
            assert found[1][b"BODYSTRUCTURE"][0] == b"text"
            client.add_flags([1], ["\\Flagged", "Key"])
            assert set(client.get_flags([1])[1]) == {b"\\Flagged", b"Key", b"\\Recent"}
            client.move([1], "Entwürfe")
            assert client.search() == [2, 3]
            assert client.folder_status("Entwürfe", ["MESSAGES"]) == {b"MESSAGES": 1}
            assert client.namespace().personal == (("", "/"),)
            client.idle()
            client.idle_done()

    await deferToThread(talk)


async def test_imapclient_is_told_of_new_mail_while_it_idles(listener: Listener) -> None:
    def begin() -> IMAPClient:
        client = IMAPClient("127.0.0.1", listener.port, ssl=False, timeout=10)
        client.login("joe", "secret")
        client.select_folder("INBOX")
        client.idle()
        return client

    def wait(client: IMAPClient) -> list[Any]:
        told: list[Any] = client.idle_check(timeout=5)
        client.idle_done()
        client.logout()
        return told

    client = await deferToThread(begin)
    await listener.deliver(BODY % (4, 4, 4))
    assert (4, b"EXISTS") in await deferToThread(wait, client)


async def run(program: str, *arguments: str) -> tuple[str, str, int]:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    out, err, code = await getProcessOutputAndValue(path, arguments, env={"HOME": "/nonexistent"})
    return out.decode(), err.decode(), code


async def test_curl(listener: Listener, tmp_path: Path) -> None:
    where = f"imap://127.0.0.1:{listener.port}"
    login = ("-s", "--user", "joe:secret")
    assert await run("curl", *login, f"{where}/INBOX;UID=2") == ((BODY % (2, 2, 2)).decode(), "", 0)
    assert (await run("curl", *login, f"{where}/INBOX;UID=2;SECTION=TEXT"))[0] == "Hello 2\r\n"
    assert (await run("curl", *login, f"{where}/INBOX?NEW"))[0].startswith("* SEARCH")
    assert '"/" INBOX' in (await run("curl", *login, where))[0]
    (tmp_path / "message").write_bytes(BODY % (5, 5, 5))
    assert (await run("curl", *login, "-T", str(tmp_path / "message"), f"{where}/INBOX"))[2] == 0
    assert (await run("curl", *login, f"{where}/INBOX;UID=4"))[0].encode() == BODY % (5, 5, 5)
    out, _, code = await run("curl", *login, "-k", "--ssl-reqd", f"{where}/INBOX;UID=1")
    assert (out.encode(), code) == (BODY % (1, 1, 1), 0)


async def test_mbsync_both_ways(listener: Listener, tmp_path: Path) -> None:
    made = await listener.account.apply([CreateMailbox(("work", "plans"))])
    await listener.deliver(BODY % (7, 7, 7), made.results[0].id)  # type: ignore[union-attr]
    mail = tmp_path / "mail"
    mail.mkdir()
    (tmp_path / "rc").write_text(
        f"""
IMAPAccount server
Host 127.0.0.1
Port {listener.port}
User joe
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account server

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )
    sync = ("-c", str(tmp_path / "rc"), "-a")
    out, err, code = await run("mbsync", *sync)
    assert code == 0, out + err
    assert len(list((mail / "INBOX").glob("*/*,U=*"))) == 3
    (pulled,) = (mail / "work" / "plans").glob("*/*,U=*")
    lines = pulled.read_bytes().splitlines()
    assert [line for line in lines if not line.startswith(b"X-TUID")] == (BODY % (7, 7, 7)).splitlines()
    # The other way: a new message, one that was read, one that is gone.
    one, two, _ = sorted((mail / "INBOX").glob("*/*,U=*"), key=lambda path: path.read_bytes())
    one.unlink()
    two.rename(mail / "INBOX" / "cur" / (two.name.partition(":")[0] + ":2,S"))
    (mail / "INBOX" / "new" / "1.2.3").write_bytes((BODY % (8, 8, 8)).replace(b"\r\n", b"\n"))
    out, err, code = await run("mbsync", *sync)
    assert code == 0, out + err
    rows = await listener.account.messages(listener.inbox)
    assert [(row.uid, "\\Seen" in row.flags) for row in rows] == [(2, True), (3, False), (4, False)]
    assert b"Hello 8" in await listener.account.read_blob(rows[-1].blob_id, 0, 10_000)
