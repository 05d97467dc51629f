"""The factory that the kit puts behind an IMAP listener."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime

from twisted_mail_kit.imap.model import Watch
from twisted_mail_kit.imap.server import Server
from twisted_mail_kit.imap.session import IMAPSession
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import IAuthenticator
from twisted_mail_kit.mail.part import DEFAULT_LIMITS, ScanLimits
from twisted_mail_kit.net.factory import SessionFactory
from twisted_mail_kit.net.shared import Shared


def make_factory(
    hostname: str,
    authenticator: IAuthenticator,
    certificates: IOpenSSLContextFactory | None,
    settings: IMAPSettings,
    clock: IReactorTime,
    watch: Watch,
    limits: ScanLimits = DEFAULT_LIMITS,
    shared: Shared | None = None,
    name: str = "",
    index_folder: Path | None = None,
) -> SessionFactory:
    """Sessions that share what they know of open mailboxes. Without `certificates` there is no STARTTLS.

    `limits` are for the MIME scan of messages that come by APPEND, `shared` and `name` for the factory. What SEARCH has
    learned is kept in `index_folder`; without one, in memory.
    """
    shared = shared or Shared(clock)
    server = Server(hostname, authenticator, certificates, settings, clock, watch, limits, shared, index_folder)
    return SessionFactory(lambda: IMAPSession(server), clock, settings.connections, shared, name)
