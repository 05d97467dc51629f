"""The session around the commands: limits, TLS, ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import OverQuota
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.net.factory import ConnectionLimits

CERTIFICATES = object()


def test_too_many_bad_commands_before_login_end_it(make_world: Any) -> None:
    client = make_world(IMAPSettings(bad_commands_before_login=3)).client(None)
    assert client.send(b"a NONSENSE\r\n").startswith(b"a BAD")
    assert client.send(b"b LOGIN joe wrong\r\n").startswith(b"b NO [AUTHENTICATIONFAILED]")
    heard = client.send(b"c SELECT INBOX\r\nd NOOP\r\n")
    assert heard.startswith(b"c BAD") and b"* BYE" in heard and b"d OK" not in heard
    assert client.transport.is_closed()


def test_sessions_of_an_account_are_counted(make_world: Any) -> None:
    world = make_world(IMAPSettings(sessions_per_account=2))
    clients = [world.client(), world.client()]
    third = world.client(None)
    assert third.refused("LOGIN joe secret", b"LIMIT")
    third.ok("LOGIN ann secret")
    clients[0].ok("LOGOUT")
    world.client()


def test_connections_of_an_address_are_counted(make_world: Any) -> None:
    world = make_world(IMAPSettings(connections=ConnectionLimits(per_address=2)))
    world.client(), world.client()
    third = world.client(None)
    assert third.greeting.startswith(b"* BYE [LIMIT]")
    assert third.transport.is_closed()


def test_starttls_starts_anew(make_world: Any) -> None:
    world = make_world(certificates=CERTIFICATES)
    client = world.client(None, "192.0.2.7")
    assert b"STARTTLS LOGINDISABLED" in client.greeting
    assert client.do("STARTTLS")[-1].startswith(b"OK")
    assert client.transport.tls_started == 1
    capability = client.ok("CAPABILITY")[0]
    assert b"STARTTLS" not in capability and b"LOGINDISABLED" not in capability and b"AUTH=PLAIN" in capability
    assert client.do("STARTTLS")[-1].startswith(b"BAD")
    client.ok("LOGIN joe secret")
    assert world.authenticator.peers[-1].tls


def test_what_is_pipelined_behind_starttls_ends_the_session(make_world: Any) -> None:
    client = make_world(certificates=CERTIFICATES).client(None)
    heard = client.send(b"a STARTTLS\r\nb LOGIN joe secret\r\n")
    assert heard.startswith(b"a BAD") and b"* BYE" in heard and b"b " not in heard
    assert client.transport.tls_started == 0
    assert client.transport.is_closed()


def test_draining_says_bye_at_a_safe_point(world: Any) -> None:
    quiet, idler, busy = world.client(None), world.client(), world.client()
    idler.ok("SELECT INBOX")
    idler.send(b"i IDLE\r\n")
    busy.ok("SELECT INBOX")
    busy.transport.send(b"a APPEND INBOX {10}\r\n")
    assert busy.hear() == b"+ Ready\r\n"
    over: Deferred[object] = world.factory.drain(30)
    assert quiet.hear().startswith(b"* BYE")
    assert idler.hear().startswith(b"* BYE")
    assert busy.hear() == b"", "a message is no safe point"
    assert not over.called
    heard = busy.send(b"0123456789\r\n")
    assert b"a OK [APPENDUID" in heard and b"* BYE" in heard
    assert over.called
    assert not world.log_errors()


def test_a_failing_store_is_told_with_a_reference_and_nothing_else(world: Any) -> None:
    client = world.client()
    client.ok("SELECT INBOX")

    async def apply(*args: Any, **more: Any) -> Any:
        raise RuntimeError("secret path /var/mail/joe")

    world.joe.apply = apply
    lines = client.refused("STORE 1 +FLAGS (\\Seen)", b"SERVERBUG")
    assert b"secret" not in lines[-1] and b"reference" in lines[-1]
    assert len(world.log_errors()) == 1
    client.ok("NOOP")


def test_a_full_disk_in_the_middle_of_append_loses_no_sync(world: Any, make_message: Any) -> None:
    client = world.client()
    real = world.joe.new_blob

    def new_blob(size_hint: int | None = None) -> Any:
        writer = real(size_hint)

        async def write(octets: bytes) -> None:
            raise OverQuota("full")

        writer.write = write
        return writer

    world.joe.new_blob = new_blob
    assert client.append(make_message(4))[-1].startswith(b"NO [OVERQUOTA]")
    world.joe.new_blob = real
    assert client.append(make_message(4))[-1].startswith(b"OK [APPENDUID")


def test_append_waits_for_a_slow_store(world: Any) -> None:
    client = world.client()
    gate: Deferred[None] = Deferred()
    written = []
    real = world.joe.new_blob

    def new_blob(size_hint: int | None = None) -> Any:
        writer = real(size_hint)
        write_on = writer.write

        async def write(octets: bytes) -> None:
            await gate
            written.append(len(octets))
            await write_on(octets)

        writer.write = write
        return writer

    world.joe.new_blob = new_blob
    body = b"Subject: x\r\n\r\n" + b"y" * 1_000_000
    client.transport.send(b"a APPEND INBOX {%d+}\r\n" % len(body) + body + b"\r\n", 16_384)
    assert client.transport.is_paused, "the client is held back"
    gate.callback(None)
    assert b"a OK [APPENDUID" in client.hear()
    assert sum(written) == len(body)


def test_limits_of_mailboxes_names_and_keywords(make_world: Any) -> None:
    world = make_world(IMAPSettings(mailboxes=3, name_depth=3, name_length=20, keywords=2))
    client = world.client()
    client.refused("CREATE a/b/c/d", b"LIMIT")
    client.refused("CREATE " + "x" * 21, b"LIMIT")
    client.ok("CREATE a/b/c")
    client.refused("RENAME a d/e", b"LIMIT")
    client.ok("CREATE b")
    client.refused("CREATE c", b"LIMIT")
    client.ok("SELECT INBOX")
    client.ok("STORE 1 +FLAGS (one two)")
    client.refused("STORE 1 +FLAGS (three)", b"LIMIT")
    client.ok("STORE 2 +FLAGS (ONE)")
    client.ok("STORE 1 -FLAGS (three)")


def test_pipelined_commands_are_answered_in_order_with_one_write(world: Any) -> None:
    client = world.client()
    heard = client.send(b"".join(b"p%d NOOP\r\n" % number for number in range(100)))
    assert [line.split()[0] for line in heard.splitlines()] == [b"p%d" % number for number in range(100)]


def test_two_sessions_never_see_each_others_account(world: Any) -> None:
    ann = world.client("ann")
    assert b"* 0 EXISTS" in ann.ok("SELECT INBOX")
    joe = world.client()
    joe.ok("CREATE private")
    assert ann.ok('LIST "" *') == [b'* LIST (\\HasNoChildren) "/" INBOX']
