"""What the operator may ask of a running server's store: whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted_mail_kit.control.server import Verb
from twisted_mail_kit.errors import Unavailable


def fsck_verbs(store: Any) -> Mapping[str, Verb]:
    """``store.check``: as IMaintenance.check, as plain values."""

    async def check() -> object:
        look = getattr(store, "check", None)
        if look is None:
            raise Unavailable("this store cannot be checked from here: its plugin does not know how")
        findings = await look()
        return {"counts": dict(findings.counts), "problems": list(findings.problems)}

    return {"store.check": check}
