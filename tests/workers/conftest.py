"""A whole server with two workers, as a program of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.server import Server
from tests.interop.test_main_job import CONFIGURATION


def configuration(workers: int = 2, store: str = "sqlite") -> str:
    return f"workers = {workers}\n" + CONFIGURATION.format(store=store)


ROUTE = '[[relay.routes]]\ndomain = "away.example"\nhost = "127.0.0.1"\nport = 1\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests, since three processes take seconds to start; the last of them ends it."""
    text = configuration().replace("unix:lmtp.socket", "unix:lmtp.socket:mode=600") + ROUTE
    with Server.configured(tmp_path_factory.mktemp("workers"), text) as server:
        yield server
