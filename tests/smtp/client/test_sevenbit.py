"""The downgrade to 7-bit: what a mail program reads stays the same."""

from __future__ import annotations

import email
import email.policy
import os
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.envelope import Envelope, Peer
from twisted_mail_kit.mail.outcome import Failed
from twisted_mail_kit.smtp.client.fit import Form, fit
from twisted_mail_kit.smtp.client.message import OutgoingMessage
from twisted_mail_kit.smtp.client.sevenbit import CannotDowngrade, base64, downgrade, quoted_printable
from twisted_mail_kit.smtp.wire.client import Offers

PLAIN = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"


def outgoing(octets: bytes, **envelope: Any) -> OutgoingMessage:
    content = Content()
    content.write(octets)
    return OutgoingMessage(Envelope(None, Peer(""), "trace", **envelope), content, has_8bit=not octets.isascii())


def seven(octets: bytes, **envelope: Any) -> bytes:
    made = b"".join(downgrade(outgoing(octets, **envelope)))
    assert made.isascii()
    assert max(map(len, made.split(b"\r\n"))) <= 998
    return made


def parsed(octets: bytes) -> Any:
    return email.message_from_bytes(octets, policy=email.policy.default)


def leaves(octets: bytes) -> list[tuple[str, bytes]]:
    return [
        (part.get_content_type(), part.get_payload(decode=True))
        for part in parsed(octets).walk()
        if not part.is_multipart()
    ]


def test_a_text_becomes_quoted_printable() -> None:
    body = "Grüße  \r\n.\r\nFrom me = you\t\r\n" + "ü" * 500 + "\r\n"
    octets = (PLAIN + "Content-Transfer-Encoding: 8bit\r\n\r\n" + body).encode()
    made = seven(octets)
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in made
    assert b"8bit" not in made
    assert leaves(made) == [("text/plain", body.encode())]
    assert max(map(len, made.split(b"\r\n"))) <= 76


def test_a_message_without_mime_fields_gets_what_it_needs() -> None:
    made = seven("Subject: x\r\n\r\nGrüße\r\n".encode())
    message = parsed(made)
    assert message["MIME-Version"] == "1.0"
    assert message["Content-Type"].params["charset"] == "unknown-8bit"
    assert leaves(made) == [("text/plain", "Grüße\r\n".encode())]


def nested() -> bytes:
    inner = PLAIN.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + "inner ß".encode()
    return (
        b"Subject: nested\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n"
        + "preamble ü\r\n".encode()
        + b"--b\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"
        + b"--b\r\nContent-Type: text/plain; charset=utf-8\r\ncontent-transfer-encoding:\r\n 8BIT\r\n\r\n"
        + "Grüße\r\n".encode()
        + b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: 8bit\r\nX: y\r\n\r\n"
        + bytes(range(128, 256)) * 3
        + b"\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + inner
        + b"\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGk="
        + b"\r\n--b--\r\nepilogue\r\n"
    )


def test_parts_are_converted_one_by_one() -> None:
    octets = nested()
    made = seven(octets)
    assert leaves(made) == leaves(octets)
    assert made.count(b"quoted-printable") == 2
    assert made.count(b"Content-Transfer-Encoding: base64") == 2
    assert b"8bit" not in made.lower()
    message = parsed(made)
    assert message["Content-Transfer-Encoding"] == "7bit"
    assert b"\r\n\r\nplain\r\n--b" in made, "what is ASCII stays as it is"
    assert message.get_payload()[2]["X"] == "y"


