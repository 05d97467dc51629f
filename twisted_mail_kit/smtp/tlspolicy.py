"""What a connection to a mail server of some domain must do about TLS: the relay's one question about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger

from twisted_mail_kit.errors import Refused, ResolutionFailed, TryLater
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.mail.records import TLSA
from twisted_mail_kit.smtp.policies.certificates import Authorities, ClientTLS, check_certificate
from twisted_mail_kit.smtp.policies.dane import check_dane, usable
from twisted_mail_kit.smtp.policies.settings import TLSPolicySettings
from twisted_mail_kit.smtp.policies.sts import STSPolicy
from twisted_mail_kit.smtp.policies.stspolicies import Fetch, STSPolicies

REQUIRETLS_NOT_OFFERED: Final = Status("5.7.30", "REQUIRETLS support required", 550)
"""For a host that did not offer REQUIRETLS inside TLS where `HostTLS.needs_requiretls` (RFC 8689 5)."""

ENCRYPTION_NEEDED: Final = Status("5.7.10", "Encryption needed: no mail server of the domain can be used", 550)
"""For a message with REQUIRETLS whose hosts all failed otherwise (RFC 8689 5)."""

TLS_NOT_OFFERED: Final = Status("4.7.4", "TLS is required, but was not offered")
"""For a host without STARTTLS where `HostTLS.must_encrypt`: an active attacker may be at work, so try later."""


@frozen(kw_only=True)
class HostTLS:
    """What a connection to one host must do.

    The relay's part: where STARTTLS is offered, ``transport.startTLS(host_tls.context)``; after the handshake, and
    before anything else is said, ``problem = host_tls.verify(transport.getHandle())``. A problem, a failed handshake or
    a missing offer ends the connection where `must_encrypt`; try the next host, and report `status(problem)`. Where not
    `must_encrypt`, a failed handshake may be followed by a new connection in clear text.
    """

    host: str
    must_encrypt: bool
    """No TLS, no mail."""
    means: str
    """``opportunistic``, ``encrypt`` (TLS, of whomever), ``dane``, ``mta-sts``, ``mta-sts testing`` or ``pkix``: for
    logs and traces."""
    context: IOpenSSLClientConnectionCreator
    """For `transport.startTLS` or `TLSMemoryBIOFactory`, client side: it names the host (SNI)."""
    needs_requiretls: bool = False
    """The host must offer REQUIRETLS within TLS, and MAIL must carry it; else `REQUIRETLS_NOT_OFFERED`."""
    _check: Callable[[SSL.Connection], str | None] = field(repr=False, default=lambda connection: None)

    def verify(self, connection: SSL.Connection) -> str | None:
        """None, or in short text why the other side is not whom it must be. Ask after the handshake. Never raises."""
        try:
            return self._check(connection)
        except Exception:
            HostTLS.log.failure("the certificate of {host} could not be checked", host=self.host)
            return "the certificate could not be checked"

    def status(self, problem: str) -> Status:
        """The problem as a Status: 4.7.5, for a wrong certificate may be put right; 5.7.10 under REQUIRETLS."""
        if self.needs_requiretls:
            return Status("5.7.10", f"Encryption needed: {problem}", 550)
        return Status("4.7.5", problem)

    log = Logger()


@frozen(kw_only=True)
class TLSPolicy:
    """What the mail servers of one domain must do. Made by `TLSPolicies.policy_for`."""

    domain: str
    require_tls: bool = False
    """The message said REQUIRETLS."""
    sts: STSPolicy | None = None
    """The domain's MTA-STS policy, if it has one that is not ``none``."""
    _policies: TLSPolicies = field(repr=False)

    def allows_mx(self, host: str) -> bool:
        """Whether mail may go to that MX. False only by an MTA-STS policy in mode ``enforce``. Report a host that is
        left out with `mx_status(host)`."""
        if self.sts is None or self.sts.allows(host):
            return True
        self._policies.log.warn(
            "MTA-STS policy of {domain} ({mode}) does not name its MX {host}",
            domain=self.domain,
            host=host,
            mode=self.sts.mode,
        )
        return self.sts.mode != "enforce"

    def mx_status(self, host: str) -> Status:
        """Why an MX that is not allowed is not used: later, for a policy may be put right."""
        text = f"{host} is not named by the MTA-STS policy of {self.domain}"
        return Status("5.7.10", text, 550) if self.require_tls else Status("4.7.5", text)

    async def for_host(
        self, host: str, mx_authentic: bool = False, address_authentic: bool = False, address_name: str = ""
    ) -> HostTLS:
        """What a connection to that MX (or to the domain itself, where it has none) must do.

        `mx_authentic` and `address_authentic` are `Answer.is_authentic` of the MX lookup (also where it had no
        records) and of the host's A or AAAA lookup; `address_name` is the latter's `Answer.name`, where a CNAME led.
        Raises Refused or TryLater, with a Status, where this host cannot be used: TLSA records that should be there
        could not be had (RFC 7672 2.1.2), or REQUIRETLS cannot be kept there.
        """
        return await self._policies._for_host(self, host, mx_authentic, address_authentic, address_name)


