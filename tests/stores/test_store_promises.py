"""docs/store-promises.md is true: every sentence of a store's doors is there, and every test that it names is one."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from promise_page import NO_PROMISE, NOT_TESTABLE, rows, sentences_of_the_doors

from twisted_mail_kit.testing.contracts.mail_store import promises

ROWS = list(rows())
LEVELS = {name: test.level for name, test in promises()}


def test_every_sentence_of_the_doors_is_on_the_page_and_no_other() -> None:
    told = [f"{place}: {sentence}" for place, sentence, _ in sentences_of_the_doors()]
    page = [f"{row.place}: {row.sentence}" for row in ROWS if row.place]
    assert len(told) > 150
    missing, stale = [one for one in told if one not in page], [one for one in page if one not in told]
    assert not missing, "write a row, and a promise test, for each of these sentences"
    assert not stale, "no docstring says this any more"
    assert page == told, "in the order of the files"


def test_every_sentence_is_held_by_tests_or_says_why_not() -> None:
    for row in ROWS:
        is_explained = row.reason.startswith((NO_PROMISE, NOT_TESTABLE)) and len(row.reason) > 25
        assert bool(row.held_by) != is_explained, row


def test_the_tests_that_it_names_are_there_at_the_level_that_it_says() -> None:
    for row in ROWS:
        for name, level in row.held_by.items():
            assert LEVELS.get(name) == level, f"{row.sentence} {name} is a test of level {LEVELS.get(name)}"


def test_every_promise_of_the_suite_stands_behind_a_sentence() -> None:
    named = {name for row in ROWS for name in row.held_by}
    assert sorted(LEVELS.keys() - named) == []


def test_what_no_suite_can_look_at_is_little() -> None:
    print(f"{len(ROWS)} sentences: {sum(bool(row.held_by) for row in ROWS)} held by tests")
    assert sum(row.reason.startswith(NOT_TESTABLE) for row in ROWS) < 15
