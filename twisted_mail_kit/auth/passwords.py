"""Passwords in a file: argon2id hashes, checked in a few threads."""

from __future__ import annotations

import hmac
import os
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.accounts.names import account_name
from twisted_mail_kit.auth.records import Record, Records, change, read
from twisted_mail_kit.auth.settings import PasswordFileSettings
from twisted_mail_kit.errors import AccountNotFound, BadSyntax, TooManyLogins, Unavailable
from twisted_mail_kit.interfaces import IPasswords
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import PASSWORD_CHECKS
from twisted_mail_kit.net.threads import DaemonThreads
from twisted_mail_kit.sasl import IScramKeys, ScramKeys, make_scram_keys

T = TypeVar("T")
_LARGE = 64 * 1024
_REMEMBERED = 10_000
_LONGEST = 1024
_NEVER = object()
LOOK_AGAIN = 0.5
"""Seconds after which the file is looked at again before a known name counts as a user; a login always looks."""


@implementer(IPasswords, ICredentialsChecker, IScramKeys)
class PasswordFile:
    """Who may log in. Each line of the file is a JSON object; see `records`.

    The file may be changed by several processes at once, and by hand: it is looked at before each login and read again
    when it is another one. A broken line is named in the log; the others work. A missing file has no users. Hashes are
    made in threads of our own, so many at once as there are cores, because each takes 64 MB. An unknown user costs the
    same time as a wrong password. Passwords are compared as UTF-8 of their NFC form.
    """

    log = Logger()
    credentialInterfaces = (IUsernamePassword,)
    wants_full_names = True

    def __init__(
        self, path: Path, reactor: Any, settings: PasswordFileSettings | None = None, default_domain: str = ""
    ) -> None:
        self.path = path
        self.settings = settings or PasswordFileSettings()
        self.default_domain = default_domain
        self._reactor = reactor
        self._hasher = PasswordHasher(
            time_cost=self.settings.time_cost, memory_cost=self.settings.memory_cost // 1024, parallelism=1
        )
        self._pool: DaemonThreads | None = None
        self._threads = self.settings.threads or os.cpu_count() or 1
        self._busy = 0
        PASSWORD_CHECKS.read(self._at_work)
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._decoy = ""
        self._seen: Any = _NEVER
        self._complained: Any = _NEVER
        self._looked_at = 0.0
        self._records = Records()
        looks = _looks(path)
        try:
            self._take(read(path))
            self._seen = looks
        except (OSError, UnicodeDecodeError) as problem:
            self.log.error("{path} cannot be read: {problem}", path=path, problem=problem)

    # --- IPasswords ------------------------------------------------------------------------------------------------

    async def set_password(self, user: str, password: str) -> None:
        """Make the user, or change the password; durable when it returns. Raises BadSyntax."""
        name, secret = self._name(user), _normal(password)
        if not secret:
            raise BadSyntax("the password is empty")
        record = await self._in_thread(lambda: self._record(name, secret))

        def put(users: dict[str, Record]) -> None:
            users[name] = record

        await self._change(put)

    async def remove_user(self, user: str) -> None:
        """Raises AccountNotFound."""
        name = self._name(user)

        def drop(users: dict[str, Record]) -> None:
            if users.pop(name, None) is None:
                raise AccountNotFound(name)

        await self._change(drop)

    async def user_names(self) -> Sequence[str]:
        """All of them, ascending."""
        await self._refresh()
        return sorted(self._records.users)

    async def is_user(self, name: str) -> bool:
        """Whether that account may log in: what `accounts.Directory` asks. One who was removed a moment ago may still
        count as one."""
        # Hot path, at each RCPT: for those who are known the file is looked at only now and then.
        now = self._reactor.seconds()
        if name not in self._records.users or not 0 <= now - self._looked_at < LOOK_AGAIN:
            await self._refresh()
            self._looked_at = now
        return name in self._records.users

    # --- ICredentialsChecker ---------------------------------------------------------------------------------------

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """cred asks. Fails with UnauthorizedLogin, TooManyLogins, Unavailable."""
        return Deferred.fromCoroutine(self._check(credentials.username, credentials.password))

    # --- IScramKeys ------------------------------------------------------------------------------------------------

    async def scram_keys(self, user: str) -> ScramKeys | None:
        """None: no such user, or none with keys."""
        await self._refresh()
        record = self._records.users.get(user)
        return record.scram if record is not None and self.settings.scram else None

    def decoy_keys(self, user: str) -> ScramKeys:
        """The same for the same name for as long as the file keeps its secret."""
        # As long as those of users (scramp's 32 octets), or it would tell who is none.
        salt = hmac.digest(self._records.secret, user.encode("utf-8", "replace"), "sha256")
        nobody = secrets.token_bytes(32)
        return ScramKeys(salt=salt, iterations=self.settings.scram_iterations, stored_key=nobody, server_key=nobody)

    # --- for the owner ---------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the file again. Raises OSError, UnicodeDecodeError, and what was known stays then."""
        looks = _looks(self.path)
        self._take(read(self.path))
        self._seen = looks

    def close(self) -> None:
        """End the threads. They are made again when somebody logs in after all."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _check(self, username: bytes | str, password: bytes | str) -> bytes:
        await self._refresh()
        try:
            name = self._name(username.decode("utf-8") if isinstance(username, bytes) else username)
            secret = _normal(password.decode("utf-8") if isinstance(password, bytes) else password)
        except ValueError:
            name, secret = "", b"-"  # nobody; and as slow as anybody
        now = self._reactor.seconds()
        mark = hmac.digest(self._key, b"%d:%b%b" % (len(name), name.encode("utf-8", "replace"), secret), "sha256")
        if self._right.get(mark, 0.0) > now:
            return name.encode()
        record = self._records.users.get(name)
        hashed = record.argon2id if record is not None else self._decoy or await self._in_thread(self._make_decoy)
        records = self._records
        is_right = await self._in_thread(lambda: self._verify(hashed, secret))
        if record is None or not is_right:
            raise UnauthorizedLogin
        if self._records is not records and self._records.users.get(name) != record:
            raise UnauthorizedLogin  # changed, or gone, while we looked
        if self.settings.remember:
            self._right[mark] = now + self.settings.remember
            if len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)
        if self._hasher.check_needs_rehash(record.argon2id) or (self.settings.scram and record.scram is None):
            await self._renew(record, secret)
        return name.encode()

    async def _renew(self, record: Record, secret: bytes) -> None:
        """The cost was set anew since: hash again, unless the password was changed meanwhile."""
        try:
            fresh = await self._in_thread(lambda: self._record(record.user, secret))

            def put(users: dict[str, Record]) -> None:
                if users.get(record.user) == record and fresh != record:
                    users[record.user] = fresh

            await self._change(put)
        except Exception:
            self.log.failure("the hash of {user} could not be renewed", user=record.user)

    def _record(self, name: str, secret: bytes) -> Record:
        keys = None
        if self.settings.scram:
            try:
                keys = make_scram_keys(secret.decode("utf-8"), self.settings.scram_iterations)
            except BadSyntax:
                keys = None  # such a password works with PLAIN and LOGIN
        return Record(user=name, argon2id=self._hasher.hash(secret), scram=keys)

    def _verify(self, hashed: str, secret: bytes) -> bool:
        try:
            return self._hasher.verify(hashed, secret)
        except (VerificationError, InvalidHashError):
            return False

    def _make_decoy(self) -> str:
        self._decoy = self._hasher.hash(secrets.token_bytes(16))
        return self._decoy

    def _name(self, user: str) -> str:
        try:
            return account_name(user, self.default_domain)
        except ValueError as problem:
            raise BadSyntax(str(problem)) from problem

    async def _change(self, how: Callable[[dict[str, Record]], None]) -> None:
        try:
            await self._in_thread(lambda: change(self.path, how))
        except OSError as problem:
            raise Unavailable(f"{self.path} cannot be written") from problem
        await self._refresh()

    async def _refresh(self) -> None:
        """Read the file again, if it is another one. Raises Unavailable where it could never be read: that there are
        no users would turn their mail away for good."""
        looks, before = _looks(self.path), self._seen
        if looks == before:
            return
        if before is not _NEVER:
            self._seen = looks  # one reads, and the others go on with what is known
        try:
            if looks is not None and looks[2] > _LARGE:
                records = await self._in_thread(lambda: read(self.path))
            else:
                records = read(self.path)
        except (OSError, UnicodeDecodeError) as problem:
            if before is _NEVER:
                raise Unavailable(f"{self.path} cannot be read: {problem}") from problem
            self._seen = before
            if looks != self._complained:
                self._complained = looks
                self.log.error("{path} cannot be read, all stays as it was: {problem}", path=self.path, problem=problem)
            return
        except Unavailable:
            self._seen = before
            raise
        self._seen = looks
        self._take(records)

    def _take(self, records: Records) -> None:
        self._records = records
        self._right.clear()
        for number, _, why in records.broken:
            self.log.error("{path} line {number} is broken: {why}", path=self.path, number=number, why=why)
        try:
            if self.path.stat().st_mode & 0o077:
                self.log.warn("{path} can be read by others: chmod 600", path=self.path)
        except OSError:
            pass

    def _at_work(self) -> dict[str, int]:
        return {"running": min(self._busy, self._threads), "waiting": max(0, self._busy - self._threads)}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._busy >= self._threads + self.settings.waiting:
            limits.LOGINS_WAITING.value += 1
            self.log.warn("a login is put off: {waiting} wait already", waiting=self.settings.waiting)
            raise TooManyLogins("too many logins wait already")
        if self._pool is None:
            pool = self._pool = DaemonThreads(0, self._threads, name="passwords")
            pool.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", self.close)
        if self._busy >= self._threads:
            limits.LOGINS_AT_ONCE.value += 1
        self._busy += 1
        try:
            done: T = await deferToThreadPool(self._reactor, self._pool, work)
            return done
        finally:
            self._busy -= 1


def _normal(password: str) -> bytes:
    octets = unicodedata.normalize("NFC", password).encode("utf-8")
    if len(octets) > _LONGEST or b"\0" in octets:
        raise BadSyntax("the password is too long, or has a NUL in it")
    return octets


def _looks(path: Path) -> tuple[int, int, int] | None:
    """What is another when the file is another."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
