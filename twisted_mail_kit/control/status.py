"""How the running server is: its processes, their sessions, what was restarted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted_mail_kit._version import __version__
from twisted_mail_kit.control.server import Verb
from twisted_mail_kit.kit import MailKit


def status_verbs(kit: MailKit) -> Mapping[str, Verb]:
    """``status``: what the operator asks first."""
    began = kit.reactor.seconds()

    async def status() -> object:
        found: dict[str, Any] = {
            "version": __version__,
            "pid": os.getpid(),
            "seconds": kit.reactor.seconds() - began,
            "listeners": [
                {"service": one.service, "host": one.host, "port": one.port, "tls": one.tls} for one in kit.listeners
            ],
        }
        return found | await kit.status()

    return {"status": status}
