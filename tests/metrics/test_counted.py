"""Each number moves when the thing happens: a whole kit over loopback, with real clients."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.metrics.counting import Change, counting, flat
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import Add, Remove
from twisted_mail_kit.kit import MailKit
from twisted_mail_kit.metrics.instruments import every
from twisted_mail_kit.net.tls import Certificates, self_signed_pem
from twisted_mail_kit.outgoing import Outgoing, OutgoingSettings
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.smtp.client.settings import ClientTimes
from twisted_mail_kit.smtp.relay.settings import RelaySettings, RouteSettings
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.segments import Mistrusted
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

JOE = "joe@example.org"
MESSAGE = b"From: ann@example.net\r\nSubject: hello\r\n\r\nHello.\r\n"


@pytest_twisted.async_yield_fixture
async def house(tmp_path: Path) -> AsyncIterator[Any]:
    """Two servers: ours, and the one to which mail for away.example goes."""
    file = tmp_path / "certificate.pem"
    file.write_bytes(self_signed_pem("localhost"))
    certificates = Certificates(file)
    there = MailKit(
        hostname="mx.away.example",
        domains=["away.example"],
        store=MemoryStore(),
        auth=InMemoryUsernamePasswordDatabaseDontUse(**{"sue@away.example": b"x"}),
        certificates=certificates,
        reactor=reactor,
    )
    there.listen("smtp", "tcp:0:interface=127.0.0.1")
    there.startService()
    await there.ready
    routes = (
        RouteSettings(domain="away.example", host="127.0.0.1", port=there.listeners[0].port),
        RouteSettings(domain="dead.example", host="127.0.0.1", port=1),
    )
    outgoing = Outgoing(
        hostname="mx.example.org",
        state_dir=tmp_path,
        reactor=reactor,
        settings=OutgoingSettings(
            queue=QueueSettings(dead_after=1), relay=RelaySettings(routes=routes, times=ClientTimes(connect=5))
        ),
    )
    store = SQLiteStore(tmp_path / "store", reactor)
    kit = MailKit(
        hostname="mx.example.org",
        domains=["example.org"],
        store=store,
        auth=InMemoryUsernamePasswordDatabaseDontUse(**{JOE: b"secret"}),
        certificates=certificates,
        outbound=outgoing,
        reactor=reactor,
    )
    for service in ("smtp", "submission", "imap", "pop3"):
        kit.listen(service, "tcp:0:interface=127.0.0.1")
    kit.startService()
    await kit.ready
    ports = {one.service: one.port for one in kit.listeners}
    yield SimpleNamespace(kit=kit, store=store, outgoing=outgoing, ports=ports)
    await kit.stopService()
    await there.stopService()


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    return await deferToThread(work, *arguments)


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_so():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it does not come")


def send(port: int, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("ann@example.net", list(recipients), MESSAGE)


def submit(port: int, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.login(JOE, "secret")
        client.sendmail(JOE, list(recipients), MESSAGE.replace(b"ann@example.net", JOE.encode()))


def moved(change: Change, *names: str) -> dict[str, Any]:
    """What begins with one of these names."""
    return {key.removeprefix("mailkit_"): value for key, value in change.items() if key[8:].startswith(names)}


async def test_a_message_that_comes_in(house: Any) -> None:
    with counting() as change:
        await in_thread(send, house.ports["smtp"], JOE)
        await until(lambda: flat().get("mailkit_sessions_open{smtp}") == 0)
    seen = moved(change, "message", "local", "sessions_total", "commit", "smtp_refused")
    commits = seen.pop("commits_total{mail store}")
    assert commits >= 1 and seen.pop("commit_requests{mail store}") == commits
    assert seen.pop("commit_seconds{mail store}") == commits
    assert {key: value for key, value in seen.items() if "queue" not in key} == {
        "sessions_total{smtp}": 1,
        "messages_total{smtp,2xx}": 1,
        "message_bytes_total{smtp}": len(MESSAGE),
        "message_recipients_total{smtp}": 1,
        "message_seconds{smtp}": 1,
        "local_deliveries_total{delivered}": 1,
    }


async def test_what_is_refused(house: Any) -> None:
    def work() -> None:
        with smtplib.SMTP("127.0.0.1", house.ports["smtp"], timeout=20) as client:
            client.ehlo()
            client.mail("ann@example.net")
            assert client.rcpt("nobody@example.org")[0] == 550
            assert client.rcpt(JOE)[0] == 250
            assert client.data(b"Received: from there\r\n" * 50 + MESSAGE)[0] == 554

    with counting() as change:
        await in_thread(work)
    assert moved(change, "messages", "message_b", "smtp_refused", "local") == {
        "messages_total{smtp,5xx}": 1,
        "smtp_refused_total{smtp,5xx}": 2,
    }


async def test_sessions_that_are_open(house: Any) -> None:
    client = await in_thread(smtplib.SMTP, "127.0.0.1", house.ports["smtp"], "localhost", 20)
    assert flat()["mailkit_sessions_open{smtp}"] == 1
    client.close()
    await until(lambda: flat()["mailkit_sessions_open{smtp}"] == 0)


async def test_logins_and_their_tls(house: Any) -> None:
    def work() -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with imaplib.IMAP4("127.0.0.1", house.ports["imap"], timeout=20) as client:
            client.starttls(context)
            with pytest.raises(imaplib.IMAP4.error):
                client.login(JOE, "wrong")
            client.login(JOE, "secret")

    with counting() as change:
        await in_thread(work)
    assert moved(change, "logins", "tls") == {
        "logins_total{imap,refused}": 1,
        "logins_total{imap,ok}": 1,
        "tls_sessions_total{imap,TLSv1.3}": 1,
    }


async def test_what_an_imap_client_does(house: Any) -> None:
    await in_thread(send, house.ports["smtp"], JOE)
    client = await in_thread(imaplib.IMAP4, "127.0.0.1", house.ports["imap"], 20)

    def work() -> None:
        client.login(JOE, "secret")
        client.select("INBOX")
        client.fetch("1", "FLAGS")
        with pytest.raises(imaplib.IMAP4.error):
            client.fetch("1", "XYZZY")
        client.select("nowhere")
        client.select("INBOX")
        client.send(b"z IDLE\r\n")
        assert client.readline().startswith(b"+")

    with counting() as change:
        await in_thread(work)
    seen = moved(change, "imap_commands", "imap_refused", "imap_idling")
    assert seen == {
        "imap_commands_total{LOGIN}": 1,
        "imap_commands_total{SELECT}": 3,
        "imap_commands_total{FETCH}": 1,
        "imap_commands_total{IDLE}": 1,
        "imap_refused_total{NO}": 1,
        "imap_refused_total{BAD}": 1,
        "imap_idling": 1,
    }
    assert flat()["mailkit_imap_view_bytes"] > 0
    client.shutdown()
    await until(lambda: flat()["mailkit_imap_idling"] == 0)


async def test_what_a_pop3_client_does(house: Any) -> None:
    await in_thread(send, house.ports["smtp"], JOE)

    def work() -> int:
        client = poplib.POP3("127.0.0.1", house.ports["pop3"], timeout=20)
        client.user(JOE)
        client.pass_("secret")
        _, _, size = client.retr(1)
        client.quit()
        return size

    with counting() as change:
        size = await in_thread(work)
    assert moved(change, "pop3") == {
        "pop3_commands_total{USER}": 1,
        "pop3_commands_total{PASS}": 1,
        "pop3_commands_total{RETR}": 1,
        "pop3_commands_total{QUIT}": 1,
        "pop3_retrieved_total": 1,
        "pop3_retrieved_bytes_total": size,
    }


async def test_mail_that_goes_out(house: Any) -> None:
    with counting() as change:
        await in_thread(submit, house.ports["submission"], "sue@away.example", "kim@away.example")
        await until(lambda: house.outgoing.queue.state()["in_hand"] == 0)
    seen = moved(change, "queue", "relay", "local")
    assert seen["queue_attempts_total"] == 1
    assert seen["queue_outcomes_total{delivered}"] == 1
    assert seen["queue_outcomes_total{failed}"] == 1  # nobody there is called Kim
    assert seen["queue_delivery_seconds"] == 1
    assert seen["relay_sessions_total{opportunistic}"] == 1
    assert seen["queue_reports_total{delivered}"] == 1  # the bounce, to Joe
    assert seen["local_deliveries_total{delivered}"] == 2  # in this process: Sue's server is here too
    assert flat()["mailkit_relay_connections_open"] == flat()["mailkit_relay_connections_idle"] == 1
    assert seen["queue_destinations{alive}"] == 1


async def test_a_destination_that_does_not_answer(house: Any) -> None:
    with counting() as change:
        await in_thread(submit, house.ports["submission"], "sue@dead.example")
        await until(lambda: house.outgoing.queue.state()["in_hand"] == 0)
    seen = moved(change, "queue", "relay")
    assert seen["queue_outcomes_total{delayed}"] == 1
    assert seen["relay_failures_total{connect}"] == 1
    assert seen["queue_destinations{dead}"] == 1


async def test_a_store_that_has_become_read_only(house: Any) -> None:
    assert flat()["mailkit_read_only{mail store}"] == 0
    house.store.writer.mistrust(Mistrusted("a test"))
    assert flat()["mailkit_read_only{mail store}"] == 1
    assert flat()["mailkit_read_only{queue}"] == 0
    with counting() as change, pytest.raises(smtplib.SMTPDataError):
        await in_thread(send, house.ports["smtp"], JOE)
    assert change["mailkit_messages_total{smtp,4xx}"] == 1
    assert change["mailkit_local_deliveries_total{delayed}"] == 1


async def test_housekeeping_and_what_it_gives_back(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store", reactor, SQLiteSettings(blob_grace=-1.0, small_message=1000))
    account = await store.open_account(JOE, create=True)
    (inbox,) = await account.mailboxes()
    writer = account.new_blob(1_000_000)
    await writer.write(b"x" * 1_000_000)
    applied = await account.apply([Add(inbox.id, await writer.commit(), 0, b"")])
    await account.apply([Remove(inbox.id, [applied.results[0].uid])])
    with counting() as change:
        await store.compact()
    assert change["mailkit_housekeeping_total{mail store}"] >= 2
    assert change["mailkit_store_freed_bytes_total"] > 1_000_000
    await store.close()


async def test_reloads(house: Any) -> None:
    house.kit.reread = lambda: house.kit.fittings
    with counting() as change:
        assert house.kit.reload()

    def wrong() -> Any:
        raise ConfigurationError(["no"])

    house.kit.reread = wrong
    with counting() as after:
        assert not house.kit.reload()
    assert moved(change, "reloads") == {"reloads_total{ok}": 1}
    assert moved(after, "reloads") == {"reloads_total{refused}": 1}


def test_every_number_has_a_sentence_and_prometheus_own_kind_of_name() -> None:
    for metric in every():
        assert metric.name.startswith("mailkit_")
        assert metric.text.endswith("."), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