def test_header_fields_in_8bit_become_encoded_words() -> None:
    made = seven('Subject: Grüße aus Köln\r\nFrom: "Jürgen" <j@example.org>\r\n\r\nhi\r\n'.encode())
    assert parsed(made)["Subject"] == "Grüße aus Köln"
    assert b"<j@example.org>" in made
    assert b"=?unknown-8bit?B?" in seven(b"Subject: Gr\xfc\xdfe\r\n\r\nhi\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        b"DKIM-Signature: v=1\r\nSubject: x\r\n\r\n\xc3\xbc\r\n",
        b"ARC-Seal: i=1\r\nSubject: x\r\n\r\n\xc3\xbc\r\n",
        b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n",
        b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n",
        b"Content-Type: application/pkcs7-mime\r\n\r\n\xc3\xbc\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n--a--\r\n",
        b"Subject: many\r\n" + b"X: y\r\n" * 2000 + b"\r\n\xc3\xbc\r\n",
    ],
    ids=lambda octets: repr(octets[:30]),
)
def test_signed_mail_is_never_altered(octets: bytes) -> None:
    with pytest.raises(CannotDowngrade):
        downgrade(outgoing(octets))
    failed = fit(outgoing(octets), Offers(), True, "mx")
    assert isinstance(failed, Failed)
    assert failed.status.code == "5.6.3"
    form = fit(outgoing(octets), Offers(eightbit=True), True, "mx")
    assert isinstance(form, Form)
    assert b"".join(form.chunks()) == octets


def test_binary_parts_for_a_server_without_binarymime() -> None:
    picture = os.urandom(3000) + b"\n\r\n\0"
    message = EmailMessage()
    message["Subject"] = "binary"
    message.set_content("text\n")
    message.add_attachment(picture, "image", "png")
    octets = message.as_bytes(policy=email.policy.SMTP)
    start = octets.index(b"Content-Transfer-Encoding: base64")
    end = octets.index(b"\r\n\r\n", start) + 4
    tail = octets.index(b"\r\n--", end)
    octets = (octets[:end] + picture + octets[tail:]).replace(b"-Encoding: base64", b"-Encoding: binary")
    made = b"".join(downgrade(outgoing(octets, body="BINARYMIME"), to_8bit=True))
    assert leaves(made)[1] == ("image/png", picture)
    assert b"binary\r\n\r\n" not in made
    form = fit(outgoing(octets, body="BINARYMIME"), Offers(eightbit=True, chunking=True, binary=True), True, "mx")
    assert isinstance(form, Form)
    assert form.body == "BINARYMIME"
    assert form.by_chunks
    form = fit(outgoing(octets, body="BINARYMIME"), Offers(eightbit=True, chunking=True), True, "mx")
    assert isinstance(form, Form)
    assert form.body == "8BITMIME"


def test_a_large_part_is_streamed() -> None:
    octets = (PLAIN + "Content-Transfer-Encoding: 8bit\r\n\r\n").encode() + "Zeile mit Ü\r\n".encode() * 200_000
    largest = max(map(len, downgrade(outgoing(octets))))
    assert largest < 400_000


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 60))
def test_base64_of_any_octets_in_any_pieces(octets: bytes, size: int) -> None:
    import base64 as standard

    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    made = b"".join(base64(iter(pieces)))
    assert standard.b64decode(made.replace(b"\r\n", b""), validate=True) == octets
    assert all(len(line) <= 76 for line in made.split(b"\r\n"))


@settings(max_examples=200, deadline=None)
@given(st.text("aü =.\t\r\n?", max_size=300), st.integers(1, 60))
def test_quoted_printable_of_any_text_in_any_pieces(text: str, size: int) -> None:
    import quopri

    octets = text.encode()
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    made = b"".join(quoted_printable(iter(pieces)))
    expected = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert quopri.decodestring(made).replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")
    assert made.isascii()
    assert all(len(line) <= 76 for line in made.split(b"\r\n"))


# --- SMTPUTF8 --------------------------------------------------------------------------------------------------------


def test_utf8_headers_need_smtputf8() -> None:
    octets = "Subject: Grüße\r\n\r\nhi\r\n".encode()
    failed = fit(outgoing(octets, smtputf8=True), Offers(eightbit=True), True, "mx")
    assert isinstance(failed, Failed)
    assert failed.status.code == "5.6.9"
    form = fit(outgoing(octets, smtputf8=True), Offers(eightbit=True, smtputf8=True), True, "mx")
    assert isinstance(form, Form)
    assert form.smtputf8
    form = fit(outgoing(b"Subject: hi\r\n\r\nhi\r\n", smtputf8=True), Offers(), True, "mx")
    assert isinstance(form, Form), "it was not needed after all"
    assert not form.smtputf8
