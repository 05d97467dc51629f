"""The way to other servers: which host, which address, how protected, and what became of it."""

from twisted_mail_kit.smtp.relay.relay import Relay
from twisted_mail_kit.smtp.relay.routes import TargetRoute
from twisted_mail_kit.smtp.relay.settings import RelaySettings, RouteSettings

__all__ = ["Relay", "RelaySettings", "RouteSettings", "TargetRoute"]
