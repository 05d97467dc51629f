"""What clients and the operator get of a plugin, and what not: told from its abilities and its broken levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Sides = tuple[str, str]
"""What is said where an ability is there, and where it is not."""

STORE: Mapping[str, Sides] = {
    "IChangeHints": ("IDLE hears of changes at once", "IDLE hears of changes within a second: the store is polled"),
    "ISharedBlobs": ("a message to many is written once", "a message to many is written once for each of them"),
    "IListing": ("a mailbox of a million opens in little memory", "a very large mailbox opens more slowly"),
    "IReadMany": ("FETCH and SEARCH read many messages at once", "FETCH and SEARCH read messages one by one"),
    "IAccountList": ("accounts can be listed and removed", "accounts can be listed and removed only in the database"),
    "IMaintenance": ("mailkit backup, store and fsck work", "no mailkit backup, store or fsck"),
    "IReadElsewhere": ("workers read for themselves", "workers ask the owner for every row"),
}
MAILDROPS = "POP3 only: no IMAP, and no mail is delivered into it"
AUTH: Mapping[str, Sides] = {
    "IPasswords": ("mailkit user makes and removes users", "users are made where they are kept: no mailkit user"),
    "IScramKeys": ("SCRAM-SHA-256: passwords need not be sent", "no SCRAM: a password is sent, under TLS only"),
}
DELIVERY: Mapping[str, Sides] = {
    "IDestinations": ("attempts are grouped by its own destinations", "attempts are grouped by the recipient's domain"),
    "IOutgoing": ("it has a queue of its own", "nothing is tried again: who sends has to, or a queue goes around it"),
}
SPOOL: Mapping[str, Sides] = {
    "ISpoolCounts": ("mailkit metrics tells how much waits", "mailkit metrics walks through all of it for a count"),
}
STEPS = {
    "connected": "before the greeting",
    "greeted": "after HELO or EHLO",
    "sender": "after MAIL FROM",
    "recipient": "after RCPT TO",
    "message": "at the end of data",
}
BROKEN = {
    "core": "clients see what is not so",
    "streaming": "large messages or mailboxes hold others up, or take much memory",
    "faults": "a full or failing disk does more harm than it has to",
    "crash": "what was acknowledged can be lost, or half there, when the process or the power goes",
    "processes": "not for several processes: workers, or a second program",
    "model": "clients see what is not so",
    "hostile": "strangers can make it fail, or get what is not theirs",
    "crowds": "many at once disturb each other, or hold everybody up",
    "kept": "a reload or a restart changes what it says, or a lost disk is taken for an answer",
    "work": "mail can be tried twice at a time, or not at all",
    "octets": "queued mail can be changed, or lost",
}


def clients_get(kind: str, seen: Mapping[str, Any], promises: Sequence[Mapping[str, str]]) -> list[str]:
    """A line for each thing that is worth knowing."""
    told = list(_of_kind(kind, seen))
    failing = [one["level"] for one in promises if one["outcome"] == "failed"]
    told += [f"{level} fails: {BROKEN[level]}" for level in dict.fromkeys(failing) if level in BROKEN]
    return told


def _of_kind(kind: str, seen: Mapping[str, Any]) -> Iterator[str]:
    abilities = seen["abilities"]
    if kind == "store" and "IMaildropStore" in abilities:
        yield MAILDROPS
        return
    sides: Mapping[str, Sides] = {"store": STORE, "auth": AUTH, "delivery": DELIVERY, "spool": SPOOL}.get(kind, {})
    if kind == "auth":
        credentials = seen.get("credentials", ())
        if "IUsernamePassword" in credentials or "IUsernameHashedPassword" in credentials:
            yield "PLAIN, LOGIN and POP3's USER and PASS work, under TLS"
        if "IBearerToken" in credentials:
            yield "XOAUTH2 and OAUTHBEARER work"
    if kind == "check":
        steps = [STEPS[one] for one in seen.get("steps", ())]
        yield f"it is asked {', '.join(steps)}" if steps else "it is never asked anything"
    for one, (there, without) in sides.items():
        yield there if one in abilities else without
    if kind in ("store", "spool") and not seen["persistent"]:
        yield "what is kept is gone when it is closed"
    elif kind == "spool":
        yield "queued mail waits over a restart"
    if seen["blocking"]:
        yield "it is called in threads: its author writes plain code"
