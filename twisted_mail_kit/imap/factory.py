"""The factory that the kit puts behind an IMAP listener."""

from __future__ import annotations

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime

from twisted_mail_kit.imap.model import Watch
from twisted_mail_kit.imap.server import Server
from twisted_mail_kit.imap.session import IMAPSession
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import IAuthenticator
from twisted_mail_kit.mail.part import DEFAULT_LIMITS, ScanLimits
from twisted_mail_kit.net.factory import SessionFactory


def make_factory(
    hostname: str,
    authenticator: IAuthenticator,
    certificates: IOpenSSLContextFactory | None,
    settings: IMAPSettings,
    clock: IReactorTime,
    watch: Watch,
    limits: ScanLimits = DEFAULT_LIMITS,
) -> SessionFactory:
    """Sessions that share what they know of open mailboxes. Without `certificates` there is no STARTTLS.

    `limits` are for the MIME scan of messages that come by APPEND.
    """
    server = Server(hostname, authenticator, certificates, settings, clock, watch, limits)
    return SessionFactory(lambda: IMAPSession(server), clock, settings.connections)
