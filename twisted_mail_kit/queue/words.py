"""The other side's words made fit for a report: on one line, without controls, not too long."""

from __future__ import annotations

import re
import textwrap
from typing import Final

from twisted_mail_kit.mail.address import Address, BadAddress
from twisted_mail_kit.mail.outcome import Status

# Controls, line and paragraph separators, marks that turn the direction of writing, halves of surrogate pairs.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]+"
)
_NOT_ASCII: Final = re.compile(r"[^ -~]")
_ENHANCED: Final = re.compile(r"[245](\.[0-9]{1,3}\.[0-9]{1,3})", re.ASCII)
_XTEXT_ESCAPE: Final = re.compile(r"\+([0-9A-F]{2})")
# RFC 6533 3: how ORCPT carries UTF-8 in ASCII.
_UNITEXT_ESCAPE: Final = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_MOST: Final = 800


def one_line(text: str, most: int = _MOST) -> str:
    """Safe in a header field, a log line and on a screen; at most `most` octets of UTF-8."""
    if len(text) <= most and text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    text = " ".join(_UNSAFE.sub(" ", text[: most * 2]).split())
    octets = text.encode("utf-8", "replace")
    if len(octets) <= most:
        return text
    return octets[: most - 3].decode("utf-8", "ignore").rstrip() + "..."


def ascii_line(text: str, most: int = _MOST) -> str:
    """The same in ASCII: what is none becomes a question mark."""
    return _NOT_ASCII.sub("?", one_line(text, most))


def plain_address(address: Address) -> Address | None:
    """The address with A-labels, for reports in ASCII; None: it has no such form."""
    try:
        return address.to_ascii()
    except BadAddress:
        return None


def enhanced(code: str, severity: str) -> str:
    """An RFC 3463 code of that class (``2 4 5``), whatever was given."""
    found = _ENHANCED.fullmatch(code)
    return f"{severity}{found[1]}" if found else f"{severity}.0.0"


def answer(status: Status) -> str:
    """What was said, with its codes, as a mail person reads it: ``550 5.1.1 No such user``."""
    text = one_line(status.text)
    reply, code = str(status.reply) if status.reply else "", status.code
    # Where the code is ours (5.4.7 for a 4xx that came too often), it is no part of what the other side said.
    if not _ENHANCED.fullmatch(code) or (reply and code[0] != reply[0]):
        code = ""
    codes = f"{reply} {code}".strip()
    if text.startswith(codes):
        return text
    return f"{reply} {text}" if code and text.startswith(code) else f"{codes} {text}".strip()


def original_recipient(orcpt: str) -> tuple[str, str] | None:
    """RFC 3461 4.2's ORCPT as type and address, decoded. None: there is none."""
    kind, found, address = orcpt.partition(";")
    if not found or not address:
        return None
    if kind.lower() == "utf-8":
        address = _UNITEXT_ESCAPE.sub(_character, address)
    else:
        address = _XTEXT_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), address)
        # What Postfix puts there for an international address is UTF-8, octet by octet.
        address = address.encode("latin-1", "replace").decode("utf-8", "replace") if not address.isascii() else address
    kind = re.sub(r"[^A-Za-z0-9-]", "", kind)[:40]
    return (kind, one_line(address, 500)) if kind else None


def _character(escape: re.Match[str]) -> str:
    number = int(escape[1], 16)
    return chr(number) if number < 0x110000 else "?"


def paragraph(text: str, indent: str = "") -> list[str]:
    """Wrapped for reading; a word that is too long for a line stands alone."""
    if len(indent) + len(text) <= 76:
        return [indent + text] if text else []
    return textwrap.wrap(
        text, 76, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def folded(name: str, value: str) -> str:
    """A field of a report, folded at spaces (RFC 5322 2.2.3), with its CR LF. `value` is on one line."""
    if len(name) + len(value) <= 74:
        return f"{name}: {value}\r\n"
    lines = textwrap.wrap(f"{name}: {value}", 76, break_long_words=False, break_on_hyphens=False)
    return "\r\n ".join(lines) + "\r\n"
