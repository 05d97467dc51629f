"""Dialogues: what a script says is what must come, whole and chopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import LineReceiver

from twisted_mail_kit.testing.dialogue import Dialogue, DialogueError, octets_of, pattern_of, play, scripts


class Parrot(LineReceiver):
    """Says each line again; knows a few words."""

    clock: Clock | None = None

    def connectionMade(self) -> None:
        self.sendLine(b"hello " + self.transport.getPeer().host.encode())

    def lineReceived(self, line: bytes) -> None:
        if line == b"bye":
            self.sendLine(b"goodbye")
            self.transport.loseConnection()
        elif line == b"cut":
            self.transport.abortConnection()
        elif line == b"later":
            deferToThread(lambda: b"now").addCallback(self.sendLine)
        elif line == b"tls":
            self.sendLine(b"go")
            self.transport.startTLS(object())
        elif line == b"tls?":
            self.sendLine(b"yes" if ISSLTransport.providedBy(self.transport) else b"no")
        elif line == b"sleep":
            self.clock.callLater(10, self.clock.callLater, 10, self.sendLine, b"woke")
        elif line == b"three":
            self.transport.write(b"one\r\ntwo\r\nthree\r\n")
        else:
            self.sendLine(line)


@pytest.fixture(params=[None, 1], ids=["whole", "chopped"])
def chop(request: pytest.FixtureRequest) -> int | None:
    return request.param


def parrot(name: str) -> Parrot:
    return Parrot()


async def test_a_dialogue_that_goes_as_written(chop: int | None) -> None:
    await play(
        r"""
        # all the signs there are
        S: hello 127.0.0.1
        C: one
        C: two
        S: one
        S: tw*
        C: * 1 EXPUNGE (\Seen)
        S: * 1 EXPUNGE (\Seen)
        C-: half a
        C: \x20line\t\\
        S: half a line\x09*
        C:
        S:
        C: three
        S: ...
        S: three
        C: bye
        S: goodbye
        X:
        """,
        parrot,
        None,
        chop,
    )


async def test_connections_have_names_and_addresses(chop: int | None) -> None:
    await play(
        """
        P[bob]: 192.0.2.7
        P3: 2001:db8::1 tls
        S: hello 127.0.0.1
        S[bob]: hello 192.0.2.7
        C[bob]: bob's
        C: mine
        S: mine
        S[bob]: bob's
        D[bob]:
        S3: hello 2001:db8::1
        C3: tls?
        S3: yes
        """,
        parrot,
        None,
        chop,
    )


async def test_answers_out_of_a_thread_are_waited_for() -> None:
    await play("S: hello *\nC: later\nS: now", parrot)


async def test_a_factory_is_as_good_as_a_function() -> None:
    await play("S: hello *", Factory.forProtocol(Parrot))


async def test_time_goes_on_from_timer_to_timer() -> None:
    clock = Clock()
    Parrot.clock = clock
    await play("S: hello *\nC: sleep\nT: 19\nC: x\nS: x\nT: 1\nS: woke", parrot, clock)
    assert clock.seconds() == 20


async def test_tls_is_only_played(chop: int | None) -> None:
    await play("S: hello *\nC: tls?\nS: no\nC: tls\nS: go\nC: tls?\nS: yes", parrot, None, chop)


async def test_words_in_clear_text_break_the_handshake_when_chopped() -> None:
    await play("S: hello *\nC: tls\nC: tls?\nS: go\nX:", parrot, None, 1)


@pytest.mark.parametrize(
    ("script", "line", "expected", "came"),
    [
        ("S: hello *\nC: one\nS: two", 3, "S: two", "S: one"),
        ("S: hello *\nC: one", 2, "(nothing more)", "S: one"),
        ("S: hello *\nC: bye\nX:", 3, "X: (closed)", "S: goodbye"),
        ("S: hello *\nC: one\nS: one\nX:", 4, "X: (closed)", "(it is still open)"),
        ("S: hello *\nS: more", 2, "S: more", "(nothing)"),
        ("S: hello *\nC: bye\nS: goodbye\nS: more", 4, "S: more", "(the server closed the connection)"),
        ("S: hello *\nC: cut\nS: x", 3, "S: x", "(the server closed the connection)"),
        ("S: hello *\nC: three\nS: ...\nS: four", 4, "S: four", "one"),
        ("S: ello *", 1, "S: ello *", "S: hello"),
    ],
)
async def test_a_dialogue_that_does_not_is_told_with_its_line(script: str, line: int, expected: str, came: str) -> None:
    with pytest.raises(DialogueError) as told:
        await play(script, parrot, seconds=0.05)
    text = str(told.value)
    assert f"line {line}\n" in text
    assert expected in text.partition("expected:")[2].partition("came:")[0]
    assert came in text.partition("came:")[2]


async def test_a_line_that_is_no_line_is_told() -> None:
    with pytest.raises(DialogueError, match="line 2 is no line"):
        await play("S: hello *\nQ: what", parrot)


async def test_scripts_can_follow_each_other() -> None:
    dialogue = Dialogue(parrot)
    await dialogue.play("S: hello *\nC: one\nS: one")
    await dialogue.play("C: two\nS: two")
    assert not dialogue.transport().is_closed()
    await dialogue.end()
    assert dialogue.transport().is_closed()


async def test_a_server_that_writes_much_is_paused_and_goes_on() -> None:
    class Chatty(Protocol):
        sent = 0

        def connectionMade(self) -> None:
            self.transport.registerProducer(self, False)

        def resumeProducing(self) -> None:
            self.sent += 1
            self.transport.write(b"x" * 1022 + b"\r\n")
            if self.sent == 500:
                self.transport.unregisterProducer()
                self.transport.loseConnection()

        def stopProducing(self) -> None:
            pass

    await play("S: x*\n" * 500 + "X:", lambda name: Chatty())


def test_escapes_are_octets_and_stars_are_patterns() -> None:
    assert octets_of(r"a\r\n\0\xff\\*\Seen é") == b"a\r\n\0\xff\\*\\Seen \xc3\xa9"
    assert pattern_of(r"(\Seen \*) *.").fullmatch(rb"(\Seen \*) .")
    assert not pattern_of("a.c").fullmatch(b"abc")
    assert not pattern_of("* 2 EXPUNGE").fullmatch(b"+* 2 EXPUNGE")
    assert not pattern_of("* 2 EXPUNGE").fullmatch(b"x 2 EXPUNGE")
    assert pattern_of("*").fullmatch(b"")


def test_scripts_of_a_folder_have_their_names(tmp_path: Path) -> None:
    with pytest.raises(DialogueError):
        scripts(tmp_path)
    (tmp_path / "b.txt").write_text("S: x")
    (tmp_path / "a.txt").write_text("S: x")
    assert [parameter.id for parameter in scripts(tmp_path)] == ["a", "b"]
