"""One command line to one value."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from twisted_mail_kit.mail.address import parse_path
from twisted_mail_kit.smtp.wire.commands import (
    Auth,
    Bad,
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
    Unknown,
    Vrfy,
)
from twisted_mail_kit.smtp.wire.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    BadParameter,
    parse_parameters,
)
from twisted_mail_kit.smtp.wire.replies import reply

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# A name goes into Received fields and logs, so it has nothing that means something there. Clients do put underscores
# and other odd characters into it; RFC 5321 4.1.4 lets nobody be refused for a name that is merely wrong.
_NAME = re.compile(r"[^\x00-\x20()<>\"\\,;@\x7f-\uffff]{1,255}\Z")
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}\Z")


def parse_command(line: bytes) -> Command | Unknown | Bad:
    """A line without its CR LF. Never raises."""
    # Hot path: the same senders and recipients come again and again. Nothing else is kept: AUTH has secrets.
    if len(line) < _SHORT and line[:5] in _REPEATED:
        return _known_command(line)
    return _read_command(line)


def _read_command(line: bytes) -> Command | Unknown | Bad:
    if _CONTROL.search(line):
        return Bad(reply(500, "5.5.2", "Control characters in a command"))
    verb, _, rest = line.partition(b" ")
    parse = _VERBS.get(verb.rstrip().upper())
    if parse is None:
        return Unknown(reply(500, "5.5.1", "Command not known"))
    return parse(rest.strip())


_known_command = lru_cache(maxsize=1024)(_read_command)
_REPEATED = frozenset({b"MAIL ", b"RCPT "})
_SHORT = 100


def _hello(verb: str) -> Callable[[bytes], Command | Bad]:
    def parse(rest: bytes) -> Command | Bad:
        name = rest.decode("ascii", "replace")
        if not _NAME.match(name):
            return Bad(reply(501, "5.5.4", f"Say {verb} and the name of your host"))
        return Hello(verb, name)

    return parse


def _mail(rest: bytes) -> Command | Bad:
    if rest[:5].upper() != b"FROM:":
        return Bad(reply(501, "5.5.4", "Say MAIL FROM:<address>"))
    path = rest[5:].lstrip()
    try:
        sender, behind = parse_path(path, utf8=True)
    except ValueError:
        return Bad(reply(501, "5.1.7", "Malformed sender address"))
    has_utf8 = not path.isascii() and not path[: len(path) - len(behind)].isascii()
    if not behind:
        return Mail(sender, has_utf8)
    if behind[:1] != b" ":
        return Bad(reply(501, "5.1.7", "Malformed sender address"))
    try:
        values: dict[str, Any] = parse_parameters(behind, MAIL_PARAMETERS)
    except BadParameter as problem:
        return Bad(problem.reply)
    return Mail(
        sender,
        has_utf8,
        size=values.get("SIZE"),
        body=values.get("BODY", "7BIT"),
        smtputf8=values.get("SMTPUTF8", False),
        ret=values.get("RET", ""),
        envid=values.get("ENVID", ""),
        auth=values.get("AUTH", ""),
        require_tls=values.get("REQUIRETLS", False),
    )


def _rcpt(rest: bytes) -> Command | Bad:
    if rest[:3].upper() != b"TO:":
        return Bad(reply(501, "5.5.4", "Say RCPT TO:<address>"))
    path = rest[3:].lstrip()
    try:
        address, behind = parse_path(path, utf8=True)
    except ValueError:
        return Bad(reply(501, "5.1.3", "Malformed recipient address"))
    if address is None or behind[:1] not in (b"", b" "):
        return Bad(reply(501, "5.1.3", "Malformed recipient address"))
    has_utf8 = not path.isascii() and not path[: len(path) - len(behind)].isascii()
    if not behind:
        return Rcpt(address, has_utf8)
    try:
        values: dict[str, Any] = parse_parameters(behind, RCPT_PARAMETERS)
    except BadParameter as problem:
        return Bad(problem.reply)
    return Rcpt(address, has_utf8, values.get("NOTIFY"), values.get("ORCPT", ""))


def _bdat(rest: bytes) -> Command | Bad:
    size, _, last = rest.partition(b" ")
    is_last = last.strip().upper() == b"LAST"
    # Whoever is misunderstood about the size would have octets of a message taken for commands.
    if not size.isdigit() or len(size) > 20 or (last and not is_last):
        return Bad(reply(501, "5.5.4", "Say BDAT and a size, and LAST for the last"), loses_step=True)
    return Bdat(int(size), is_last)


def _auth(rest: bytes) -> Command | Bad:
    mechanism, _, initial = rest.partition(b" ")
    if not _MECHANISM.match(mechanism):
        return Bad(reply(501, "5.5.4", "Say AUTH and a mechanism"))
    return Auth(mechanism.decode("ascii").upper(), initial.strip() or None)


def _alone(command: Command, verb: str) -> Callable[[bytes], Command | Bad]:
    def parse(rest: bytes) -> Command | Bad:
        return Bad(reply(501, "5.5.4", f"{verb} takes no argument")) if rest else command

    return parse


def _of_one(command: Command, verb: str) -> Callable[[bytes], Command | Bad]:
    def parse(rest: bytes) -> Command | Bad:
        return command if rest else Bad(reply(501, "5.5.4", f"{verb} whom?"))

    return parse


_VERBS: dict[bytes, Callable[[bytes], Command | Bad]] = {
    b"HELO": _hello("HELO"),
    b"EHLO": _hello("EHLO"),
    b"LHLO": _hello("LHLO"),
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _alone(Data(), "DATA"),
    b"BDAT": _bdat,
    b"RSET": _alone(Rset(), "RSET"),
    b"NOOP": lambda rest: Noop(),
    b"HELP": lambda rest: Help(),
    b"VRFY": _of_one(Vrfy(), "VRFY"),
    b"EXPN": _of_one(Expn(), "EXPN"),
    b"QUIT": _alone(Quit(), "QUIT"),
    b"STARTTLS": _alone(StartTls(), "STARTTLS"),
    b"AUTH": _auth,
}
