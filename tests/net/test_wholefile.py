"""A file that is put in place: whole, for us alone, and nothing is left of one that failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twisted_mail_kit.net.wholefile import put_in_place


def test_it_takes_the_place_of_what_was_there_and_is_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"something longer that was there before")
    path.chmod(0o644)
    put_in_place(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_where_it_fails_all_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    put_in_place(path, b"old")

    def fail(handle: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        put_in_place(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
