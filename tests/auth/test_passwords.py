"""The password file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from zope.interface.verify import verifyObject

from twisted_mail_kit.auth.inturn import PasswordCredentials
from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.settings import PasswordFileSettings
from twisted_mail_kit.errors import AccountNotFound, BadSyntax, TooManyLogins, Unavailable
from twisted_mail_kit.interfaces import IPasswords
from twisted_mail_kit.sasl import IScramKeys

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8192, "scram_iterations": 4096}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "passwords"


@pytest.fixture
def file(path: Path) -> Iterator[PasswordFile]:
    made = PasswordFile(path, reactor, PasswordFileSettings(**CHEAP), "ours.example")
    yield made
    made.close()


async def check(file: PasswordFile, user: str, password: str) -> bytes:
    got: bytes = await file.requestAvatarId(PasswordCredentials(user.encode(), password.encode()))
    return got


async def test_users_come_and_go(file: PasswordFile, path: Path) -> None:
    assert verifyObject(IPasswords, file)
    assert verifyObject(IScramKeys, file)
    assert await file.user_names() == []
    await file.set_password("Joe", "sésame")
    await file.set_password("ann@ours.example", "x")
    assert await file.user_names() == ["ann@ours.example", "joe@ours.example"]
    assert await file.is_user("joe@ours.example")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "sésame" not in path.read_text()
    assert await check(file, "JOE@ours.example", "se\u0301same") == b"joe@ours.example"
    for user, password in (("joe", "wrong"), ("nobody", "sésame"), ("joe\0", "x"), ("joe", "x" * 5000)):
        with pytest.raises(UnauthorizedLogin):
            await check(file, user, password)
    await file.remove_user("joe")
    with pytest.raises(UnauthorizedLogin):
        await check(file, "joe", "sésame")
    with pytest.raises(AccountNotFound):
        await file.remove_user("joe")
    assert sorted(one.name for one in path.parent.iterdir()) == [".passwords.lock", "passwords"]


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("a\nb", "x"), ("joe", ""), ("joe", "a\0b"), ("@x", "x")])
async def test_what_cannot_be_a_login_is_told(file: PasswordFile, user: str, password: str) -> None:
    with pytest.raises(BadSyntax):
        await file.set_password(user, password)


async def test_a_right_password_is_remembered_until_the_file_changes(file: PasswordFile, path: Path) -> None:
    await file.set_password("joe", "one")
    await check(file, "joe", "one")
    verified: list[str] = []
    verify = file._verify
    file._verify = lambda hashed, secret: bool(verified.append(hashed)) or verify(hashed, secret)  # type: ignore[method-assign]
    await check(file, "joe", "one")
    assert verified == []
    other = PasswordFile(path, reactor, PasswordFileSettings(**CHEAP), "ours.example")
    await other.set_password("joe", "two")
    other.close()
    with pytest.raises(UnauthorizedLogin):
        await check(file, "joe", "one")
    await check(file, "joe", "two")
    assert len(verified) == 2


async def test_an_unknown_user_is_hashed_for_too(file: PasswordFile) -> None:
    await file.set_password("joe", "one")
    verified: list[str] = []
    verify = file._verify
    file._verify = lambda hashed, secret: bool(verified.append(hashed)) or verify(hashed, secret)  # type: ignore[method-assign]
    for user in ("joe", "nobody", "\ud800", ""):
        with pytest.raises(UnauthorizedLogin):
            await file.requestAvatarId(PasswordCredentials(user, "wrong"))
    assert len(verified) == 4
    assert {hashed.split("$")[3] for hashed in verified} == {"m=8,t=1,p=1"}


async def test_a_file_that_cannot_be_read_turns_nobody_away_for_good(path: Path) -> None:
    path.mkdir()
    file = PasswordFile(path, reactor, PasswordFileSettings(**CHEAP), "ours.example")
    for asked in (file.is_user("joe@ours.example"), check(file, "joe", "one"), file.user_names()):
        with pytest.raises(Unavailable):
            await asked
    path.rmdir()
    await file.set_password("joe", "one")
    assert await check(file, "joe", "one") and await file.is_user("joe@ours.example")
    path.rename(path.with_name("aside"))
    path.mkdir()
    assert await check(file, "joe", "one"), "what was known once stays"
    path.rmdir()
    path.with_name("aside").rename(path)
    assert await check(file, "joe", "one")
    file.close()


async def test_two_writers_lose_nobody(path: Path) -> None:
    files = [PasswordFile(path, reactor, PasswordFileSettings(**CHEAP)) for _ in range(2)]
    await gatherResults(
        [Deferred.fromCoroutine(files[n % 2].set_password(f"user{n}@x.example", "pw")) for n in range(20)]
    )
    assert len(await files[0].user_names()) == 20
    assert sorted(await files[1].user_names()) == await files[0].user_names()
    for file in files:
        file.close()


async def test_a_broken_line_hurts_nobody_else_and_is_kept(file: PasswordFile, path: Path) -> None:
    await file.set_password("joe", "one")
    path.write_text(path.read_text() + '{"user": "ann@ours.example", "argon2id": \n[]\n{"user": 1, "argon2id": "x"}\n')
    assert await check(file, "joe", "one")
    await file.set_password("bob", "two")
    assert await check(file, "joe", "one")
    assert '"ann@ours.example"' in path.read_text()
    fresh = PasswordFile(path, reactor, PasswordFileSettings(**CHEAP), "ours.example")
    assert await fresh.user_names() == ["bob@ours.example", "joe@ours.example"]


async def test_a_hash_is_renewed_when_its_cost_changes(file: PasswordFile, path: Path) -> None:
    await file.set_password("joe", "one")
    dearer = PasswordFile(path, reactor, PasswordFileSettings(**CHEAP | {"time_cost": 2}), "ours.example")
    assert await check(dearer, "joe", "one")
    assert "t=2" in path.read_text()
    assert await check(file, "joe", "one")
    dearer.close()


async def test_more_logins_than_may_wait_are_turned_away(path: Path) -> None:
    settings = PasswordFileSettings(**CHEAP, threads=1, waiting=2)
    file = PasswordFile(path, reactor, settings, "ours.example")
    await file.set_password("joe", "one")
    answers = await DeferredList(
        [Deferred.fromCoroutine(check(file, "joe", str(n))) for n in range(8)], consumeErrors=True
    )
    errors = [failure.type for _, failure in answers]  # type: ignore[union-attr]
    assert errors.count(UnauthorizedLogin) == 3
    assert errors.count(TooManyLogins) == 5
    file.close()


async def test_a_write_that_fails_leaves_the_old_file(file: PasswordFile, path: Path, monkeypatch: Any) -> None:
    await file.set_password("joe", "one")
    before = path.read_bytes()

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    from twisted_mail_kit.errors import Unavailable

    with pytest.raises(Unavailable):
        await file.set_password("ann", "two")
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir()) == [".passwords.lock", "passwords"]


async def test_decoys_stay_the_same_over_a_restart(file: PasswordFile, path: Path) -> None:
    await file.set_password("joe", "one")
    again = PasswordFile(path, reactor, PasswordFileSettings(**CHEAP), "ours.example")
    first, second = file.decoy_keys("nobody"), again.decoy_keys("nobody")
    assert first.salt == second.salt != file.decoy_keys("somebody").salt
    assert first.stored_key != second.stored_key
    assert len(json.loads(path.read_text().splitlines()[0])["secret"]) == 44
