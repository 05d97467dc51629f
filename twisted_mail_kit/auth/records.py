"""The password file's lines: one JSON object a user."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from twisted_mail_kit.net.wholefile import put_in_place
from twisted_mail_kit.sasl import ScramKeys


@frozen(kw_only=True)
class Record:
    """One user."""

    user: str
    argon2id: str = field(repr=False)
    scram: ScramKeys | None = field(default=None, repr=False)


@frozen
class Records:
    """The whole file."""

    users: dict[str, Record] = field(factory=dict, repr=False)
    secret: bytes = field(factory=lambda: secrets.token_bytes(32), repr=False)
    """For what unknown users are told; kept, so that they are told the same after a restart."""
    broken: list[tuple[int, str, str]] = field(factory=list)
    """(line number, the line, why) of what is kept as it is and not used."""


def parse(text: str) -> Records:
    """Read all lines. A broken one is named, and the others work."""
    found = Records()
    secret = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            facts = json.loads(line)
            if "secret" in facts:
                secret = base64.b64decode(facts["secret"], validate=True)
                continue
            record = _record(facts)
            if record.user in found.users:
                raise ValueError("the user is there already")
        except (ValueError, KeyError, TypeError) as problem:
            found.broken.append((number, line, f"{type(problem).__name__}: {problem}"[:200]))
        else:
            found.users[record.user] = record
    return found if secret is None else Records(found.users, secret, found.broken)


def render(records: Records) -> str:
    """The file's text. Broken lines stay as they are: a typing error must not lose a user."""
    lines = [json.dumps({"secret": _b64(records.secret)})]
    for record in sorted(records.users.values(), key=lambda record: record.user):
        facts: dict[str, Any] = {"user": record.user, "argon2id": record.argon2id}
        if record.scram is not None:
            keys = record.scram
            facts["scram-sha-256"] = {
                "salt": _b64(keys.salt),
                "iterations": keys.iterations,
                "stored_key": _b64(keys.stored_key),
                "server_key": _b64(keys.server_key),
            }
        lines.append(json.dumps(facts, ensure_ascii=False))
    lines += [line for _, line, _ in records.broken]
    return "\n".join(lines) + "\n"


def read(path: Path) -> Records:
    """A file that is not there has no users. Raises OSError, UnicodeDecodeError."""
    try:
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        return Records()


def change(path: Path, how: Callable[[dict[str, Record]], None]) -> None:
    """Read, let `how` change the users, write: one writer at a time, all or nothing, durable when it returns."""
    with _lock(path):
        records = read(path)
        how(records.users)
        put_in_place(path, render(records).encode())


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """A lock file of its own: the password file itself is replaced at each change."""
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _record(facts: dict[str, Any]) -> Record:
    user, argon2id = facts["user"], facts["argon2id"]
    if not isinstance(user, str) or not user or not isinstance(argon2id, str) or "$argon2" not in argon2id:
        raise ValueError("user and argon2id must be texts, and argon2id a hash")
    keys = facts.get("scram-sha-256")
    scram = None
    if keys is not None:
        scram = ScramKeys(
            salt=base64.b64decode(keys["salt"], validate=True),
            iterations=int(keys["iterations"]),
            stored_key=base64.b64decode(keys["stored_key"], validate=True),
            server_key=base64.b64decode(keys["server_key"], validate=True),
        )
    return Record(user=user, argon2id=argon2id, scram=scram)


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
