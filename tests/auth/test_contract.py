"""The password file keeps every promise of an authenticator; so do Twisted's own checkers behind our door."""

from __future__ import annotations

from pathlib import Path

from twisted.cred.checkers import FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import reactor

from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.settings import PasswordFileSettings
from twisted_mail_kit.testing.contracts import authenticator_contract

CHEAP = PasswordFileSettings(time_cost=1, memory_cost=8192, scram_iterations=4096)
USERS = {"joe@example.org": "secret", "ann@example.org": "two words"}


def password_file(directory: Path) -> PasswordFile:
    return PasswordFile(directory / "passwords", reactor, CHEAP, "example.org")


def unreadable(directory: Path) -> PasswordFile:
    (directory / "passwords").mkdir()
    return password_file(directory)


def twisteds_file(directory: Path) -> FilePasswordDB:
    lines = (f"{user}:{password}\n" for user, password in USERS.items())
    (directory / "users").write_text("".join(lines))
    return FilePasswordDB(str(directory / "users"))


def in_memory(directory: Path) -> InMemoryUsernamePasswordDatabaseDontUse:
    return InMemoryUsernamePasswordDatabaseDontUse(**{user: word.encode() for user, word in USERS.items()})


TestPasswordFile = authenticator_contract(password_file, make_broken=unreadable)
TestFilePasswordDB = authenticator_contract(twisteds_file, USERS)
TestInMemory = authenticator_contract(in_memory, USERS)
