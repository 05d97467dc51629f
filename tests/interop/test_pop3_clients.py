"""Real POP3 clients on real sockets: poplib, curl, fetchmail."""

from __future__ import annotations

import contextlib
import os
import poplib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread

from tests.interop.helpers import needs, run_program
from tests.pop3.kit import FIRST, inbox_of, make_world
from twisted_mail_kit.net.tls import self_signed

pytestmark = pytest.mark.interop
BIG = b"Subject: big\r\n\r\n" + b".0123456789 and a dot at both ends.\r\n" * 100_000


@contextlib.asynccontextmanager
async def served(*messages: bytes) -> AsyncIterator[tuple[object, int]]:
    """A world and the port of its POP3 server."""
    world = await make_world(*messages, clock=reactor, certificates=self_signed("localhost"))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(world.factory)
    try:
        yield world, port.getHost().port
    finally:
        await port.stopListening()
        await world.factory.drain(1)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("stls", [False, True], ids=["clear", "stls"])
async def test_poplib_reads_and_deletes(stls: bool) -> None:
    def client(port: int) -> None:
        pop = poplib.POP3("127.0.0.1", port, timeout=10)
        assert "TOP" in pop.capa()
        if stls:
            assert pop.stls(trusting()).startswith(b"+OK")
            assert "STLS" not in pop.capa()
        pop.user("joe")
        pop.pass_("secret")
        assert pop.stat() == (2, len(FIRST) + len(BIG))
        assert pop.list()[1] == [b"1 %d" % len(FIRST), b"2 %d" % len(BIG)]
        names = [line.split()[1] for line in pop.uidl()[1]]
        assert len(set(names)) == 2
        assert b"\r\n".join(pop.retr(1)[1]) + b"\r\n" == FIRST
        assert b"\r\n".join(pop.retr(2)[1]) + b"\r\n" == BIG
        assert pop.top(2, 1)[1] == BIG.split(b"\r\n")[:3]
        with pytest.raises(poplib.error_proto, match="no such message"):
            pop.retr(3)
        pop.dele(1)
        pop.close()  # without QUIT
        pop = poplib.POP3("127.0.0.1", port, timeout=10)
        pop.utf8()
        pop.user("joe")
        pop.pass_("secret")
        assert [line.split()[1] for line in pop.uidl()[1]] == names
        pop.dele(1)
        assert pop.quit().startswith(b"+OK")

    async with served(FIRST, BIG) as (world, port):
        await deferToThread(client, port)
        assert [row.uid for row in await inbox_of(world.joe)] == [2]


async def test_poplib_with_a_wrong_password() -> None:
    def client(port: int) -> None:
        pop = poplib.POP3("127.0.0.1", port, timeout=10)
        pop.user("joe")
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            pop.pass_("wrong")
        pop.quit()

    async with served() as (_, port):
        await deferToThread(client, port)


@needs("curl")
@pytest.mark.parametrize("options", [[], ["--ssl-reqd", "-k"], ["--login-options", "AUTH=PLAIN"]], ids=str)
async def test_curl_lists_and_fetches(options: list[str]) -> None:
    async with served(FIRST, BIG) as (_, port):
        base = ["curl", "-sS", "--max-time", "20", "-u", "joe:secret", *options]
        listing = await run_program([*base, f"pop3://127.0.0.1:{port}/"])
        assert listing.output.split() == ["1", str(len(FIRST)), "2", str(len(BIG))]
        message = await run_program([*base, f"pop3://127.0.0.1:{port}/1"])
        assert message.output.encode() == FIRST
        message = await run_program([*base, f"pop3://127.0.0.1:{port}/2"])
        assert message.output.encode() == BIG


@needs("fetchmail")
@pytest.mark.parametrize("tls", ['sslproto ""', 'sslproto "auto" no sslcertck'], ids=["clear", "stls"])
async def test_fetchmail_keeps_and_then_takes(tmp_path: Path, tls: str) -> None:
    box = tmp_path / "box"
    rc = tmp_path / "fetchmailrc"

    def configure(port: int, keep: str) -> None:
        rc.write_text(
            f"poll 127.0.0.1 protocol POP3 port {port} uidl\n"
            f'  user "joe" password "secret" is "{tmp_path.owner()}" here {keep} {tls}\n'
            f'  mda "/bin/cat >> {box}"\n'
        )
        rc.chmod(0o600)

    async def fetch(expect: int) -> None:
        home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)}
        await run_program(["fetchmail", "--nosyslog", "-v", "-f", str(rc)], expect=expect, env=home)

    async with served(FIRST, b"Subject: two\r\n\r\n.\r\nafter the dot\r\n") as (world, port):
        configure(port, "keep")
        await fetch(0)
        assert len(await inbox_of(world.joe)) == 2
        assert box.read_text().count("Subject: ") == 2
        assert "\n.\nafter the dot" in box.read_text()
        await fetch(1)  # 1: no new mail, since the unique ids are known
        assert box.read_text().count("Subject: ") == 2
        configure(port, "no keep")
        (tmp_path / ".fetchids").unlink(missing_ok=True)
        (tmp_path / "fetchids").unlink(missing_ok=True)
        await fetch(0)
        assert not await inbox_of(world.joe)
        assert box.read_text().count("Subject: ") == 4
