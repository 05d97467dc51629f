"""Each command is a process of its own, which need not compile all modules anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.server import environment


@pytest.fixture(autouse=True, scope="module")
def compiled_modules_are_kept() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        for name, value in environment().items():
            patch.setenv(name, value)
        yield
