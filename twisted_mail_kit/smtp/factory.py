"""Makes the factory of an SMTP, submission or LMTP listener."""

from __future__ import annotations

from typing import Literal

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime

from twisted_mail_kit.interfaces import IAuthenticator, IReception
from twisted_mail_kit.net.factory import SessionFactory
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.smtp.rates import RateBook
from twisted_mail_kit.smtp.session import SMTPSession
from twisted_mail_kit.smtp.settings import SMTPSettings


def make_factory(
    service: Literal["smtp", "submission", "submissions", "lmtp"],
    hostname: str,
    target: IReception,
    authenticator: IAuthenticator | None,
    certificates: IOpenSSLContextFactory | None,
    settings: SMTPSettings,
    clock: IReactorTime,
    shared: Shared | None = None,
    name: str = "",
) -> SessionFactory:
    """`submission` and `submissions` want a login before mail; for `submissions` the endpoint brings the TLS.

    `certificates` are for STARTTLS; without them it is not offered. Without `authenticator` AUTH is not offered.
    """
    shared = shared or Shared(clock)
    rates = RateBook(shared, service, settings.messages_per_minute, settings.recipients_per_minute)

    def make_session() -> SMTPSession:
        return SMTPSession(clock, service, hostname, target, authenticator, certificates, settings, rates)

    return SessionFactory(make_session, clock, settings.connections, shared, name)
