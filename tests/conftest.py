"""Every `async def test_…` runs in the reactor; no test needs a decorator for it."""

from __future__ import annotations

import inspect

import pytest
import pytest_twisted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest-twisted wait for coroutine tests."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = pytest_twisted.ensureDeferred(item.obj)
