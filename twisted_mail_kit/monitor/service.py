"""The numbers of a server, for as long as it runs: its lag is looked at, and whoever may ask is answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from twisted_mail_kit.control.server import Verb
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.kit import Listener, MailKit, parse_endpoint
from twisted_mail_kit.metrics.lag import Lag
from twisted_mail_kit.monitor.gathering import Gathering, certificate_of, disk_of, files_of, queue_of
from twisted_mail_kit.monitor.settings import MetricsSettings
from twisted_mail_kit.outgoing import Outgoing
from twisted_mail_kit.stores.sqlite import SQLiteStore


def endpoint_of(settings: MetricsSettings, reactor: Any) -> IStreamServerEndpoint | None:
    """Where the page is to be. Raises ConfigurationError."""
    if not settings.endpoint:
        return None
    try:
        return parse_endpoint(reactor, settings.endpoint)
    except ConfigurationError as problem:
        raise ConfigurationError([f"[metrics] {line}" for line in problem.problems]) from None


class Monitor:
    """Made with the kit, started before it, stopped after it has told that it ends."""

    log = Logger()

    def __init__(
        self,
        kit: MailKit,
        settings: MetricsSettings,
        *,
        state: Path,
        store: Any = None,
        outgoing: Outgoing | None = None,
    ) -> None:
        """Raises ConfigurationError: `settings` name an endpoint that is none."""
        self.kit = kit
        self.gathering = Gathering(kit, [disk_of(state), certificate_of(lambda: kit.fittings.certificates)])
        if isinstance(store, SQLiteStore):
            self.gathering.probes.append(files_of(store))
        if outgoing is not None:
            self.gathering.probes.append(queue_of(outgoing))
        self._lag = Lag(kit.reactor)
        self._where = settings.endpoint or ""
        self._endpoint = endpoint_of(settings, kit.reactor)
        self._port: Any = None

    def verbs(self) -> Mapping[str, Verb]:
        """``metrics``: for the control socket."""

        async def metrics() -> object:
            return await self.gathering.now()

        return {"metrics": metrics}

    def start(self) -> None:
        """Look at the lag from now on."""
        self._lag.start()

    async def open(self) -> Listener | None:
        """Open the port, where one is wanted. Raises ConfigurationError."""
        if self._endpoint is None:
            return None
        from twisted_mail_kit.monitor.page import open_page  # it brings twisted.web, and most servers need none

        try:
            self._port = await open_page(self.gathering, self.kit.reactor, self._endpoint)
        except (CannotListenError, OSError) as problem:
            raise ConfigurationError([f'[metrics] endpoint = "{self._where}": {problem}']) from None
        opened = Listener("metrics", "none", self._port.getHost())
        self.log.info("metrics are told at {address}", address=self._port.getHost())
        return opened

    async def stop(self) -> None:
        """Close the port, and look no more."""
        self._lag.stop()
        port, self._port = self._port, None
        if port is not None:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
