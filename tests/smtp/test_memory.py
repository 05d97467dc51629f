"""A message of 100 MB costs a few MB, however slow the target is."""

from __future__ import annotations

import subprocess
import sys

from twisted.internet.threads import deferToThread

SERVER = '''
import resource, socket, sys, threading
from twisted.internet import reactor, task
from twisted_mail_kit.mail.outcome import Delivered
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings

class Slow:
    """Takes 64 KB or so at a time, and needs a moment for it."""
    size = 0
    async def connected(self, peer): pass
    async def greeted(self, peer): pass
    async def begin(self, envelope): return self
    async def add_recipient(self, recipient): pass
    async def write(self, octets):
        self.size += len(octets)
        await task.deferLater(reactor, 0.001, lambda: None)
    async def commit(self): return [Delivered()]
    async def abort(self): pass

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

def client(port, how):
    line = socket.create_connection(("127.0.0.1", port))
    heard = line.makefile("rb")
    def say(octets, code):
        line.sendall(octets)
        while (answer := heard.readline())[3:4] == b"-": pass
        assert answer.startswith(code), answer
    say(b"", b"220")
    say(b"EHLO me\\r\\n", b"250")
    say(b"MAIL FROM:<ann@example.net>\\r\\n", b"250")
    say(b"RCPT TO:<joe@example.org>\\r\\n", b"250")
    chunk = (b"x" * 70 + b"\\r\\n") * 1000
    total = 100_000_000 // len(chunk) if how != "warm" else 10
    if how == "bdat":
        line.sendall(b"BDAT %d LAST\\r\\n" % (total * len(chunk)))
    else:
        say(b"DATA\\r\\n", b"354")
    for _ in range(total):
        line.sendall(chunk)
    say(b"" if how == "bdat" else b".\\r\\n", b"250")
    say(b"QUIT\\r\\n", b"221")
    line.close()
    return total * len(chunk)

def story():
    port = listening.getHost().port
    client(port, "warm")
    before = peak()
    for how in ("data", "bdat"):
        target.size = 0
        size = client(port, how)
        assert target.size == size, (target.size, size)
    print(peak() - before)
    reactor.callFromThread(reactor.stop)

target = Slow()
factory = make_factory("smtp", "mx", target, None, None, SMTPSettings(message_size=200_000_000), reactor)
listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
threading.Thread(target=story, daemon=True).start()
reactor.callLater(100, reactor.stop)
reactor.run()
'''


async def test_a_great_message_costs_a_few_megabytes() -> None:
    done = await deferToThread(
        subprocess.run, [sys.executable, "-c", SERVER], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip(), done.stderr
    assert int(done.stdout) < 16 * 1024, f"{done.stdout} KB more"
