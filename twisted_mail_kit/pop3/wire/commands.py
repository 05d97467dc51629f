"""What a POP3 client can say, as values, and a table of what it may say now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """RFC 1939 3. In the third state, UPDATE, nobody listens any more."""

    AUTHORIZATION = "before login"
    TRANSACTION = "after login"


@dataclass(frozen=True, slots=True)
class Command:
    """One line from the client that can be understood."""


@dataclass(frozen=True, slots=True)
class Quit(Command):
    """RFC 1939 4, 6."""


@dataclass(frozen=True, slots=True)
class Capa(Command):
    """RFC 2449 5."""


@dataclass(frozen=True, slots=True)
class Lang(Command):
    """RFC 6856 3; None asks for the list."""

    language: str | None


# --- before login --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class User(Command):
    """RFC 1939 7."""

    name: str


@dataclass(frozen=True, slots=True)
class Pass(Command):
    """RFC 1939 7. Blanks belong to the password."""

    password: str

    def __repr__(self) -> str:
        return "Pass(…)"


@dataclass(frozen=True, slots=True)
class Auth(Command):
    """RFC 5034 4. The initial response is decoded from base64; None where there is none. An empty mechanism asks
    which there are, as clients did before there was CAPA."""

    mechanism: str
    initial: bytes | None = None

    def __repr__(self) -> str:
        return f"Auth({self.mechanism!r}, …)"


@dataclass(frozen=True, slots=True)
class Stls(Command):
    """RFC 2595 4."""


@dataclass(frozen=True, slots=True)
class Utf8(Command):
    """RFC 6856 2."""


# --- after login ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stat(Command):
    """RFC 1939 5."""


@dataclass(frozen=True, slots=True)
class List(Command):
    """RFC 1939 5; without a number: all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Retr(Command):
    """RFC 1939 5."""

    number: int


@dataclass(frozen=True, slots=True)
class Dele(Command):
    """RFC 1939 5."""

    number: int


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """RFC 1939 5."""


@dataclass(frozen=True, slots=True)
class Rset(Command):
    """RFC 1939 5."""


@dataclass(frozen=True, slots=True)
class Top(Command):
    """RFC 1939 7: the header section, an empty line, and so many lines of the body."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Uidl(Command):
    """RFC 1939 7; without a number: all."""

    number: int | None


# --- what is no command --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """A line within AUTH, decoded from base64. None: the client has cancelled with ``*``, RFC 5034 4."""

    octets: bytes | None

    def __repr__(self) -> str:
        return "Response(…)"


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such command here."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A command that we know, said wrongly. The problem is text of ours, fit for the client."""

    problem: str


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line longer than the limit. It was thrown away, up to its end."""


Event = Command | Response | Unknown | Malformed | TooLong

_BEFORE, _AFTER = (State.AUTHORIZATION,), (State.TRANSACTION,)

MAY_BE_SAID: dict[type[Command], tuple[State, ...]] = {
    Quit: _BEFORE + _AFTER,
    Capa: _BEFORE + _AFTER,
    Lang: _BEFORE + _AFTER,
    User: _BEFORE,
    Pass: _BEFORE,
    Auth: _BEFORE,
    Stls: _BEFORE,
    Utf8: _BEFORE,
    Stat: _AFTER,
    List: _AFTER,
    Retr: _AFTER,
    Dele: _AFTER,
    Noop: _AFTER,
    Rset: _AFTER,
    Top: _AFTER,
    Uidl: _AFTER,
}
"""RFC 1939 3: a command that is not for the present state gets an error and changes nothing."""
