"""One attempt: one message for one destination, host after host, until every recipient has an outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from twisted.logger import Logger

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.outcome import Delayed, Failed, Outcome, Status
from twisted_mail_kit.metrics.catalogue import RELAY_FAILURES, RELAY_SESSIONS
from twisted_mail_kit.smtp.client.connection import ClientConnection, dial
from twisted_mail_kit.smtp.client.login import Login
from twisted_mail_kit.smtp.client.message import OutgoingMessage
from twisted_mail_kit.smtp.client.opening import PLAIN, Security, open_session
from twisted_mail_kit.smtp.client.outcomes import HostFailed
from twisted_mail_kit.smtp.client.transaction import Transaction
from twisted_mail_kit.smtp.relay.hosts import HostFinder, is_loopback, is_own
from twisted_mail_kit.smtp.relay.pool import Pool
from twisted_mail_kit.smtp.relay.routes import NextHop
from twisted_mail_kit.smtp.relay.settings import RelaySettings, RouteSettings
from twisted_mail_kit.smtp.tlspolicy import ENCRYPTION_NEEDED, TLSPolicies, TLSPolicy

LOOP = "this host itself, so the mail would come back"


class Means(NamedTuple):
    """What every attempt works with."""

    reactor: Any
    hostname: str
    settings: RelaySettings
    finder: HostFinder
    policies: TLSPolicies
    pool: Pool


class Place(NamedTuple):
    """One address of one host, and how a connection to it is protected."""

    host: str
    address: str
    port: int
    security: Security


class Attempt:
    """Tries one message for recipients of one next hop."""

    log = Logger()

    def __init__(self, means: Means, hop: NextHop, message: OutgoingMessage, recipients: Sequence[Recipient]) -> None:
        self._means = means
        self._hop = hop
        self._route = hop.route if isinstance(hop.route, RouteSettings) else None
        self._message = message
        self._recipients = recipients
        self._require_tls = message.envelope.require_tls
        self._outcomes: list[Outcome | None] = [None] * len(recipients)
        self._problems: list[HostFailed] = []

    async def run(self) -> list[Outcome]:
        """One outcome for each recipient, in order."""
        key = (self._hop.destination, self._require_tls)
        while not self._is_done() and (connection := self._means.pool.take(key)) is not None:
            # It may have been lost while it waited. That says nothing about the host.
            await self._send(connection)
        if not self._is_done():
            await self._try_hosts()
        if not self._is_done():
            rest = self._what_became()
            self._outcomes = [outcome or rest for outcome in self._outcomes]
        return self._outcomes  # type: ignore[return-value]

    # --- over one connection ---------------------------------------------------------------------------------------

    async def _send(self, connection: ClientConnection) -> HostFailed | None:
        settings = self._means.settings
        requires = self._require_tls and connection.offers.requiretls
        transaction = Transaction(
            connection, self._message, self._recipients, self._outcomes, settings.chunking, requires
        )
        try:
            await transaction.send(settings.recipients)
        except HostFailed as problem:
            RELAY_FAILURES["message"].value += 1
            if problem.status.code in ("4.4.2", "4.5.0"):
                connection.abort()  # nothing that is still on its way may arrive after we have said that it did not
            else:
                connection.hang_up()
            return problem
        except BaseException:
            connection.abort()  # so that what was begun is not taken for a whole message
            raise
        self._means.pool.put((self._hop.destination, self._require_tls), connection)
        return None

    async def _try_hosts(self) -> None:
        tried = 0
        try:
            async for place in self._places():
                tried += 1
                await self._try(place)
                if self._is_done() or tried >= self._means.settings.addresses:
                    return
        except (Refused, TryLater) as problem:
            status, is_permanent = problem.status, isinstance(problem, Refused)
            if is_permanent and self._route is not None:
                # A slip in our own table is no reason to send back all mail.
                status, is_permanent = Status(f"4{status.code[1:]}", status.text), False
            self._problems.append(HostFailed(status, is_permanent=is_permanent))

    async def _try(self, place: Place) -> None:
        problem = await self._try_once(place, place.security)
        tls = place.security.tls
        if problem is not None and problem.is_tls and not self._is_done() and tls is not None:
            if not tls.must_encrypt and place.security.when == "starttls":
                # RFC 7435: opportunistic TLS is better than none, and none is better than no mail.
                self.log.info("no TLS with {remote}: {why}", remote=problem.status.remote, why=problem.status.text)
                problem = await self._try_once(place, PLAIN)
            elif tls.needs_requiretls and not problem.is_permanent:
                status = ENCRYPTION_NEEDED._replace(
                    text=f"Encryption needed: {problem.status.text}", remote=problem.status.remote
                )
                problem = HostFailed(status, is_permanent=True, is_tls=True)
        if problem is not None:
            self._problems.append(problem)

    async def _try_once(self, place: Place, security: Security) -> HostFailed | None:
        means, route = self._means, self._route
        times = means.settings.times
        remote = f"{place.host} [{place.address}]" if place.host != place.address else f"[{place.address}]"
        connection = ClientConnection(
            means.reactor, means.hostname, remote, times, is_lmtp=route is not None and route.lmtp
        )
        source = means.settings.bind_ipv6 if ":" in place.address else means.settings.bind_ipv4
        try:
            await dial(means.reactor, connection, place.address, place.port, source or None)
        except HostFailed as problem:
            RELAY_FAILURES["connect"].value += 1
            return problem
        try:
            await open_session(connection, security, _login(route, remote) if route is not None else None)
        except HostFailed as problem:
            RELAY_FAILURES["session"].value += 1
            if connection.is_lost or problem.status.code in ("4.4.2", "4.5.0"):
                connection.abort()
            else:
                means.pool.let_go(connection)
            return problem
        except BaseException:
            connection.abort()
            raise
        tls = security.tls
        RELAY_SESSIONS[tls.means if tls is not None and connection.is_tls else "none"].value += 1
        return await self._send(connection)

    # --- where to --------------------------------------------------------------------------------------------------

    async def _places(self) -> AsyncIterator[Place]:
        """Address after address, looked up when its turn comes. Raises Refused and TryLater."""
        route = self._route
        if route is not None and not route.mx:
            found = await self._means.finder.addresses(self._hop.domain)
            if not found.addresses:
                raise Refused(Status("5.4.4", f"{route.host} has no address"))
            for address in found.addresses:
                yield Place(self._hop.domain, address, route.port, _security(route, self._hop.domain, self._means))
            return
        async for place in self._mx_places():
            yield place

    async def _mx_places(self) -> AsyncIterator[Place]:
        means, domain, route = self._means, self._hop.domain, self._route
        settings = means.settings
        hosts = await means.finder.mail_hosts(domain)
        policy = None if route is not None else await means.policies.policy_for(domain, self._require_tls)
        is_anywhere = False
        for host in hosts:
            if policy is not None and not policy.allows_mx(host.name):
                self._note(policy.mx_status(host.name))
                continue
            try:
                found = await means.finder.addresses(host.name)
                security = await self._security_for(policy, host.name, host.is_authentic, found)
            except (Refused, TryLater) as problem:
                self._note(problem.status)
                continue
            if any(is_own(address, settings.own_addresses) for address in found.addresses):
                # RFC 5321 5.1: neither this one nor those behind it.
                if not is_anywhere:
                    raise Refused(Status("5.4.6", f"the mail server of {domain} is {LOOP}"))
                return
            for address in found.addresses:
                if route is None and not settings.allow_loopback and is_loopback(address):
                    self._note(Status("5.4.6", f"the address of {host.name}, {address}, is {LOOP}"))
                    continue
                is_anywhere = True
                yield Place(host.name, address, settings.port if route is None else route.port, security)
        if not is_anywhere and not self._problems:
            raise Refused(Status("5.4.4", f"no mail server of {domain} has an address"))

    async def _security_for(self, policy: TLSPolicy | None, host: str, mx_authentic: bool, found: Any) -> Security:
        if policy is None:
            assert self._route is not None
            return _security(self._route, host, self._means)
        tls = await policy.for_host(host, mx_authentic, found.is_authentic, found.name)
        return Security("starttls", tls)

    # --- what became of it -----------------------------------------------------------------------------------------

    def _note(self, status: Status) -> None:
        self._problems.append(HostFailed(status, is_permanent=status.code.startswith("5")))

    def _is_done(self) -> bool:
        return None not in self._outcomes

    def _what_became(self) -> Outcome:
        """For those whom no host has answered for: later, while one host may still say something else."""
        problems = self._problems
        for problem in reversed(problems):
            if not problem.is_permanent:
                return Delayed(problem.status)
        if problems:
            return Failed(problems[-1].status)
        return Delayed(Status("4.4.1", f"no host of {self._hop.domain} was reached"))


_BY_SETTING: dict[str, Callable[[TLSPolicies, str], Security]] = {
    "none": lambda policies, host: PLAIN,
    "may": lambda policies, host: Security("starttls", policies.opportunistic(host)),
    "encrypt": lambda policies, host: Security("starttls", policies.encrypted(host)),
    "verify": lambda policies, host: Security("starttls", policies.verified(host)),
    "implicit": lambda policies, host: Security("at once", policies.verified(host)),
}


def _security(route: RouteSettings, host: str, means: Means) -> Security:
    return _BY_SETTING[route.security](means.policies, host)


def _login(route: RouteSettings, remote: str) -> Login | None:
    if not route.user:
        return None
    try:
        if route.token_file is not None:
            return Login(route.user, token=_first_line(route.token_file))
        assert route.password_file is not None
        return Login(route.user, password=_first_line(route.password_file))
    except (OSError, UnicodeDecodeError) as problem:
        # The path is the operator's business, and no secret; what is in the file is.
        why = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
        raise HostFailed(Status("4.3.5", f"the secret of {route.user} cannot be read: {why}", 0, remote)) from None


def _first_line(path: Path) -> str:
    return path.read_text("utf-8").split("\n", 1)[0].rstrip("\r")
