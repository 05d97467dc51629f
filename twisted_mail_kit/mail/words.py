"""Mail's octets as text: charsets, encoded words (RFC 2047), parameter values (RFC 2231), bodies; it never fails."""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_LINE_ENDS: Final = re.compile(rb"\r?\n|\r")
# RFC 2047 2, read kindly: spaces in the text and padding that is missing occur in real mail.
_ENCODED_WORD: Final = re.compile(rb"=\?([!->@-~]{1,100}+)\?([BbQq])\?([^?\r\n]*+)\?=")
ASCII_CHARSETS: Final = ("", "us-ascii", "utf-8", "iso-8859-1")
"""In which ASCII is what it is."""
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))

# What mail calls a charset and what it means by it (WHATWG Encoding 4.2 for the supersets that everybody uses).
_CHARSETS: Final = {
    "ansi_x3.4-1968": "us-ascii",
    "ansi_x3.110-1983": "iso-8859-1",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso-8859-1": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-9": "cp1254",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "latin1": "cp1252",
    "shift_jis": "cp932",
    "utf8": "utf-8",
    "windows-31j": "cp932",
    "x-mac-roman": "mac-roman",
    "x-sjis": "cp932",
}
# Codecs of Python's that are no charsets, or that cost more than linear time.
_NO_CHARSETS: Final = frozenset(
    {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
)


def unfold(value: bytes) -> bytes:
    """On one line (RFC 5322 2.2.3): line ends are taken out, the space that follows them stays. NUL goes too."""
    if b"\n" in value or b"\r" in value:
        value = _LINE_ENDS.sub(b"", value)
    return value.replace(b"\0", b"") if b"\0" in value else value


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Python's name for it, or None: nobody here knows that charset."""
    charset = charset.strip(" \t\"'").lower()
    charset = _CHARSETS.get(charset, charset)
    try:
        codec = codecs.lookup(charset)
    except (LookupError, ValueError, TypeError, OSError):
        return None
    if codec.name.replace("-", "_") in _NO_CHARSETS or not codec._is_text_encoding:
        return None
    return codec.name


def decode_octets(octets: bytes, charset: str = "") -> str:
    """Text of that charset. Where it is unknown or us-ascii and the octets are not: UTF-8 if they are that, else
    windows-1252. What cannot be decoded becomes U+FFFD; there is never a lone surrogate in the result."""
    if octets.isascii() and charset.lower() in ASCII_CHARSETS:
        return octets.decode("ascii")
    codec = _codec(charset) if len(charset) <= 100 and charset.isascii() else None
    if codec is None or codec == "ascii":
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            codec = "cp1252"
    try:
        text = octets.decode(codec, "replace")
    except (ValueError, LookupError):  # a codec that does not know "replace", or breaks
        text = octets.decode("latin-1")
    return text if codec in ("utf-8", "cp1252") else _SURROGATES.sub("\ufffd", text)


def decode_base64(octets: bytes) -> bytes:
    """RFC 2045 6.8, of any octets: what is not of the alphabet is passed over, what is missing at the end is left."""
    try:
        return binascii.a2b_base64(octets)
    except ValueError:
        digits = octets.translate(None, _NOT_BASE64)
        digits = digits[: len(digits) - (len(digits) % 4 == 1)]
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def decode_body(octets: bytes, encoding: str = "", charset: str = "") -> str:
    """The text of a part's body: transfer encoding (RFC 2045 6) and charset undone, unknown ones passed over."""
    encoding = encoding.lower()
    if encoding == "base64":
        octets = decode_base64(octets)
    elif encoding == "quoted-printable":
        octets = binascii.a2b_qp(octets)
    return decode_octets(octets, charset)


def decode_text(value: bytes) -> str:
    """A header field's value as text: unfolded, encoded words decoded (RFC 2047), raw UTF-8 too (RFC 6532).

    A word of an unknown charset is read as `decode_octets` says. Words are decoded wherever they stand; a character
    that was cut in two between neighbouring words of one charset is made whole.
    """
    value = unfold(value)
    if b"=?" not in value:
        return decode_octets(value).strip()
    text: list[str] = []
    charset = ""
    run: list[bytes] = []  # neighbouring words that are being put together
    end = 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[end : word.start()]
        # RFC 2231 5: a language may follow the charset. RFC 2047 6.2: space between two words is not shown.
        its_charset = word[1].partition(b"*")[0].decode("ascii").lower()
        if run and (between.strip() or its_charset != charset):
            text.append(decode_octets(b"".join(run), charset))
            run.clear()
        if between.strip() or end == 0:
            text.append(decode_octets(between))
        charset = its_charset
        if word[2] in b"Bb":
            run.append(decode_base64(word[3]))
        else:
            run.append(binascii.a2b_qp(word[3].replace(b"_", b" ")))
        end = word.end()
    text.append(decode_octets(b"".join(run), charset))
    text.append(decode_octets(value[end:]))
    return "".join(text).strip()


def parameter(parameters: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """The value of a Content-Type or Content-Disposition parameter as text, or None.

    Puts RFC 2231's pieces (``name*0*``, ``name*1``) together, and knows its charsets; encoded words, which do not
    belong there but are common, are decoded too.
    """
    wanted = name.lower().encode("ascii", "replace")
    plain: bytes | None = None
    pieces: dict[int, tuple[bytes, bool]] = {}
    for full_name, value in parameters:
        if full_name == wanted:
            plain = value if plain is None else plain
        elif full_name.startswith(wanted + b"*"):
            number, _, starred = full_name[len(wanted) + 1 :].partition(b"*")
            is_encoded = full_name.endswith(b"*")
            if not number and not starred:
                pieces.setdefault(0, (value, True))
            elif number.isdigit() and len(number) <= 3 and not starred:
                pieces.setdefault(int(number), (value, is_encoded))
    if 0 not in pieces:
        return None if plain is None else decode_text(plain)
    charset = ""
    octets = b""
    for at in range(len(pieces)):
        if at not in pieces:
            break  # what comes after a gap belongs to nothing
        value, is_encoded = pieces[at]
        if is_encoded:
            if at == 0 and value.count(b"'") >= 2:
                raw_charset, _, value = value.split(b"'", 2)
                charset = raw_charset.decode("ascii", "replace")
            value = _undo_percent(value)
        octets += value
    return decode_octets(octets, charset)


_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def _undo_percent(value: bytes) -> bytes:
    return _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), value)
