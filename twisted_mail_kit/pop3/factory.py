"""What a POP3 listener is given."""

from __future__ import annotations

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime

from twisted_mail_kit.interfaces import IAuthenticator
from twisted_mail_kit.net.factory import SessionFactory
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.pop3.ahead import Room
from twisted_mail_kit.pop3.session import POP3Session
from twisted_mail_kit.pop3.settings import POP3Settings


def make_factory(
    hostname: str,
    authenticator: IAuthenticator,
    certificates: IOpenSSLContextFactory | None,
    settings: POP3Settings,
    clock: IReactorTime,
    shared: Shared | None = None,
    name: str = "",
) -> SessionFactory:
    """A factory of POP3 sessions, for port 110, and for 995 on an endpoint that speaks TLS.

    `certificates` makes STLS possible. Factories with the same `shared` share the locks of the maildrops.
    """
    shared = shared or Shared(clock)
    room = Room(settings.read_ahead)
    return SessionFactory(
        lambda: POP3Session(hostname, authenticator, certificates, settings, clock, shared, room=room),
        clock,
        settings.connections,
        shared,
        name,
    )
