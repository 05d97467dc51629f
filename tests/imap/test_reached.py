"""A refusal says which limit it is about by a name, and each name is one that somebody says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import twisted_mail_kit
from twisted_mail_kit.errors import LimitReached, OverQuota
from twisted_mail_kit.imap.outcomes import Mistake, Refusal, refusal_of
from twisted_mail_kit.imap.reached import NUMBERS, limit_of
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.metrics import limits

PACKAGE = Path(twisted_mail_kit.__file__).parent
WIRE, ROOMS = PACKAGE / "imap" / "wire", (PACKAGE / "imap", PACKAGE / "stores")
REFUSALS = ("Bad", "Refusal", "Mistake", "LimitReached")
COUNTED_THERE = "views.py"
"""Counts its refusals itself, once whatever their code is."""
NO_SETTING = {"UIDs of a mailbox"}
"""RFC 3501 gives them 32 bits: nobody can change that, and nobody counts it."""


def refusals(*folders: Path) -> Iterator[tuple[Path, ast.Call]]:
    """Every refusal that the code makes: where, and how."""
    for folder in folders:
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFUSALS:
                    yield path, node


def limit_in(call: ast.Call) -> str:
    """The limit that it names; nothing: none, or one that it has been given."""
    assert isinstance(call.func, ast.Name)
    given = [word.value for word in call.keywords if word.arg == "limit"]
    at = {"LimitReached": 0, "Refusal": 2, "Mistake": 2}.get(call.func.id)
    if at is not None:
        given += call.args[at : at + 1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def is_a_limits(call: ast.Call) -> bool:
    """It says so to the client, and has nobody else's word for which."""
    codes = [one.value for one in call.args if isinstance(one, ast.Constant)]
    is_passed_on = any(isinstance(one, ast.Attribute) and one.attr == "limit" for one in call.args)
    return (b"LIMIT" in codes or b"TOOBIG" in codes) and not is_passed_on


def test_every_name_is_one_that_somebody_says() -> None:
    said = {limit_in(call) for _, call in refusals(*ROOMS)}
    assert set(NUMBERS) - said == set()


def test_every_limit_that_somebody_names_has_a_number() -> None:
    said = {limit_in(call) for _, call in refusals(*ROOMS)} - {""}
    assert said - set(NUMBERS) == NO_SETTING


def test_no_refusal_for_a_limit_is_without_its_name() -> None:
    nameless = [
        f"{path.name}:{call.lineno}" for path, call in refusals(*ROOMS) if is_a_limits(call) and not limit_in(call)
    ]
    assert [one for one in nameless if not one.startswith(COUNTED_THERE)] == []
    assert len(nameless) == 1  # and that one is still there


def test_the_wire_names_its_own_limits() -> None:
    assert {limit_in(call) for _, call in refusals(WIRE)} - {""} <= set(attrs.fields_dict(WireLimits))


def test_every_number_of_imap_is_reached_by_a_name_or_counted_where_it_happens() -> None:
    by_name = {name for name in vars(limits) for number in NUMBERS.values() if getattr(limits, name) is number}
    there: set[str] = set()
    for path in (PACKAGE / "imap").rglob("*.py"):
        if path.name != "reached.py":
            there.update(re.findall(r"\blimits\.(IMAP_\w+)", path.read_text()))
    assert by_name | there == {name for name in vars(limits) if name.startswith("IMAP_")}
    assert by_name & there == set()  # else it would be counted twice


@pytest.mark.parametrize(
    "problem",
    [
        Refusal("Worded anew", b"LIMIT", "name_depth"),
        BadCommand(b"a", "Worded anew", b"TOOBIG", limit="line"),
        refusal_of(BadCommand(b"a", "Worded anew", b"TOOBIG", fatal=True, limit="line")),
    ],
)
def test_a_text_may_be_worded_anew(problem: Refusal | BadCommand) -> None:
    assert limit_of(problem) == ("Worded anew", NUMBERS[problem.limit])


def test_a_store_says_it_with_limit_reached() -> None:
    assert limit_of(LimitReached("mailboxes")) == ("mailboxes", limits.IMAP_MAILBOXES)


@pytest.mark.parametrize(
    "problem",
    [
        Refusal("No such mailbox", b"NONEXISTENT"),
        Mistake("The line is too long", b"TOOBIG"),
        BadCommand(b"a", "Unknown command"),
        LimitReached(),
        LimitReached("sausages"),
        OverQuota("mailboxes"),
    ],
)
def test_what_names_no_limit_of_imap_is_about_none(problem: Exception | BadCommand) -> None:
    assert limit_of(problem) is None
