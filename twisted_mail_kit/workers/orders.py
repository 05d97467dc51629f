"""What the owner hands to a worker: the configuration as it was read once, and the sockets."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from twisted_mail_kit._version import __version__
from twisted_mail_kit.config import Config, load
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.net.tls import GivenCertificates
from twisted_mail_kit.workers.sockets import SharedSocket


@frozen(kw_only=True)
class Snapshot:
    """A configuration and its certificates at one moment, so that all processes have the same one."""

    path: Path
    text: str
    pem: tuple[bytes, bytes] | None
    """Certificate chain and key: only root may be able to read them."""

    @classmethod
    def of(cls, config: Config) -> Snapshot:
        """Read what belongs to a configuration. Raises ConfigurationError."""
        tls, pem = config.tables.tls, None
        if tls is not None:
            try:
                pem = tls.certificate.read_bytes(), (tls.key or tls.certificate).read_bytes()
            except OSError as problem:
                raise ConfigurationError([f"{config.file}: [tls] {problem}"]) from None
        return cls(path=config.file.absolute(), text=config.text, pem=pem)

    def config(self) -> Config:
        """The configuration. Raises ConfigurationError."""
        return load(self.path, self.text)

    def certificates(self) -> GivenCertificates | None:
        """The certificates. Raises ConfigurationError."""
        if self.pem is None:
            return None
        try:
            return GivenCertificates(*self.pem)
        except Exception as problem:
            raise ConfigurationError([f"{self.path}: [tls] the certificate cannot be used: {problem}"]) from problem


@frozen(kw_only=True)
class Door:
    """One listener, as the configuration has it, and its socket."""

    service: str
    endpoint: str
    tls: str | None
    socket: SharedSocket


@frozen(kw_only=True)
class Orders:
    """All that a worker has to know."""

    number: int
    snapshot: Snapshot
    doors: tuple[Door, ...]
    abilities: tuple[str, ...]
    """Of the owner's store."""
    reading: tuple[str, Mapping[str, object]] | None
    """How the store can be read from here; see `workers.reading`."""
    has_way_out: bool
    heartbeat: float
    """Seconds; see `CrewSettings`."""


VERSION = f"{__version__}, Python {platform.python_version()}"
"""Both ends of a line have to be of the same one: what travels between them is their own objects. A worker that is
started after an upgrade of the package on disk is not."""
