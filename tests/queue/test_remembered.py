"""Ids of messages that were queued before: a second message gets another, and keeps all else."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace

import pytest

from twisted_mail_kit.mail.envelope import Envelope, Peer
from twisted_mail_kit.queue.remembered import Remembered
from twisted_mail_kit.testing.contracts import spool_octets

FULL = replace(spool_octets.FULL, trace_id="abc")
NOT_SAID = Envelope(FULL.sender, FULL.peer, "abc")


def said(envelope: Envelope) -> dict[str, object]:
    """Every field, also those that do not count when two envelopes are compared."""
    return {one.name: getattr(envelope, one.name) for one in fields(Envelope)}


def test_every_field_has_another_value_here_than_where_nothing_is_said() -> None:
    for one in fields(Envelope):
        if one.default is not MISSING:
            assert getattr(FULL, one.name) != one.default, f"Envelope.{one.name} is new: give it a value in FULL"


@pytest.mark.parametrize("envelope", [FULL, NOT_SAID], ids=["full", "not said"])
def test_a_second_message_under_the_same_id_keeps_all_but_the_id(envelope: Envelope) -> None:
    remembered = Remembered()
    when = envelope.received_at or 5000.0
    assert said(remembered.unique(envelope, 5000.0)) == said(envelope) | {"received_at": when}
    for number in (2, 3):
        remembered.remember("abc" if number == 2 else "abc.2", 5000.0)
        found = said(remembered.unique(envelope, 5000.0))
        assert found == said(envelope) | {"trace_id": f"abc.{number}", "received_at": when}


def test_a_report_of_the_queues_own_keeps_its_id() -> None:
    remembered = Remembered()
    remembered.remember("abc", 5000.0)
    told = Envelope(None, Peer("", service="queue"), "abc", received_at=1234.5)
    assert remembered.unique(told, 5000.0) is told


def test_an_id_is_free_again_after_an_hour() -> None:
    remembered = Remembered()
    remembered.remember("abc", 5000.0)
    remembered.remember("other", 5000.0 + 3599)
    assert remembered.unique(FULL, 5000.0 + 3599).trace_id == "abc.2"
    remembered.remember("another", 5000.0 + 3601)
    assert remembered.unique(FULL, 5000.0 + 3601).trace_id == "abc"
