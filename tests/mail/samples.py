"""The corpus, and a shorthand for scanning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twisted_mail_kit.mail.structure import Part, ScanLimits, Scanner, Structure

CORPUS = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.eml"))}


def scan(message: bytes, chunk: int = 0, limits: ScanLimits | None = None) -> Structure:
    scanner = Scanner(limits) if limits else Scanner()
    for start in range(0, len(message), chunk or len(message) or 1):
        scanner.feed(message[start : start + (chunk or len(message))])
    return scanner.close()


def walk(part: Part) -> Iterator[Part]:
    yield part
    for child in part.children:
        yield from walk(child)
    if part.message is not None:
        yield from walk(part.message)


def body(message: bytes, part: Part) -> bytes:
    return message[part.body_start : part.end]


def check_offsets(part: Part, size: int) -> None:
    """What `Part` promises of its offsets."""
    assert 0 <= part.header_start <= part.body_start <= part.end <= size
    at = part.body_start
    for inner in (*part.children, *((part.message,) if part.message else ())):
        assert at <= inner.header_start
        assert inner.end <= part.end
        at = inner.end
        check_offsets(inner, size)
    if part.type == "multipart":
        assert part.children
    assert part.lines >= 0
