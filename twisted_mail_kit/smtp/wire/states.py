"""What may be said when, as one table."""

from __future__ import annotations

from enum import Enum, auto

from twisted_mail_kit.smtp.wire.commands import (
    Auth,
    Bdat,
    Command,
    Data,
    Expn,
    Hello,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
)
from twisted_mail_kit.smtp.wire.replies import Reply, reply


class State(Enum):
    """Where in RFC 5321 3 a session stands."""

    NEW = auto()
    """Nothing was said yet, or STARTTLS made it so."""
    GREETED = auto()
    """HELO, EHLO or LHLO was said; no transaction is open."""
    MAIL = auto()
    """MAIL was accepted, and no recipient yet."""
    RCPT = auto()
    """At least one recipient was accepted."""
    CHUNKS = auto()
    """BDAT was accepted, and not the last one."""

    __hash__ = object.__hash__  # Enum's own is a function of Python's, and each command asks for it


_ALWAYS = frozenset(State)
_GREETED = _ALWAYS - {State.NEW}

ALLOWED: dict[type, frozenset[State]] = {
    Hello: _ALWAYS,
    Noop: _ALWAYS,
    Help: _ALWAYS,
    Quit: _ALWAYS,
    Rset: _ALWAYS,
    Vrfy: _ALWAYS - {State.CHUNKS},
    Expn: _ALWAYS - {State.CHUNKS},
    StartTls: _GREETED - {State.CHUNKS},
    Auth: frozenset({State.GREETED}),
    Mail: frozenset({State.GREETED}),
    Rcpt: frozenset({State.MAIL, State.RCPT}),
    Data: frozenset({State.RCPT}),
    # RFC 3030 2: in a row of BDATs only BDAT, RSET, NOOP, QUIT make sense.
    Bdat: frozenset({State.RCPT, State.CHUNKS}),
}

_WHY = {
    State.NEW: "Say EHLO first",
    State.GREETED: "Say MAIL first",
    State.MAIL: "No valid recipient yet",
    State.RCPT: "Not within a transaction",
    State.CHUNKS: "A BDAT with LAST is still to come",
}
_NESTED = reply(503, "5.5.1", "Not within a transaction")
_NOT_NOW = {state: reply(503, "5.5.1", why) for state, why in _WHY.items()}


def out_of_turn(state: State, command: Command) -> Reply | None:
    """The 503 for a command that may not be said now; None: it may."""
    if state in ALLOWED[type(command)]:
        return None
    if state is State.MAIL and isinstance(command, Mail | Auth):
        return _NESTED
    return _NOT_NOW[state]
