"""The bundled checks as plugins: called as ``factory(options, context)``."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.checks.low_disk import LowDisk
from twisted_mail_kit.checks.sender_identity import SenderIdentity
from twisted_mail_kit.checks.settings import LowDiskSettings, SenderIdentitySettings
from twisted_mail_kit.errors import ConfigurationError


def low_disk(options: LowDiskSettings, context: Any) -> LowDisk:
    """`low-disk`. A relative path is below the state directory."""
    return LowDisk(context.state_dir / options.path, context.reactor, options)


def sender_identity(options: SenderIdentitySettings, context: Any) -> SenderIdentity:
    """`sender-identity`. Needs `context.accounts`."""
    accounts = getattr(context, "accounts", None)
    if accounts is None:
        raise ConfigurationError(["sender-identity: there are no accounts to ask"])
    return SenderIdentity(accounts, options)
