"""The parameters of MAIL and RCPT (RFC 5321 4.1.2), each checked as its own RFC says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from twisted_mail_kit.smtp.wire.replies import Reply, reply

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_HIGH = re.compile(r"\+([89A-F][0-9A-F])")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;[^\x00-\x20\x7f=]+\Z")
_PRINTABLE = re.compile(r"[ -~]*\Z")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


class BadParameter(ValueError):
    """A parameter is unknown or malformed; `reply` says which."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer.lines[0])
        self.reply = answer


def decode_xtext(text: str) -> str:
    """Undo RFC 3461 4's encoding. Raises ValueError, for octets that are not printable ASCII too: no CR, LF or NUL
    gets into an envelope this way."""
    if not _XTEXT.match(text):
        raise ValueError("not xtext")
    decoded = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text) if "+" in text else text
    if not _PRINTABLE.match(decoded):
        raise ValueError("xtext of control characters")
    return decoded


def encode_xtext(text: str) -> str:
    """RFC 3461 4, for printable ASCII."""
    return "".join(f"+{ord(one):02X}" if one in "+= " or not "!" <= one <= "~" else one for one in text)


def parse_parameters(octets: bytes, known: Mapping[str, Callable[[str | None], object]]) -> dict[str, object]:
    """Values by upper-case keyword. Raises BadParameter: 555 for an unknown one, 501 for a malformed or a second."""
    values: dict[str, object] = {}
    try:
        words = octets.decode("utf-8").split(" ")
    except UnicodeDecodeError:
        raise BadParameter(reply(501, "5.5.4", "Parameters have to be ASCII, or UTF-8")) from None
    for word in words:
        if not word:
            continue
        keyword, given, text = word.partition("=")
        if not _KEYWORD.match(keyword):
            raise BadParameter(reply(501, "5.5.4", "Malformed parameter"))
        keyword = keyword.upper()
        check = known.get(keyword)
        if check is None:
            raise BadParameter(reply(555, "5.5.4", f"Parameter {keyword[:40]} is not known here"))
        if keyword in values:
            raise BadParameter(reply(501, "5.5.4", f"Parameter {keyword} is given twice"))
        try:
            values[keyword] = check(text if given else None)
        except ValueError:
            raise BadParameter(reply(501, "5.5.4", f"Malformed value of parameter {keyword}")) from None
    return values


def _size(text: str | None) -> int:
    # RFC 1870 3: 1*20DIGIT, ASCII digits only.
    if not text or len(text) > 20 or not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def _body(text: str | None) -> str:
    body = (text or "").upper()
    if body not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise ValueError
    return body


def _flag(text: str | None) -> bool:
    if text is not None:
        raise ValueError
    return True


def _ret(text: str | None) -> str:
    ret = (text or "").upper()
    if ret not in ("FULL", "HDRS"):
        raise ValueError
    return ret


def _envid(text: str | None) -> str:
    # RFC 3461 4.4: at most 100 characters before decoding.
    if not text or len(text) > 100:
        raise ValueError
    return decode_xtext(text)


def _auth(text: str | None) -> str:
    # RFC 4954 5. Above 500 characters there is no mailbox.
    if not text or len(text) > 500:
        raise ValueError
    return text if text == "<>" else decode_xtext(text)


def _notify(text: str | None) -> frozenset[str]:
    words = (text or "").upper().split(",")
    if words == ["NEVER"]:
        return frozenset(words)
    if not _NOTIFY.issuperset(words):
        raise ValueError
    return frozenset(words)


def _orcpt(text: str | None) -> str:
    # RFC 3461 4.2: at most 500 characters; RFC 6533 3 adds addresses in UTF-8 under the type utf-8.
    if not text or len(text) > 500 or not _ORCPT.match(text):
        raise ValueError
    address_type, _, address = text.partition(";")
    if address_type.lower() != "utf-8":
        # Under the type rfc822 Postfix writes an international address as its UTF-8 in xtext.
        bytes.fromhex("".join(_HIGH.findall(address))).decode("utf-8")
        decode_xtext(_HIGH.sub("", address))
    return text


MAIL_PARAMETERS: dict[str, Callable[[str | None], object]] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _flag,
    "RET": _ret,
    "ENVID": _envid,
    "AUTH": _auth,
    "REQUIRETLS": _flag,
}
RCPT_PARAMETERS: dict[str, Callable[[str | None], object]] = {"NOTIFY": _notify, "ORCPT": _orcpt}
