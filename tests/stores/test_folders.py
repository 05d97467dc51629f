"""Folders whose names are synced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from twisted_mail_kit.stores.folders import make_folder


def test_each_new_name_is_synced_and_one_that_was_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    make_folder(tmp_path / "a" / "b" / "c")
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    synced.clear()
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path / "a" / "b"], "who made it may have died before his sync"


def test_what_is_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            make_folder(path)
