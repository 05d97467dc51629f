"""The bundled auth plugin: called as ``factory(options, context)``."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.settings import PasswordFileSettings


def passwords(options: PasswordFileSettings, context: Any) -> PasswordFile:
    """`passwords`. A relative file is in the state directory."""
    default_domain = context.domains[0] if context.domains else context.hostname
    return PasswordFile(context.state_dir / options.file, context.reactor, options, default_domain)
