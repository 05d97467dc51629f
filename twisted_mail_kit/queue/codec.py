"""How envelopes, recipients and outcomes are written down: compact JSON, in which what is as usual is left out."""

from __future__ import annotations

import json
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status

VERSION: Final = 1
"""Stands in every text. A later version reads the earlier ones; an earlier one refuses what is later."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)  # ASCII: nothing in it can be spoiled
_quoted = json.encoder.encode_basestring_ascii
_PEER: Final[dict[str, Any]] = {
    "port": 0,
    "local_host": "",
    "local_port": 0,
    "service": "smtp",
    "name": "",
    "esmtp": False,
    "tls": "",
    "login": "",
    "is_local": False,
}
_ENVELOPE: Final[dict[str, Any]] = {
    "body": "7BIT",
    "smtputf8": False,
    "size": None,
    "ret": "",
    "envid": "",
    "auth": "",
    "require_tls": False,
    "received_at": 0.0,
}
_OTHERS: Final = {name: usual for name, usual in _ENVELOPE.items() if name not in ("size", "received_at")}
_others: Final = attrgetter(*_OTHERS)
_USUAL: Final = tuple(_OTHERS.values())
_OUTCOMES: Final[dict[str, type[Delivered | Delayed | Failed]]] = {"+": Delivered, "~": Delayed, "-": Failed}
_SIGNS: Final = {outcome: sign for sign, outcome in _OUTCOMES.items()}


class Unreadable(ValueError):
    """It cannot be decoded; the text says why."""


# Hot path: an encoder is made anew for each text, which takes longer than the text; so what is simple is put together
# here, and the same connection's peer is encoded once.


def encode_envelope(envelope: Envelope) -> str:
    """As text. Its trace id is not in it: that is the message's key."""
    rest = "" if _others(envelope) == _USUAL else _unusual(envelope, _OTHERS)
    if envelope.size is not None:
        rest += f',"size":{envelope.size:d}'
    if envelope.received_at:
        rest += f',"received_at":{envelope.received_at!r}'
    return f'{{"v":{VERSION},"sender":{_pair(envelope.sender)},"peer":{_encode_peer(envelope.peer)}{rest}}}'


def decode_envelope(text: object, trace_id: str) -> Envelope:
    """The envelope again. Raises Unreadable."""
    fields = _fields(text)
    peer = fields.get("peer")
    if not isinstance(peer, dict):
        raise Unreadable("it has no peer")
    host = peer.get("host")
    if not isinstance(host, str):
        raise Unreadable("the peer has no host")
    return Envelope(
        sender=_address(fields.get("sender")),
        peer=Peer(host, **_checked(peer, _PEER)),
        trace_id=trace_id,
        **_checked(fields, _ENVELOPE),
    )


def encode_recipient(recipient: Recipient) -> str:
    """As text."""
    if recipient.notify is None and not recipient.orcpt:
        return f'{{"v":{VERSION},"to":{_pair(recipient.address)}}}'
    address = recipient.address
    fields: dict[str, Any] = {"v": VERSION, "to": [address.local, address.domain]}
    if recipient.notify is not None:
        fields["notify"] = sorted(recipient.notify)
    if recipient.orcpt:
        fields["orcpt"] = recipient.orcpt
    return _ENCODER.encode(fields)


def decode_recipient(text: object) -> Recipient:
    """The recipient again. Raises Unreadable."""
    fields = _fields(text)
    address, notify, orcpt = _address(fields.get("to")), fields.get("notify"), fields.get("orcpt", "")
    if address is None:
        raise Unreadable("it has no address")
    if notify is not None and not (isinstance(notify, list) and all(isinstance(word, str) for word in notify)):
        raise Unreadable("its notify is no list of words")
    if not isinstance(orcpt, str):
        raise Unreadable("its orcpt is no text")
    return Recipient(address, None if notify is None else frozenset(notify), orcpt)


def encode_outcome(outcome: Outcome | None) -> str | None:
    """As text; None: there was no attempt."""
    if outcome is None:
        return None
    code, text, reply, remote = outcome.status
    return f'[{VERSION},"{_SIGNS[type(outcome)]}",{_quoted(code)},{_quoted(text)},{reply:d},{_quoted(remote)}]'


def decode_outcome(text: object) -> Outcome | None:
    """The outcome again. Raises Unreadable."""
    if text is None:
        return None
    fields = _loaded(text)
    if not isinstance(fields, list) or len(fields) != 6:
        raise Unreadable("it is no outcome")
    _check_version(fields[0])
    sign, code, words, reply, remote = fields[1:]
    if not (isinstance(sign, str) and sign in _OUTCOMES and type(reply) is int):
        raise Unreadable("it is no outcome")
    if not (isinstance(code, str) and isinstance(words, str) and isinstance(remote, str)):
        raise Unreadable("its status is no text")
    return _OUTCOMES[sign](Status(code, words, reply, remote))


@lru_cache(maxsize=1000)
def _encode_peer(peer: Peer) -> str:
    return f'{{"host":{_quoted(peer.host)}{_unusual(peer, _PEER)}}}'


def _unusual(value: object, usual: dict[str, Any]) -> str:
    """The fields that are not as usual, each with a comma before it."""
    found = ""
    for name, default in usual.items():
        field = getattr(value, name)
        if field != default:
            found += f',"{name}":{_ENCODER.encode(field)}'
    return found


def _checked(fields: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Those fields that are known, each of the type of its usual value."""
    found = {}
    for name, default in usual.items():
        if name in fields:
            field = fields[name]
            wanted = (int, float) if isinstance(default, float) else int if default is None else type(default)
            if not isinstance(field, wanted) or (isinstance(field, bool) and wanted is not bool):
                raise Unreadable(f"its {name} is not what it should be")
            found[name] = field
    return found


def _pair(address: Address | None) -> str:
    return "null" if address is None else f"[{_quoted(address.local)},{_quoted(address.domain)}]"


def _address(pair: object) -> Address | None:
    if pair is None:
        return None
    if not isinstance(pair, list) or len(pair) != 2 or not (isinstance(pair[0], str) and isinstance(pair[1], str)):
        raise Unreadable("its address is no address")
    return Address(pair[0], pair[1])


def _fields(text: object) -> dict[str, Any]:
    fields = _loaded(text)
    if not isinstance(fields, dict):
        raise Unreadable("it has no fields")
    _check_version(fields.get("v"))
    return fields


def _loaded(text: object) -> object:
    if not isinstance(text, str):
        raise Unreadable("it is no text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {error}") from error


def _check_version(version: object) -> None:
    if type(version) is not int or version < 1:
        raise Unreadable("it has no version")
    if version > VERSION:
        raise Unreadable(f"its version {version} is newer than this program's {VERSION}")
