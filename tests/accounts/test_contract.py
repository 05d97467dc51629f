"""The directory keeps every promise of accounts, with users of its own and with those of a password file."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.settings import PasswordFileSettings
from twisted_mail_kit.testing.contracts import AccountsContract, accounts_contract

JOE, ANN, INFO = "joe@example.org", "ann@example.org", "info@example.org"
LOCAL = {JOE: JOE, ANN: ANN}
ALIASES = {INFO: [JOE, "bob@theirs.example"], ANN: [ANN, JOE]}
CHEAP = PasswordFileSettings(time_cost=1, memory_cost=8192, scram_iterations=4096)


def directory(path: Path) -> Directory:
    (path / "aliases").write_text("info: joe@example.org, bob@theirs.example\nann: ann, joe\n")
    return Directory(["example.org"], {"joe", "ann"}, aliases_file=path / "aliases")


def unreadable(path: Path) -> Directory:
    (path / "aliases").mkdir()
    return Directory(["example.org"], {"joe", "ann"}, aliases_file=path / "aliases")


TestDirectory = accounts_contract(directory, LOCAL, ALIASES, unreadable)
TestCatchAll = accounts_contract(
    lambda path: Directory(["example.org"], {"joe"}, catch_all={"example.org": "joe@example.org"}), {JOE: JOE}
)


class TestUsersOfAPasswordFile(AccountsContract):
    local = LOCAL

    async def make_accounts(self, tmp_path: Path) -> Directory:
        passwords = PasswordFile(tmp_path / "passwords", reactor, CHEAP, "example.org")
        for user in LOCAL:
            await passwords.set_password(user, "secret")
        return Directory(["example.org"], passwords=passwords)

    def make_broken(self, tmp_path: Path) -> Directory:
        (tmp_path / "passwords").mkdir()
        passwords = PasswordFile(tmp_path / "passwords", reactor, CHEAP, "example.org")
        return Directory(["example.org"], passwords=passwords)
