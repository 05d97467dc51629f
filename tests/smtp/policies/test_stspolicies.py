"""MTA-STS policies over time: fetched, kept, and kept on when the other side is away."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_mail_kit.net.fetch import Fetched, FetchFailed
from twisted_mail_kit.smtp.policies import stspolicies
from twisted_mail_kit.smtp.policies.settings import TLSPolicySettings
from twisted_mail_kit.smtp.policies.stspolicies import STSPolicies, read_policies

DAY = 86_400


def text(mode: str = "enforce", max_age: int = 7 * DAY, mx: str = "mx.example.org") -> bytes:
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {max_age}\r\n".encode()


class Web:
    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []

    def has(self, domain: str, body: Any, kind: str = "text/plain") -> None:
        self.pages[f"https://mta-sts.{domain}/.well-known/mta-sts.txt"] = (
            Fetched(kind, body) if isinstance(body, bytes) else body
        )

    async def __call__(self, url: str) -> Fetched:
        self.asked.append(url)
        found = self.pages.get(url, FetchFailed("404"))
        if isinstance(found, Deferred):
            return await found
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def make(dns: Any, web: Web, clock: Clock, tmp_path: Path) -> Callable[..., STSPolicies]:
    def policies(**settings: Any) -> STSPolicies:
        return STSPolicies(dns, web, clock, tmp_path / "mta-sts.json", TLSPolicySettings(**settings))

    return policies


@pytest.fixture
def example(dns: Any, web: Web) -> None:
    dns.say("_mta-sts.example.org", "TXT", "v=STSv1; id=1;")
    web.has("example.org", text())


def publish(dns: Any, web: Web, number: int, **policy: Any) -> None:
    dns.say("_mta-sts.example.org", "TXT", f"v=STSv1; id={number};")
    web.has("example.org", text(**policy))


def test_no_record_no_policy_no_fetch(make: Any, now: Any, web: Web) -> None:
    assert now(make().policy_for("example.org")) is None
    assert not web.asked


def test_a_policy_is_fetched_once(make: Any, now: Any, web: Web, example: None) -> None:
    policies = make()
    for name in ("example.org", "EXAMPLE.org."):
        assert now(policies.policy_for(name)).mx == ("mx.example.org",)
    assert web.asked == ["https://mta-sts.example.org/.well-known/mta-sts.txt"]


def test_mode_none_is_none_and_is_kept(make: Any, now: Any, web: Web, dns: Any) -> None:
    publish(dns, web, 1, mode="none")
    policies = make()
    for _ in range(2):
        assert now(policies.policy_for("example.org")) is None
    assert len(web.asked) == 1


def test_a_new_id_brings_a_new_policy(make: Any, now: Any, web: Web, dns: Any, example: None) -> None:
    policies = make()
    now(policies.policy_for("example.org"))
    publish(dns, web, 2, mx="other.example.org")
    assert now(policies.policy_for("example.org")).mx == ("other.example.org",)


@pytest.mark.parametrize(
    "trouble",
    [
        FetchFailed("cut off"),
        RuntimeError("a bug in a fetcher"),
        Fetched("text/html", text(mx="other.example.org")),
        Fetched("", text(mx="other.example.org")),
        Fetched("text/plain", b"nonsense"),
    ],
)
def test_the_last_good_policy_holds_when_a_new_one_cannot_be_had(
    make: Any, now: Any, web: Web, dns: Any, clock: Clock, example: None, trouble: Any, caught: list[str]
) -> None:
    policies = make(sts_retry=300)
    now(policies.policy_for("example.org"))
    dns.say("_mta-sts.example.org", "TXT", "v=STSv1; id=2;")
    web.has("example.org", trouble)
    for _ in range(3):
        assert now(policies.policy_for("example.org")).mx == ("mx.example.org",)
    assert len(web.asked) == 2  # and is not asked for again so soon
    clock.advance(301)
    publish(dns, web, 2, mx="other.example.org")
    assert now(policies.policy_for("example.org")).mx == ("other.example.org",)


@pytest.fixture
def caught() -> Any:
    """Failures that the log got are expected."""
    from twisted.logger import globalLogPublisher

    seen: list[str] = []
    observer: Any = lambda event: seen.append(str(event.get("log_format")))  # noqa: E731
    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("how", ["gone", "silent", "nonsense"])
def test_the_last_good_policy_holds_whatever_dns_says_until_it_runs_out(
    make: Any, now: Any, dns: Any, clock: Clock, example: None, how: str
) -> None:
    policies = make()
    now(policies.policy_for("example.org"))
    if how == "gone":
        dns.answers.clear()
    elif how == "silent":
        dns.fail("_mta-sts.example.org", "TXT")
    else:
        dns.say("_mta-sts.example.org", "TXT", "v=STSv1; nonsense")
    clock.advance(7 * DAY - 10)
    assert now(policies.policy_for("example.org")) is not None
    clock.advance(20)
    assert now(policies.policy_for("example.org")) is None


def test_without_a_last_policy_a_failure_means_none_and_is_not_repeated_soon(
    make: Any, now: Any, web: Web, dns: Any, clock: Clock
) -> None:
    dns.say("_mta-sts.example.org", "TXT", "v=STSv1; id=1;")
    policies = make(sts_retry=300)
    for _ in range(3):
        assert now(policies.policy_for("example.org")) is None
    assert len(web.asked) == 1
    clock.advance(301)
    now(policies.policy_for("example.org"))
    assert len(web.asked) == 2


def test_a_policy_is_made_fresh_daily_so_that_it_does_not_run_out(
    make: Any, now: Any, web: Web, clock: Clock, example: None
) -> None:
    policies = make(sts_refresh=DAY)
    for day in range(10):
        assert now(policies.policy_for("example.org")) is not None
        assert len(web.asked) == day + 1
        clock.advance(DAY + 1)


def test_many_messages_share_one_fetch(make: Any, web: Web, dns: Any) -> None:
    page: Deferred[Fetched] = Deferred()
    dns.say("_mta-sts.example.org", "TXT", "v=STSv1; id=1;")
    web.has("example.org", page)
    policies = make()
    waiting = [Deferred.fromCoroutine(policies.policy_for("example.org")) for _ in range(5)]
    waiting[0].addErrback(lambda _: None)
    waiting[0].cancel()
    page.callback(Fetched("text/plain", text()))
    assert [one.result.mode for one in waiting[1:]] == ["enforce"] * 4
    assert len(web.asked) == 1


# --- the file ---


def test_policies_outlive_a_restart(
    make: Any, now: Any, web: Web, dns: Any, clock: Clock, tmp_path: Path, example: None
) -> None:
    now(make().policy_for("example.org"))
    clock.advance(2)
    web.pages.clear()
    dns.answers.clear()
    assert now(make().policy_for("example.org")).mx == ("mx.example.org",)
    assert (tmp_path / "mta-sts.json").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["mta-sts.json"]
    clock.advance(8 * DAY)
    assert now(make().policy_for("example.org")) is None


def test_stop_writes_what_has_not_been_written(
    make: Any, now: Any, clock: Clock, tmp_path: Path, example: None
) -> None:
    policies = make()
    now(policies.policy_for("example.org"))
    assert not (tmp_path / "mta-sts.json").exists()
    now(policies.stop())
    assert "example.org" in read_policies(tmp_path / "mta-sts.json")
    assert not clock.getDelayedCalls()


async def test_with_a_reactor_the_file_is_written_in_a_thread(
    dns: Any, web: Web, tmp_path: Path, example: None
) -> None:
    policies = STSPolicies(dns, web, reactor, tmp_path / "mta-sts.json", TLSPolicySettings())
    assert await policies.policy_for("example.org")
    await policies.stop()
    assert "example.org" in read_policies(tmp_path / "mta-sts.json")


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"[]", b"null", b'{"policies": 7}', b"\xff\xfe", b'{"policies": []}', b"[" * 100_000]
)
def test_a_broken_file_is_no_policies(
    make: Any, now: Any, tmp_path: Path, clock: Clock, example: None, octets: bytes
) -> None:
    (tmp_path / "mta-sts.json").write_bytes(octets)
    policies = make()
    assert now(policies.policy_for("example.org")) is not None
    clock.advance(2)
    assert "example.org" in json.loads((tmp_path / "mta-sts.json").read_text())["policies"]


def test_a_broken_entry_does_not_harm_the_others(
    make: Any, now: Any, tmp_path: Path, clock: Clock, example: None
) -> None:
    now(make().policy_for("example.org"))
    clock.advance(2)
    file = tmp_path / "mta-sts.json"
    facts = json.loads(file.read_text())
    good = facts["policies"]["example.org"]
    facts["policies"] |= {
        "a.org": None,
        "b.org": 7,
        "c.org": {},
        "d.org": {**good, "mode": "enforce\nmode: none"},
        "e.org": {**good, "mx": ["*"]},
        "f.org": {**good, "fetched_at": "then"},
        "g.org": {**good, "max_age": 1e99},
        "h.org": {**good, "mx": 7},
        "i.org": {**good, "mx": "mx.example.org"},
        "j.org": {**good, "mx": ["mx.example.org\nversion: STSv1"]},
    }
    file.write_text(json.dumps(facts))
    assert list(read_policies(file)) == ["example.org"]


def test_a_disk_that_fails_loses_no_policy_in_memory(
    make: Any, now: Any, tmp_path: Path, clock: Clock, example: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    policies = make()
    now(policies.policy_for("example.org"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        clock.advance(2)
    assert not list(tmp_path.iterdir())
    assert now(policies.policy_for("example.org")) is not None
    assert stspolicies.WRITE_AFTER


def test_there_are_only_so_many(make: Any, now: Any, dns: Any, web: Web, clock: Clock, tmp_path: Path) -> None:
    policies = make(sts_domains=100)
    for number in range(150):
        dns.say(f"_mta-sts.{number}.org", "TXT", "v=STSv1; id=1;")
        web.has(f"{number}.org", text(max_age=DAY + number))
        now(policies.policy_for(f"{number}.org"))
    clock.advance(2)
    kept = read_policies(tmp_path / "mta-sts.json")
    assert 90 <= len(kept) <= 100
    assert "149.org" in kept
    assert "0.org" not in kept
