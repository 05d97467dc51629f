"""Our signatures before another implementation: Debian's opendkim says what it thinks of them.

`opendkim -t` checks messages in files and ends; opendkim-testmsg would ask the real DNS for our keys.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.interop.helpers import run_program
from twisted_mail_kit.delivery.callable import FunctionTarget
from twisted_mail_kit.delivery.dkimkeys import DKIMKey, make_key
from twisted_mail_kit.delivery.signing import Signing
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient

# It is a daemon, so it lies where a user's PATH may not lead.
OPENDKIM = shutil.which("opendkim", path=os.environ.get("PATH", "") + ":/usr/sbin")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(OPENDKIM is None, reason="opendkim is not installed"),
]

KEYS = [
    DKIMKey("xn--bcher-kva.example", "rsa1", make_key("rsa")),
    DKIMKey("xn--bcher-kva.example", "ed1", make_key("ed25519")),
]
HEADER = (
    b"From: =?utf-8?q?J=C3=B6?=\r\n <joe@xn--bcher-kva.example>\r\nTo: ann@example.net\r\n"
    b"Subject:  a \t folded\r\n\t subject \r\nDate: Mon, 23 Nov 2026 08:00:00 +0000\r\n"
)
MESSAGES = {
    "plain": HEADER + b"\r\nHello Ann\r\n",
    "spaces": HEADER + b"X: y \t \r\n\r\n a \t b  \r\n \t\r\nc\r\n\t\r\n\r\n \r\n",
    "empty": HEADER + b"\r\n",
    "blank lines": HEADER + b"\r\n\r\n\r\n\r\n",
    "8-bit": HEADER + b"X: \xc3\xbc\r\n\r\nGr\xc3\xbc\xc3\x9fe, Latin-1: \xfc\xff\r\n",
    "list": HEADER + b"List-Id: <a.b>\r\nList-Post: NO\r\nReferences: <a@b>\r\n <c@d>\r\n\r\nhi\r\n",
    "1 MB": HEADER + b"\r\n" + b"".join(b"%d  \t%b \r\n" % (n, b"x" * (n % 70)) for n in range(25_000)),
}


async def signed(message: bytes) -> bytes:
    kept: list[bytes] = []

    async def keep(envelope: Envelope, recipients: object, content: object) -> None:
        kept.append(content.read(0, content.size))

    clock = Clock()
    clock.advance(time.time())
    peer = Peer(host="192.0.2.8", service="submission", login="joe")
    delivery = await Signing(FunctionTarget(keep, clock), KEYS, clock).begin(Envelope(None, peer, "t"))
    await delivery.add_recipient(Recipient(parse_address("ann@example.net")))
    await delivery.write(message)
    await delivery.commit()
    return kept[0]


async def verdicts(folder: Path, message: bytes) -> dict[str, str]:
    """selector -> pass or fail, as its Authentication-Results say."""
    (folder / "keys").write_text("".join(f"{key.name} {key.record}\n" for key in KEYS))
    (folder / "opendkim.conf").write_text(f"Mode v\nDomain example.net\nTestPublicKeys {folder}/keys\n")
    (folder / "message").write_bytes(message)
    argv = [str(OPENDKIM), "-x", str(folder / "opendkim.conf"), "-t", str(folder / "message"), "-vvv"]
    said = (await run_program(argv)).output
    return {selector: verdict for verdict, selector in re.findall(r"dkim=(\w+)[^;]*?header\.s=(\w+)", said)}


@pytest.mark.parametrize("name", MESSAGES)
async def test_opendkim_takes_both_signatures(tmp_path: Path, name: str) -> None:
    assert await verdicts(tmp_path, await signed(MESSAGES[name])) == {"rsa1": "pass", "ed1": "pass"}


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"Hello", b"Hallo"), (b"folded", b"altered"), (b"Date: Mon", b"Cc: eve@example.com\r\nDate: Mon")],
)
async def test_opendkim_sees_what_was_altered(tmp_path: Path, before: bytes, after: bytes) -> None:
    altered = (await signed(MESSAGES["plain"])).replace(before, after)
    assert await verdicts(tmp_path, altered) == {"rsa1": "fail", "ed1": "fail"}
