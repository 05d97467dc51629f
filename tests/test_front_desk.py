"""The front desk: the public names, fetched when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import twisted_mail_kit


@pytest.mark.parametrize("name", twisted_mail_kit.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(twisted_mail_kit, name)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Mailkitt"):
        _ = twisted_mail_kit.Mailkitt  # type: ignore[attr-defined]


def test_a_dropin_imports_no_server() -> None:
    code = "import sys, twisted_mail_kit.plugin; print('twisted_mail_kit.kit' in sys.modules, 'OpenSSL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
