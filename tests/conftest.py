"""What all tests share: coroutine tests run in the reactor, and missing programs are skipped aloud, or not at all."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted

from twisted_mail_kit.kit import MailKit


@pytest_twisted.async_yield_fixture
async def running() -> AsyncIterator[Callable[..., Any]]:
    """Starts kits, and says which port each service has; they are stopped with the test."""
    kits: list[MailKit] = []

    async def start(kit: MailKit) -> dict[str, int]:
        kit.startService()
        kits.append(kit)
        await kit.ready
        return {one.service: one.port for one in kit.listeners}

    yield start
    for kit in kits:
        await kit.stopService()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest-twisted wait for coroutine tests."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = pytest_twisted.ensureDeferred(item.obj)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require-programs` is what CI says: it has installed them."""
    parser.addoption("--require-programs", action="store_true", help="a missing mail program fails its test")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much was crashed and how much has failed, of what the contracts' levels have noted."""
    noted: dict[str, list[str]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            noted.setdefault(name, []).append(str(value))
    for name, values in sorted(noted.items()):
        terminalreporter.write_line(f"{name}: {', '.join(values)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where programs are required, a test of a real peer that skips has failed."""
    report = yield
    if report.skipped and item.get_closest_marker("interop") and item.config.getoption("--require-programs"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but --require-programs was said: {report.longrepr}"
    return report
