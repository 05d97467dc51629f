"""MTA-STS on the page: the TXT record and the policy text of RFC 8461."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Mode = Literal["enforce", "testing", "none"]


class STSPolicy(NamedTuple):
    """RFC 8461 3.2."""

    mode: Mode
    max_age: int
    """Seconds."""
    mx: tuple[str, ...]
    """Host names, lower case; ``*.`` in front stands for exactly one label."""

    def allows(self, host: str) -> bool:
        """RFC 8461 4.1: whether that MX is named."""
        host = host.rstrip(".").lower()
        _, dot, parent = host.partition(".")
        return host in self.mx or (bool(dot) and f"*.{parent}" in self.mx)


class BadPolicy(ValueError):
    """That is no policy; the text says why."""


LONGEST_MAX_AGE: Final = 31_557_600
MOST_MX: Final = 1000

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_RECORD = re.compile(r"v=STSv1[ \t]*;(.*)", re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+{_LABEL}")


def policy_id(texts: Iterable[str]) -> str | None:
    """The id in the TXT records of ``_mta-sts.DOMAIN``; None: there is no policy (RFC 8461 3.1).

    More than one record, or one that is not of the right form, counts as none.
    """
    found = [match for match in map(_RECORD.fullmatch, texts) if match]
    if len(found) != 1:
        return None
    first: str | None = None
    for part in found[0][1].split(";"):
        name, equals, value = part.strip(" \t").partition("=")
        if not equals:
            if name:
                return None
            continue
        if name == "id" and first is None:
            first = value
    return first if first is not None and _ID.fullmatch(first) else None


def parse_policy(octets: bytes) -> STSPolicy:
    """Read the policy text. Raises BadPolicy: a policy that is not understood as a whole is not followed.

    Of a repeated field, other than ``mx``, the first counts; fields with unknown names are passed over.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPolicy("not UTF-8") from None
    fields: dict[str, str] = {}
    mx: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip(" \t"):
            continue
        key, colon, value = line.partition(":")
        key, value = key.strip(" \t"), value.strip(" \t")
        if not colon or not _KEY.fullmatch(key):
            raise BadPolicy(f"line {number} is no field")
        if key == "mx":
            mx.append(_pattern(value))
        else:
            fields.setdefault(key, value)
    if fields.get("version") != "STSv1":
        raise BadPolicy("not version STSv1")
    mode = fields.get("mode")
    if mode not in ("enforce", "testing", "none"):
        raise BadPolicy("no known mode")
    age = fields.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > LONGEST_MAX_AGE:
        raise BadPolicy("no max_age of at most a year")
    if not mx and mode != "none":
        raise BadPolicy("no mx")
    if len(mx) > MOST_MX:
        raise BadPolicy("too many mx")
    return STSPolicy(mode, int(age), tuple(dict.fromkeys(mx)))  # type: ignore[arg-type]


def _pattern(value: str) -> str:
    lower = value.lower().removesuffix(".")
    if len(lower) > 253 or not _PATTERN.fullmatch(lower):
        raise BadPolicy("an mx is no host name")
    return lower
