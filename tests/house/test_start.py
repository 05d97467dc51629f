"""A server is there within a second: what only some of them need is imported by those."""

from __future__ import annotations

import subprocess
import sys

LATER = {
    "click": "the `mailkit` command",
    "prometheus_client": "the page of metrics",
    "scramp": "a login by SCRAM",
    "twisted.mail": "what was written for twisted.mail",
    "twisted.web.server": "the page of metrics",
    "twisted.web.client": "an MTA-STS policy that has to be fetched",
}


def test_a_start_imports_nothing_that_the_usual_server_does_not_need() -> None:
    code = "import sys, twisted_mail_kit.assembly, twisted_mail_kit.running; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(found.stdout.split()) & set(LATER) == set()
