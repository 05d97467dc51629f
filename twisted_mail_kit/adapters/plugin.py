"""The bundled plugins that mount what an application of yours has: called as ``factory(options, context)``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from zope.interface import implementer, providedBy

from twisted_mail_kit.adapters.delivery import MountedDelivery
from twisted_mail_kit.adapters.logins import MountedLogins
from twisted_mail_kit.adapters.mailboxes import MountedMailboxes
from twisted_mail_kit.adapters.settings import LoginsSettings, MailboxSettings, MessageDeliverySettings
from twisted_mail_kit.errors import ConfigurationError


def mailboxes(options: MailboxSettings, context: Any) -> MountedMailboxes:
    """`twisted-mail`, a store."""
    source = named(options.object)
    return MountedMailboxes(source, context.reactor, patience=options.patience, count_sizes=options.count_sizes)


def logins(options: LoginsSettings, context: Any) -> Any:
    """`twisted-cred`, somebody who knows passwords."""
    source = named(options.object)
    if ICredentialsChecker.providedBy(source):
        if not options.cram_md5:
            return source
        source = Portal(_NoRealm(), [source])
    return MountedLogins(source, context.reactor, patience=options.patience, cram_md5=options.cram_md5)


def delivery(options: MessageDeliverySettings, context: Any) -> MountedDelivery:
    """`twisted-mail`, a delivery target."""
    return MountedDelivery(
        named(options.object),
        context.reactor,
        hostname=context.hostname,
        patience=options.patience,
        received_header=options.received_header,
        line_length=options.line_length,
    )


def named(where: str) -> Any:
    """The object that ``module:attribute`` names, or what it makes where it is a function or a class. One name is one
    object in the whole process, also after a reload. Raises ConfigurationError."""
    try:
        return _named(where)
    except Exception as problem:
        hint = "; is it installed, or on PYTHONPATH?" if isinstance(problem, ModuleNotFoundError) else ""
        raise ConfigurationError([f'object = "{where}": {type(problem).__name__}: {problem}{hint}']) from problem


@implementer(IRealm)
class _NoRealm:
    """A checker alone has none."""

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        """`MountedLogins` does not ask."""
        raise NotImplementedError


@cache
def _named(where: str) -> Any:
    module, _, path = where.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    makes = callable(found) and (isinstance(found, type) or not list(providedBy(found)))
    return found() if makes else found
