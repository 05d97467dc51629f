"""The factory that the kit puts behind an IMAP listener."""

from __future__ import annotations

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime

from twisted_mail_kit.imap.model import Watch
from twisted_mail_kit.imap.server import Server
from twisted_mail_kit.imap.session import IMAPSession
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import IAuthenticator
from twisted_mail_kit.net.factory import SessionFactory


def make_factory(
    hostname: str,
    authenticator: IAuthenticator,
    certificates: IOpenSSLContextFactory | None,
    settings: IMAPSettings,
    clock: IReactorTime,
    watch: Watch,
) -> SessionFactory:
    """Sessions that share what they know of open mailboxes. Without `certificates` there is no STARTTLS."""
    server = Server(hostname, authenticator, certificates, settings, clock, watch)
    return SessionFactory(lambda: IMAPSession(server), clock, settings.connections)
