"""The page of metrics, over real sockets, read back by prometheus_client's own parsers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer_only

from tests.cli.test_queue import fill
from tests.metrics.counting import flat
from tests.monitor.asking import ask
from twisted_mail_kit.assembly import check_configuration
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.kit import MailKit
from twisted_mail_kit.metrics.catalogue import QUEUE_SECONDS
from twisted_mail_kit.metrics.instruments import every, numbers
from twisted_mail_kit.monitor import gathering, page
from twisted_mail_kit.monitor.exposition import OwnNumbers
from twisted_mail_kit.monitor.gathering import Gathering, queue_of
from twisted_mail_kit.monitor.page import open_page
from twisted_mail_kit.monitor.service import Monitor
from twisted_mail_kit.monitor.settings import MetricsSettings
from twisted_mail_kit.net.tls import Certificates, self_signed_pem
from twisted_mail_kit.outgoing import Outgoing
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore

LOOPBACK = "tcp:0:interface=127.0.0.1"


@pytest_twisted.async_yield_fixture
async def monitor(tmp_path: Path) -> AsyncIterator[Monitor]:
    """Of a kit with a store and a queue, which nobody uses."""
    file = tmp_path / "certificate.pem"
    file.write_bytes(self_signed_pem("localhost"))
    store, outgoing = SQLiteStore(tmp_path / "store", reactor), None
    outgoing = Outgoing(hostname="mx.example.org", state_dir=tmp_path, reactor=reactor)
    kit = MailKit(
        hostname="mx.example.org", store=store, outbound=outgoing, certificates=Certificates(file), reactor=reactor
    )
    kit.startService()
    await kit.ready
    made = Monitor(kit, MetricsSettings(endpoint=LOOPBACK), state=tmp_path, store=store, outgoing=outgoing)
    made.start()
    listener = await made.open()
    assert listener is not None and listener.service == "metrics"
    made.kit.listeners.append(listener)
    yield made
    await made.stop()
    await kit.stopService()


async def asked(monitor: Monitor, *arguments: Any, **more: Any) -> Any:
    return await deferToThread(ask, monitor.kit.listeners[-1].port, *arguments, **more)


def samples(text: bytes) -> dict[str, float]:
    return {
        one.name + "".join(f"{{{value}}}" for value in one.labels.values()): one.value
        for family in parsed(text.decode())
        for one in family.samples
    }


async def test_the_text_format_has_every_number(monitor: Monitor) -> None:
    status, fields, text = await asked(monitor)
    assert status == 200
    assert fields["content-type"].startswith("text/plain; version=0.0.4")
    assert int(fields["content-length"]) == len(text)
    families = {family.name: family for family in parsed(text.decode())}
    for metric in every():
        assert metric.name.removesuffix("_total") in families, metric.name
        assert families[metric.name.removesuffix("_total")].documentation == metric.text
    found = samples(text)
    assert found["mailkit_read_only{mail store}"] == 0
    assert found["mailkit_store_bytes{index}"] > 0
    assert 0 < found["mailkit_state_disk_bytes{free}"] <= found["mailkit_state_disk_bytes{all}"]
    assert found["mailkit_certificate_expiry_timestamp_seconds{tls}"] == pytest.approx(
        reactor.seconds() + 3650 * 86400, abs=86400
    )
    assert found["process_resident_memory_bytes"] > 1e6
    assert found["mailkit_queue_recipients{due}"] == 0
    assert found["mailkit_build_info{0.1.0}"] == 1


async def test_openmetrics_for_those_who_ask_for_it(monitor: Monitor) -> None:
    status, fields, text = await asked(monitor, Accept="application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert status == 200
    assert fields["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    families = {family.name: family.type for family in openmetrics.text_string_to_metric_families(text.decode())}
    assert families["mailkit_sessions"] == "counter"
    assert families["mailkit_message_seconds"] == "histogram"
    assert families["mailkit_imap_idling"] == "gauge"


async def test_a_histogram_as_prometheus_reads_it(monitor: Monitor) -> None:
    _, _, before = await asked(monitor)
    for seconds in (0.5, 4.0, 1e9):
        QUEUE_SECONDS.add(seconds)
    _, _, after = await asked(monitor)
    found, was = samples(after), samples(before)
    name = "mailkit_queue_delivery_seconds"
    assert found[f"{name}_count"] == found[f"{name}_bucket{{+Inf}}"] == flat()[name]
    buckets = [f"{name}_bucket{{{bound}}}" for bound in ("1.0", "5.0", "+Inf")]
    assert [found[bucket] - was[bucket] for bucket in buckets] == [1, 2, 3]


async def test_nothing_else_is_there(monitor: Monitor) -> None:
    for path in ("/", "/metrics/", "/metrics/x", "/favicon.ico", "/METRICS", "//metrics", "/%6Detrics"):
        status, fields, text = await asked(monitor, path)
        assert status == 404, path
        assert fields["x-content-type-options"] == "nosniff"
        assert b"mailkit_" not in text


async def test_nothing_else_can_be_done(monitor: Monitor) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "XYZZY"):
        body = b"x" * 300_000 if method in ("POST", "PUT") else None
        status, fields, text = await asked(monitor, "/metrics", method, body)
        assert status == 405, method
        assert fields["allow"] == "GET, HEAD"
        assert b"mailkit_" not in text


async def test_head_has_no_body(monitor: Monitor) -> None:
    status, fields, text = await asked(monitor, method="HEAD")
    assert (status, text) == (200, b"")
    assert int(fields["content-length"]) > 1000


async def test_whatever_the_accept_field_says(monitor: Monitor) -> None:
    def work(accept: str) -> bytes:
        with socket.create_connection(("127.0.0.1", monitor.kit.listeners[-1].port), 20) as line:
            said = f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"
            line.sendall(said.encode("latin-1"))
            heard = b""
            while more := line.recv(65536):
                heard += more
            return heard

    for accept in ("\x00", "application/openmetrics-text; version=x", ";;;,", "x" * 9000, "", "text/plain;version=1.x"):
        heard = await deferToThread(work, accept)
        assert heard.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 ")), accept
        assert b"Traceback" not in heard


async def test_an_answer_that_cannot_be_made_is_an_error_with_a_reference(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> Any:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(monitor.gathering, "now", broken)
    status, _, text = await asked(monitor)
    assert status == 500
    assert b"reference" in text and b"secret" not in text


async def test_a_client_that_leaves_before_the_answer_harms_nobody(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: Deferred[None] = Deferred()

    async def forever() -> Any:
        began.callback(None)
        await Deferred()

    with monkeypatch.context() as patched:
        patched.setattr(monitor.gathering, "now", forever)
        line = await deferToThread(socket.create_connection, ("127.0.0.1", monitor.kit.listeners[-1].port), 20)
        line.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await began
        line.close()
        await deferLater(reactor, 0.05)
    assert (await asked(monitor))[0] == 200


async def test_connections_are_few(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 2)
    port = monitor.kit.listeners[-1].port

    def open_three() -> list[socket.socket]:
        return [socket.create_connection(("127.0.0.1", port), 20) for _ in range(3)]

    lines = await deferToThread(open_three)
    assert await deferToThread(lines[2].recv, 1) == b""
    for line in lines:
        line.close()
    await deferLater(reactor, 0.05)
    assert (await asked(monitor))[0] == 200


async def test_a_number_that_cannot_be_had_does_not_keep_the_others_away(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("no")

    async def forever() -> None:
        await Deferred()

    monitor.gathering.probes[:0] = [broken, forever]
    monkeypatch.setattr(gathering, "PATIENCE", 0.05)
    assert (await asked(monitor))[0] == 200


async def test_what_waits_in_the_queue(monitor: Monitor) -> None:
    outgoing: Any = monitor.kit.fittings.outbound
    await outgoing.queue.stop(0)
    await fill(outgoing.spool, reactor.seconds())
    found = samples((await asked(monitor))[2])
    stats = await outgoing.desk.stats()
    assert found["mailkit_queue_messages"] == stats["messages"] == 2
    assert found["mailkit_queue_bytes"] == stats["size"]
    for state in ("due", "waiting", "held"):
        assert found[f"mailkit_queue_recipients{{{state}}}"] == stats[state], state
    assert found["mailkit_queue_oldest_seconds"] == pytest.approx(3 * 3600, abs=60)


@implementer_only(ISpool)
class Uncounted(MemorySpool):
    """It provides ISpool, and nothing else."""


async def test_a_spool_that_cannot_count_is_walked_through_now_and_then(tmp_path: Path) -> None:
    spool = Uncounted(reactor)
    outgoing = Outgoing(hostname="mx.example.org", state_dir=tmp_path, reactor=reactor, spool=spool)
    look = queue_of(outgoing)
    await look()
    assert flat()["mailkit_queue_messages"] == 0
    await fill(spool, reactor.seconds())
    await look()
    assert flat()["mailkit_queue_messages"] == 0  # not a second time within the minute
    await queue_of(outgoing)()
    assert flat()["mailkit_queue_messages"] == 2
    await outgoing.stop(0)


async def test_a_port_that_is_taken(monitor: Monitor, tmp_path: Path) -> None:
    port = monitor.kit.listeners[-1].port
    taken = MetricsSettings(endpoint=f"tcp:{port}:interface=127.0.0.1")
    second = Monitor(monitor.kit, taken, state=tmp_path)
    with pytest.raises(ConfigurationError, match=r"\[metrics\] endpoint = .*taken|in use"):
        await second.open()
    await second.stop()


def test_an_endpoint_that_is_none(tmp_path: Path) -> None:
    kit = MailKit(hostname="mx.example.org", store=MemoryStore(), reactor=reactor)
    with pytest.raises(ConfigurationError, match=r"\[metrics\] endpoint = \"nonsense:1\""):
        Monitor(kit, MetricsSettings(endpoint="nonsense:1"), state=tmp_path)


def test_an_endpoint_that_is_none_is_told_by_config_check(tmp_path: Path) -> None:
    file = tmp_path / "mailkit.toml"
    text = 'hostname = "mx.example.org"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n[metrics]\nendpoint = '
    file.write_text(text + '"nonsense:1"')
    (problem,) = check_configuration(file)
    assert problem.startswith(f'{file}: [metrics] endpoint = "nonsense:1": ')
    file.write_text(text + '"tcp:9125:interface=127.0.0.1"')
    assert check_configuration(file) == []


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    kit = MailKit(hostname="mx.example.org", store=MemoryStore(), reactor=reactor)
    path = tmp_path / "m"
    endpoint = serverFromString(reactor, f"unix:{path}:mode=600")
    port = await open_page(Gathering(kit), reactor, endpoint)

    def work() -> bytes:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(20)
            line.connect(str(path))
            line.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return line.recv(100)

    assert (await deferToThread(work)).startswith(b"HTTP/1.0 200 OK")
    await port.stopListening()  # type: ignore[misc]


def test_in_a_registry_of_ones_own() -> None:
    registry = CollectorRegistry()
    registry.register(OwnNumbers())
    found = samples(generate_latest(registry))
    (value,) = numbers()["mailkit_pop3_retrieved_total"].values()
    assert found["mailkit_pop3_retrieved_total"] == value