class TLSPolicies:
    """Knows, asks for, and remembers what domains want. One for the whole server.

    `fetch` gets a URL and answers `net.fetch.Fetched`, or raises `net.fetch.FetchFailed`; `state_dir` None keeps
    MTA-STS policies in memory only, which forgets them at a restart. `clock` is the reactor, or a Clock.
    """

    log = Logger()

    def __init__(
        self,
        resolver: IResolver,
        fetch: Fetch | None,
        clock: Any,
        state_dir: Path | None = None,
        settings: TLSPolicySettings | None = None,
    ) -> None:
        self.settings = settings or TLSPolicySettings()
        self._resolver = resolver
        self._clock = clock
        self._authorities = Authorities(self.settings.trust)
        self._client = ClientTLS()
        self._sts: STSPolicies | None = None
        if self.settings.mta_sts and fetch is not None:
            file = state_dir / "mta-sts.json" if state_dir is not None else None
            self._sts = STSPolicies(resolver, fetch, clock, file, self.settings)

    async def policy_for(self, domain: str, require_tls: bool = False) -> TLSPolicy:
        """What holds for mail to that domain (A-labels, or an address literal). May wait for DNS and one HTTPS fetch,
        a minute at most; where these fail, the last good policy holds. Raises nothing."""
        sts = None
        if self._sts is not None and not domain.startswith("["):
            sts = await self._sts.policy_for(domain)
        return TLSPolicy(domain=domain, require_tls=require_tls, sts=sts, policies=self)

    def opportunistic(self, host: str) -> HostTLS:
        """TLS with whomever, where it is offered (RFC 7435)."""
        return HostTLS(host=host, must_encrypt=False, means="opportunistic", context=self._client.to(host))

    def encrypted(self, host: str, means: str = "encrypt") -> HostTLS:
        """TLS, with whomever."""
        return HostTLS(host=host, must_encrypt=True, means=means, context=self._client.to(host))

    def verified(self, host: str, means: str = "pkix", needs_requiretls: bool = False) -> HostTLS:
        """TLS, with a certificate by a trusted authority for that name or IP address: a smarthost, for one."""
        return HostTLS(
            host=host,
            must_encrypt=True,
            means=means,
            context=self._client.to(host),
            needs_requiretls=needs_requiretls,
            check=lambda connection: self._check_pkix(connection, host),
        )

    async def stop(self) -> None:
        """Write what has not been written yet."""
        if self._sts is not None:
            await self._sts.stop()

    def _check_pkix(self, connection: SSL.Connection, host: str) -> str | None:
        return check_certificate(connection, self._authorities.store, [host])

    async def _for_host(
        self, policy: TLSPolicy, host: str, mx_authentic: bool, address_authentic: bool, address_name: str
    ) -> HostTLS:
        sts, require_tls = policy.sts, policy.require_tls
        if require_tls and not mx_authentic and (sts is None or not sts.allows(host)):
            # RFC 8689 4.2.1: who the domain's mail servers are must itself be known for sure.
            raise Refused(Status("5.7.10", f"Encryption needed: nothing vouches for {host} as an MX", 550))
        if self.settings.dane and mx_authentic and address_authentic:
            dane = await self._dane(policy, host, address_name)
            if dane is not None:
                return dane
        if require_tls:
            return self.verified(host, "pkix" if sts is None else "mta-sts", needs_requiretls=True)
        if sts is None:
            return self.opportunistic(host)
        if sts.mode == "enforce":
            return self.verified(host, "mta-sts")
        return self._testing(policy, host)

    def _testing(self, policy: TLSPolicy, host: str) -> HostTLS:
        """RFC 8461 5: mail goes as it would without the policy; what would have stopped it is told."""

        def check(connection: SSL.Connection) -> None:
            problem = self._check_pkix(connection, host)
            if problem is not None:
                self.log.warn(
                    "MTA-STS policy of {domain} (testing) would stop mail to {host}: {problem}",
                    domain=policy.domain,
                    host=host,
                    problem=problem,
                )

        context = self._client.to(host)
        return HostTLS(host=host, must_encrypt=False, means="mta-sts testing", context=context, check=check)

    async def _dane(self, policy: TLSPolicy, host: str, address_name: str) -> HostTLS | None:
        """By the records of the name that CNAMEs lead to, else of the host (RFC 7672 2.2.3); None: there are none."""
        for base in dict.fromkeys((address_name or host, host)):
            try:
                answer = await self._resolver.lookup(f"_25._tcp.{base}", "TLSA")
            except ResolutionFailed as problem:
                # RFC 7672 2.1.2: somebody may be hiding them.
                text = f"the TLSA records of {base} cannot be looked up"
                raise TryLater(Status("4.7.5", text)) from problem
            records = [one for one in answer.records if isinstance(one, TLSA)]
            if not records or not answer.is_authentic:
                continue
            good = usable(records)
            if not good:
                if policy.require_tls or (policy.sts is not None and policy.sts.mode == "enforce"):
                    return None  # an encrypted line to whomever is less than what is asked for
                return self.encrypted(base)
            names = list(dict.fromkeys((base, host, policy.domain)))  # RFC 7672 3.2.2
            return HostTLS(
                host=host,
                must_encrypt=True,
                means="dane",
                context=self._client.to(base),
                needs_requiretls=policy.require_tls,
                check=partial(check_dane, records=good, names=names),
            )
        return None


__all__ = [
    "ENCRYPTION_NEEDED",
    "REQUIRETLS_NOT_OFFERED",
    "TLS_NOT_OFFERED",
    "HostTLS",
    "TLSPolicies",
    "TLSPolicy",
    "TLSPolicySettings",
]
