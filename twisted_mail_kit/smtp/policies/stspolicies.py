"""Who has which MTA-STS policy: asked of DNS, fetched over HTTPS, kept in a file."""

from __future__ import annotations

import heapq
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.net.fetched import Fetched, FetchFailed
from twisted_mail_kit.net.inflight import InFlight
from twisted_mail_kit.net.wholefile import put_in_place
from twisted_mail_kit.smtp.policies.settings import TLSPolicySettings
from twisted_mail_kit.smtp.policies.sts import BadPolicy, STSPolicy, parse_policy, policy_id

Fetch = Callable[[str], Awaitable[Fetched]]

WRITE_AFTER: Final = 1.0  # seconds: policies that come together are written together


@frozen(kw_only=True)
class Kept:
    """A policy as it was fetched."""

    id: str
    fetched_at: float
    """Seconds since 1970 UTC."""
    policy: STSPolicy

    def until(self, longest: float) -> float:
        """When it runs out."""
        return self.fetched_at + min(self.policy.max_age, longest)


class STSPolicies:
    """Policies by domain. The last good one holds until it runs out, whatever DNS or HTTPS say (RFC 8461 3.3, 5.1)."""

    log = Logger()

    def __init__(
        self, resolver: IResolver, fetch: Fetch, clock: Any, file: Path | None, settings: TLSPolicySettings
    ) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._clock = clock
        self._file = file
        self._settings = settings
        self._kept: dict[str, Kept] = read_policies(file) if file is not None else {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._asking: InFlight[str, STSPolicy | None] = InFlight()
        self._to_write: Any = None
        self._writing: Deferred[None] | None = None

    async def policy_for(self, domain: str) -> STSPolicy | None:
        """The policy that holds for mail to that domain now; None: none, or mode ``none``. Raises nothing."""
        domain = domain.rstrip(".").lower()
        policy = await self._asking.share(domain, lambda: self._look(domain))
        return policy if policy is not None and policy.mode != "none" else None

    async def stop(self) -> None:
        """Give up asking, and write what has not been written."""
        self._asking.cancel()
        if self._to_write is not None:
            self._to_write.cancel()
            self._to_write = None
            self._write()
        if self._writing is not None:
            waiting: Deferred[None] = Deferred()
            self._writing.addBoth(lambda _: waiting.callback(None))
            await waiting

    async def _look(self, domain: str) -> STSPolicy | None:
        now = self._clock.seconds()
        kept = self._kept.get(domain)
        if kept is not None and kept.until(self._settings.sts_longest) <= now:
            del self._kept[domain]
            kept = None
        wanted = await self._id_of(domain)
        if wanted is None:
            return kept.policy if kept else None
        is_fresh = kept is not None and kept.id == wanted and now - kept.fetched_at < self._settings.sts_refresh
        if is_fresh or self._failed_lately(domain, wanted, now):
            return kept.policy if kept else None
        try:
            policy = await self._fetched(domain)
        except (FetchFailed, BadPolicy) as problem:
            self._remember_failure(domain, wanted, now)
            self.log.warn(
                "MTA-STS policy {id} of {domain} cannot be had: {problem}; {instead}",
                id=wanted,
                domain=domain,
                problem=str(problem),
                instead="the last one holds" if kept else "there is none before it",
            )
            return kept.policy if kept else None
        self._failed.pop(domain, None)
        self._keep(domain, Kept(id=wanted, fetched_at=now, policy=policy))
        return policy

    async def _id_of(self, domain: str) -> str | None:
        try:
            answer = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        except ResolutionFailed:
            return None
        return policy_id(str(one) for one in answer.records)

    async def _fetched(self, domain: str) -> STSPolicy:
        try:
            page = await self._fetch(f"https://mta-sts.{domain}/.well-known/mta-sts.txt")
        except (FetchFailed, CancelledError):
            raise
        except Exception as problem:
            self.log.failure("MTA-STS policy of {domain}: the fetcher failed", domain=domain)
            raise FetchFailed("the fetcher failed") from problem
        if page.content_type != "text/plain":
            raise BadPolicy("not text/plain")
        return parse_policy(page.body)

    def _failed_lately(self, domain: str, wanted: str, now: float) -> bool:
        failed_id, until = self._failed.get(domain, ("", 0.0))
        return failed_id == wanted and now < until

    def _remember_failure(self, domain: str, wanted: str, now: float) -> None:
        self._failed.pop(domain, None)
        self._failed[domain] = (wanted, now + self._settings.sts_retry)
        while len(self._failed) > self._settings.sts_domains:
            del self._failed[next(iter(self._failed))]

    def _keep(self, domain: str, kept: Kept) -> None:
        before = self._kept.get(domain)
        self._kept[domain] = kept
        if before is None or before.policy != kept.policy:
            self.log.info("MTA-STS policy {id} of {domain}: {mode}", id=kept.id, domain=domain, mode=kept.policy.mode)
        if len(self._kept) > self._settings.sts_domains:
            longest = self._settings.sts_longest
            spare = len(self._kept) - self._settings.sts_domains + self._settings.sts_domains // 100
            for name in heapq.nsmallest(spare, self._kept, key=lambda name: self._kept[name].until(longest)):
                del self._kept[name]
        if self._file is not None and self._to_write is None:
            self._to_write = self._clock.callLater(WRITE_AFTER, self._write)

    def _write(self) -> None:
        assert self._file is not None
        self._to_write = None
        if self._writing is not None:  # the one at work is followed by another
            self._to_write = self._clock.callLater(WRITE_AFTER, self._write)
            return
        kept = dict(self._kept)
        if IReactorThreads.providedBy(self._clock) and hasattr(self._clock, "getThreadPool"):
            done: Deferred[None] = deferToThreadPool(
                self._clock, self._clock.getThreadPool(), write_policies, self._file, kept
            )
        else:
            done = Deferred()
            try:
                write_policies(self._file, kept)
            except OSError:
                done.errback()
            else:
                done.callback(None)
        self._writing = done
        done.addErrback(lambda reason: self.log.failure("MTA-STS policies could not be kept", failure=reason))
        done.addBoth(self._written)

    def _written(self, result: Any) -> None:
        self._writing = None


def write_policies(file: Path, kept: dict[str, Kept]) -> None:
    """Put them in place of what was in the file: all or nothing, durable when it returns. Raises OSError."""
    facts = {
        domain: {"id": one.id, "fetched_at": one.fetched_at, **one.policy._asdict()} for domain, one in kept.items()
    }
    whole = json.dumps({"version": 1, "policies": facts}, indent=1, sort_keys=True)
    put_in_place(file, whole.encode())


def read_policies(file: Path) -> dict[str, Kept]:
    """What the file holds. A broken entry, or file, is told in the log and left out; nothing is raised."""
    try:
        entries = json.loads(file.read_text("utf-8"))["policies"].items()
    except FileNotFoundError:
        return {}
    except Exception as problem:
        STSPolicies.log.error("{file}: not a file of MTA-STS policies: {problem}", file=str(file), problem=str(problem))
        return {}
    kept: dict[str, Kept] = {}
    for domain, facts in entries:
        try:
            kept[domain] = _kept(facts)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            STSPolicies.log.error(
                "{file}: the entry of {domain} is broken: {problem}",
                file=str(file),
                domain=domain,
                problem=str(problem),
            )
    return kept


def _kept(facts: Any) -> Kept:
    """The same rules as for a policy from outside: the file may have been touched."""
    lines = ["version: STSv1", f"mode: {facts['mode']}", f"max_age: {facts['max_age']}"]
    if not all(str(one).isprintable() for one in (facts["mode"], *facts["mx"])):
        raise ValueError("it has control characters")
    policy = parse_policy("\n".join([*lines, *(f"mx: {one}" for one in facts["mx"])]).encode())
    return Kept(id=str(facts["id"]), fetched_at=float(facts["fetched_at"]), policy=policy)


__all__ = ["Fetch", "Kept", "STSPolicies", "read_policies", "write_policies"]
