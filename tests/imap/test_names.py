"""LIST patterns: the same as the plain definition, in linear time."""

from __future__ import annotations

import re
import time

from hypothesis import example, given
from hypothesis import strategies as st

from twisted_mail_kit.imap.names import Tree, _walk, matcher
from twisted_mail_kit.mail.facts import Mailbox


def box(*path: str) -> Mailbox:
    return Mailbox("/".join(path), path, None, 1, 1, 1, 0, 0, 0, True)


def reference(pattern: str, name: str) -> bool:
    pieces = {"*": ".*", "%": "[^/]*"}
    return re.fullmatch("".join(pieces.get(letter, re.escape(letter)) for letter in pattern), name) is not None


@given(st.text("ab/*%", max_size=8), st.text("ab/", max_size=8))
@example("a%b*", "ab/")
@example("*/%", "a/b/a")
@example("", "")
def test_a_pattern_means_what_rfc_3501_says(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) == reference(pattern, name)
    assert _walk(pattern, name) == reference(pattern, name)


def test_inbox_is_found_in_any_case_and_others_are_not() -> None:
    assert matcher("inbox")("INBOX")
    assert matcher("iNb%")("INBOX")
    assert matcher("inbox/%")("INBOX/x")
    assert not matcher("work")("WORK")


def test_a_hostile_pattern_takes_no_time() -> None:
    began = time.perf_counter()
    assert not matcher("*a" * 10 + "b")("a" * 1000)
    assert not matcher("%a*a" * 5 + "b")("a/" * 500)
    assert time.perf_counter() - began < 0.5


def test_a_separator_within_a_level_is_no_separator() -> None:
    tree = Tree({("a/b",): box("a/b")})
    assert tree.matching(["%"]) == [("a/b",)]
    assert tree.matching(["a/%"]) == []


def test_parents_are_implied() -> None:
    tree = Tree({path: box(*path) for path in [("a", "b", "c"), ("INBOX",), ("Z",)]})
    assert tree.matching(["*"]) == [("INBOX",), ("Z",), ("a",), ("a", "b"), ("a", "b", "c")]
    assert tree.has_children(("a", "b")) and not tree.has_children(("Z",))
    assert [found.name for found in tree.below(("a",))] == [("a", "b", "c")]
