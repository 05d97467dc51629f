"""Who and what a server meets: peers, envelopes and messages, ordinary ones and such as nobody would think of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted_mail_kit.delivery.received import ReceivedMessage
from twisted_mail_kit.mail.address import Address, make_address
from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.destination import Alias, Destination, Local
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.headers import Headers

NOW = 1_800_000_000.0
ANN, JOE = Address("ann", "example.net"), Address("joe", "example.org")
STRANGER = Peer("192.0.2.1", 4711, "198.51.100.1", 25, name="mx.example.net", esmtp=True)
PLAIN = b"From: ann@example.net\r\nTo: joe@example.org\r\nSubject: hello\r\n\r\nHello Joe.\r\n"

PEERS = [
    STRANGER,
    Peer("2001:db8::1", service="smtp", name="[IPv6:2001:db8::1]", esmtp=True, tls="TLSv1.3 TLS_AES_128_GCM_SHA256"),
    Peer("192.0.2.2", service="submission", name="laptop", esmtp=True, tls="TLSv1.3 X", login="joe@example.org"),
    Peer("", service="lmtp", name="mx", esmtp=True, is_local=True),
    Peer("", service="queue", is_local=True),
    Peer("127.0.0.1", name="x" * 2000, is_local=True),
    Peer("192.0.2.3", name="-rf $(reboot) `id` %s %n ' OR 1=1 --"),
    Peer("192.0.2.4", name="mail.\u4f8b\u3048.jp", esmtp=True),
    Peer("192.0.2.5", name=""),
    Peer("::ffff:192.0.2.6", name="..", login="*"),
]
SENDERS = [
    ANN,
    None,
    make_address("../../x", "example.net"),
    make_address('a b"c\\d', "example.net"),
    make_address("' OR '1'='1", "example.net"),
    make_address("\U0001f4ee", "\u4f8b\u3048.jp"),
    make_address("x" * 64, "y" * 60 + ".example.net"),
    make_address("ann", "[192.0.2.1]"),
    Address("postmaster", ""),
]
_FIELDS = b"".join(b"X-Field-%d: %s\r\n" % (number, b"y" * 60) for number in range(2000))
MESSAGES = {
    "plain": PLAIN,
    "empty": b"",
    "only a body": b"\r\nHello.\r\n",
    "only a header": b"Subject: hello\r\n",
    "no line end": b"Subject: hello",
    "no header at all": b"Hello Joe, how are you?\r\nFine.\r\n",
    "NUL and controls": b"Subject: \0\x01\x7f\x1b[2J\r\nFrom: \0\r\n\r\n\0\r\n",
    "no text": b"Subject: \xff\xfe\x80\r\nFrom: \xff <\xfe@\xfd>\r\nTo: \xc3\r\n\r\n\xff\r\n",
    "bare line ends": b"Subject: a\nFrom: b\rTo: c\n\nHello\r.\n",
    "encoded words that are none": b"Subject: =?x?q?=?= =?utf-8?b?////?= =?utf-8?q?=FF?= =?\r\n\r\n",
    "addresses that are none": b'From: <<>>,,;:@,"\r\nTo: (((((\r\nSender: a@b@c, @, <@x:y>\r\n\r\n',
    "many fields": _FIELDS + b"\r\n",
    "one field twice": b"Subject: a\r\nSubject: b\r\nFrom: a@b.example\r\nFrom: c@d.example\r\n\r\n",
    "a long field": b"Subject: " + b"x" * 200_000 + b"\r\n\r\nHello.\r\n",
    "a long line": b"Subject: hello\r\n\r\n" + b"x" * 1_000_000 + b"\r\n",
    "parentheses": b"To: " + b"(" * 20_000 + b"\r\nSubject: " + b'((<"' * 5_000 + b"\r\n\r\n",
    "parts in parts": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\nContent-Type: multipart/mixed;"
    b" boundary=x\r\n\r\n" * 2_000,
}


def envelope(sender: Address | None = ANN, peer: Peer = STRANGER, number: int = 0) -> Envelope:
    """One MAIL FROM."""
    return Envelope(sender, peer, f"trace-{number}", received_at=NOW)


def envelopes() -> list[Envelope]:
    """Each peer, and each sender; and what can be asked for along with it."""
    every = [envelope(ANN, peer) for peer in PEERS] + [envelope(sender) for sender in SENDERS]
    ordinary = envelope()
    every += [replace(ordinary, body="BINARYMIME", smtputf8=True, size=0, ret="HDRS", envid="\u00fc +=" * 20)]
    every += [replace(ordinary, size=2**63, auth="<>", require_tls=True), replace(ordinary, trace_id="", received_at=0)]
    return [replace(one, trace_id=one.trace_id and f"trace-{number}") for number, one in enumerate(every)]


def recipients() -> list[tuple[Recipient, Destination | None]]:
    """What is said at RCPT TO, and where it leads."""
    return [
        (Recipient(JOE), Local("joe@example.org")),
        (Recipient(make_address("joe+../../x", "example.org")), Local("joe@example.org", "../../x")),
        (Recipient(make_address("info", "example.org")), Alias((JOE, ANN), Local("joe@example.org"))),
        (Recipient(ANN, frozenset({"NEVER"}), "rfc822;ann+2B@example.net"), None),
        *((Recipient(sender), None) for sender in SENDERS if sender is not None),
    ]


def received(octets: bytes) -> ReceivedMessage:
    """The message as checks see it: the same that a server gives them."""
    content = Content()
    content.write(octets)
    head, blank, _ = octets.partition(b"\r\n\r\n")
    return ReceivedMessage(Headers(head + blank), content)


def who(pairs: Sequence[tuple[Recipient, Destination | None]]) -> tuple[Recipient, ...]:
    """The recipients alone."""
    return tuple(recipient for recipient, _ in pairs)
