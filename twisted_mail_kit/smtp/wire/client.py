"""What an SMTP or LMTP client says, as octets, and what a server offers, as values."""

from __future__ import annotations

import re
from typing import NamedTuple

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.smtp.wire.parameters import encode_xtext
from twisted_mail_kit.smtp.wire.replies import Reply

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_WORD = re.compile(r"[!-~\u00a0-\U0010ffff]+\Z")


class Unspeakable(ValueError):
    """That cannot be said in a command: it has control characters, or a space where none may be."""


def line(text: str) -> bytes:
    """One command line. Raises Unspeakable: no CR, LF or NUL, wherever it comes from, becomes a second command."""
    if _FORBIDDEN.search(text):
        raise Unspeakable("control characters in a command")
    return text.encode("utf-8") + b"\r\n"


def hello(verb: str, name: str) -> bytes:
    """EHLO, HELO or LHLO."""
    return line(f"{verb} {_word(name)}")


def mail(
    sender: Address | None,
    *,
    size: int | None = None,
    body: str = "",
    smtputf8: bool = False,
    ret: str = "",
    envid: str = "",
    require_tls: bool = False,
) -> bytes:
    """MAIL FROM with the parameters that are given; the caller knows what the server offers."""
    said = [f"MAIL FROM:<{sender or ''}>"]
    if size is not None:
        said.append(f"SIZE={size}")
    if body:
        said.append(f"BODY={_word(body)}")
    if smtputf8:
        said.append("SMTPUTF8")
    if ret:
        said.append(f"RET={_word(ret)}")
    if envid:
        said.append(f"ENVID={encode_xtext(envid)}")
    if require_tls:
        said.append("REQUIRETLS")
    return line(" ".join(said))


def rcpt(address: Address, *, notify: frozenset[str] | None = None, orcpt: str = "") -> bytes:
    """RCPT TO with the parameters that are given; `orcpt` as it came, encoded."""
    said = f"RCPT TO:<{address}>"
    if notify:
        said += f" NOTIFY={','.join(sorted(map(_word, notify)))}"
    if orcpt:
        said += f" ORCPT={_word(orcpt)}"
    return line(said)


def bdat(size: int, is_last: bool) -> bytes:
    """RFC 3030 2."""
    return b"BDAT %d LAST\r\n" % size if is_last else b"BDAT %d\r\n" % size


def auth(mechanism: str, initial: bytes | None) -> bytes:
    """AUTH; `initial` in base64, None where there is none."""
    return line(f"AUTH {_word(mechanism)}" + (f" {initial.decode('ascii') or '='}" if initial is not None else ""))


DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
QUIT = b"QUIT\r\n"
STARTTLS = b"STARTTLS\r\n"


def _word(text: str) -> str:
    if not _WORD.match(text):
        raise Unspeakable("a space, or nothing, where a word has to be")
    return text


class Offers(NamedTuple):
    """What a server offers in its answer to EHLO or LHLO; the default is what one offers that knows only HELO."""

    pipelining: bool = False
    size: int | None = None
    """The greatest message; None: it does not say; 0: it has no fixed limit (RFC 1870 4)."""
    eightbit: bool = False
    smtputf8: bool = False
    chunking: bool = False
    binary: bool = False
    dsn: bool = False
    starttls: bool = False
    requiretls: bool = False
    auth: frozenset[str] = frozenset()
    """SASL mechanisms, upper case."""
    mails: int = 0
    """RFC 9422 MAILMAX, 0: not said."""
    recipients: int = 0
    """RFC 9422 RCPTMAX, 0: not said."""


def read_offers(answer: Reply) -> Offers:
    """Read the answer to EHLO kindly: what cannot be understood is not offered."""
    words: dict[str, list[str]] = {}
    for text in answer.lines[1:]:
        keyword, *values = text.split() or [""]
        if keyword.upper().startswith("AUTH="):  # what servers before RFC 2554 say
            values.insert(0, keyword[5:])
            keyword = "AUTH"
        words.setdefault(keyword.upper(), []).extend(values)
    limits = dict(value.upper().partition("=")[::2] for value in words.get("LIMITS", ()))
    size = words.get("SIZE")
    return Offers(
        pipelining="PIPELINING" in words,
        size=None if size is None else _number(size[0]) if size else 0,
        eightbit="8BITMIME" in words,
        smtputf8="SMTPUTF8" in words,
        chunking="CHUNKING" in words,
        binary="BINARYMIME" in words and "CHUNKING" in words,  # RFC 3030 3: the one needs the other
        dsn="DSN" in words,
        starttls="STARTTLS" in words,
        requiretls="REQUIRETLS" in words,
        auth=frozenset(value.upper() for value in words.get("AUTH", ())),
        mails=_number(limits.get("MAILMAX", "")),
        recipients=_number(limits.get("RCPTMAX", "")),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
