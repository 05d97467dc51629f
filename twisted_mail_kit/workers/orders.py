"""What the owner hands to a worker: the configuration as it was read once, and the sockets."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from OpenSSL import crypto
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.ssl import CertificateOptions, TLSVersion
from zope.interface import implementer

from twisted_mail_kit._version import __version__
from twisted_mail_kit.config import Config, load
from twisted_mail_kit.errors import ConfigurationError
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
        return None if self.pem is None else GivenCertificates(*self.pem, self.path)


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

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IOpenSSLContextFactory)
class GivenCertificates:
    """As `net.tls.Certificates`, from octets."""

    def __init__(self, chain: bytes, key: bytes, where: Path) -> None:
        try:
            first, *others = [crypto.load_certificate(crypto.FILETYPE_PEM, pem) for pem in _CERTIFICATE.findall(chain)]
            options = CertificateOptions(
                privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key),
                certificate=first,
                extraCertChain=others,
                raiseMinimumTo=TLSVersion.TLSv1_2,
            )
            self._context = options.getContext()
            self._context.check_privatekey()
        except Exception as problem:
            raise ConfigurationError([f"{where}: [tls] the certificate cannot be used: {problem}"]) from problem

    def getContext(self) -> Any:
        """What Twisted asks for each connection."""
        return self._context
