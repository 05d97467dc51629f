"""The whole contract of an auth plugin: a twisted.cred checker, alone and behind the door that sessions ask.

    TestAcmeChecker = authenticator_contract(make_checker, users={"joe@example.org": "secret"})

or, where making one takes more than ``make_checker(directory)``, a subclass of `AuthenticatorContract`. An
`IAuthenticator` of one's own is held to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
_PROMISES = "part logins login_trials"
pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in _PROMISES.split()))

from twisted_mail_kit.testing.contracts.login_trials import LoginTrials  # noqa: E402
from twisted_mail_kit.testing.contracts.logins import LoginPromises, PasswordPromises  # noqa: E402


class AuthenticatorContract(LoginPromises, PasswordPromises, LoginTrials):
    """Subclass me as ``Test…``, write `make_checker`, and say who its `users` are."""


def authenticator_contract(
    make: Callable[[Path], Any],
    users: Mapping[str, str] | None = None,
    make_broken: Callable[[Path], Any] | None = None,
) -> type[AuthenticatorContract]:
    """Give the contract for checkers that are made by ``make(directory)``.

    `users`: who may log in, and the passwords; a checker that provides `IPasswords` is given some. `make_broken`:
    makes a checker that has lost its file, or database.
    """

    class TestAuthenticator(AuthenticatorContract):
        def make_checker(self, tmp_path: Path) -> Any:
            return make(tmp_path)

        def make_broken(self, tmp_path: Path) -> Any:
            return make_broken(tmp_path) if make_broken is not None else super().make_broken(tmp_path)

    TestAuthenticator.users = dict(users or {})
    return TestAuthenticator
