"""A file with bare line feeds, read as mail: CR LF ends every line, and any place is found without reading all."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

PIECE = 64 * 1024


def with_crlf(octets: bytes, after: bytes = b"") -> bytes:
    """The octets with CR LF for every line end; `after` is the octet before them."""
    if after == b"\r" and octets[:1] == b"\n":
        return b"\n" + with_crlf(octets[1:], b"\n")
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def size_with_crlf(path: Path) -> int:
    """Octets that it would have."""
    size, last = 0, b""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            size += len(with_crlf(piece, last))
            last = piece[-1:]
    return size


class Places:
    """Where in the file is what, as far as anybody has read: one entry a piece."""

    def __init__(self) -> None:
        self.starts = [0]
        """With CR LF."""
        self.lasts = [b""]
        """The octet of the file before piece n, which is at n * PIECE."""

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`, counted with CR LF."""
        found: list[bytes] = []
        with path.open("rb", buffering=0) as file:
            number = bisect_right(self.starts, offset) - 1
            while size > 0:
                file.seek(number * PIECE)
                piece = _whole_piece(file)
                if not piece:
                    break
                octets, start = with_crlf(piece, self.lasts[number]), self.starts[number]
                if number + 1 == len(self.starts):
                    self.starts.append(start + len(octets))
                    self.lasts.append(piece[-1:])
                part = octets[max(offset - start, 0) :][:size]
                found.append(part)
                size -= len(part)
                offset += len(part)
                if len(piece) < PIECE:
                    break
                number += 1
        return b"".join(found)


def _whole_piece(file: object) -> bytes:
    octets = b""
    while len(octets) < PIECE and (more := file.read(PIECE - len(octets))):  # type: ignore[attr-defined]
        octets += more
    return octets
