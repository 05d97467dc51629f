"""Lets the tests run from a checkout, before anything is installed; where programs are required, Dovecot is."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config):
    config.addinivalue_line("markers", "interop: a real client or server on a real socket")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and item.get_closest_marker("interop") and item.config.getoption("--require-programs", False):
        report.outcome = "failed"
        report.longrepr = f"skipped, but --require-programs was said: {report.longrepr}"
    return report
