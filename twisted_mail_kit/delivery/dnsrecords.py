"""The DNS records that a domain publishes so that its mail arrives, is believed, and is found by mail programs."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from twisted_mail_kit.delivery.dkimkeys import DKIMKey

_TO_ESCAPE: Final = re.compile(r'["\\]')
_STRING: Final = 255  # octets that one string of a TXT record holds, RFC 1035 3.3
_POLICY_SECONDS: Final = 7 * 24 * 60 * 60

# (service, implicit TLS) -> label and priority: RFC 6186 3, and RFC 8314 5.1 for `submissions` and its preference.
_LABELS: Final = {
    ("submission", True): ("_submissions", 0),
    ("submission", False): ("_submission", 10),
    ("imap", True): ("_imaps", 0),
    ("imap", False): ("_imap", 10),
    ("pop3", True): ("_pop3s", 20),
    ("pop3", False): ("_pop3", 30),
}


@frozen(kw_only=True)
class Offered:
    """A port that mail programs can reach, with TLS."""

    service: str
    """submission, imap or pop3."""
    port: int
    is_implicit: bool
    """TLS from the first octet; else by STARTTLS."""


@frozen(kw_only=True)
class Record:
    """One record to publish."""

    name: str
    """The whole name in A-labels, without a dot at the end."""
    kind: str
    value: str
    """As in a zone file, but for TXT: its text, in one piece and without quotes. Empty where only the operator
    knows: the machine's address."""
    why: str
    """One line."""
    is_optional: bool = False
    """Mail works without it."""

    @property
    def line(self) -> str:
        """As a line of a zone file."""
        return f"{self.name}. IN {self.kind} {text_rdata(self.value) if self.kind == 'TXT' else self.value}"


def text_rdata(text: str) -> str:
    """A TXT record's text as strings of at most 255 octets each, quoted for a zone file (RFC 1035 5.1)."""
    pieces = [text[start : start + _STRING] for start in range(0, len(text), _STRING)] or [""]
    return " ".join('"' + _TO_ESCAPE.sub(r"\\\g<0>", piece) + '"' for piece in pieces)


@frozen(kw_only=True)
class Publication:
    """Everything that one domain publishes. All names are lower-case A-labels."""

    domain: str
    hostname: str
    addresses: tuple[str, ...] = ()
    """Of the machine, as far as they are known."""
    keys: tuple[DKIMKey, ...] = ()
    certificate: bytes | None = None
    """The one that port 25 shows, in DER."""
    offered: tuple[Offered, ...] = ()

    @property
    def policy_url(self) -> str:
        """Where others look for the MTA-STS policy (RFC 8461 3.3)."""
        return f"https://mta-sts.{self.domain}/.well-known/mta-sts.txt"

    @property
    def policy(self) -> str:
        """The MTA-STS policy, lines ended by CR LF. It begins with `testing`: failures are reported, not enforced."""
        lines = ("version: STSv1", "mode: testing", f"mx: {self.hostname}", f"max_age: {_POLICY_SECONDS}")
        return "".join(f"{line}\r\n" for line in lines)

    @property
    def records(self) -> Sequence[Record]:
        """In the order in which one would explain them."""
        return [*self._host(), *self._sending(), *self._receiving(), *self._programs()]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _host(self) -> Iterator[Record]:
        domain, hostname = self.domain, self.hostname
        yield Record(name=domain, kind="MX", value=f"10 {hostname}.", why=f"mail for {domain} goes to this server")
        kinds = [("A" if ipaddress.ip_address(one).version == 4 else "AAAA", one) for one in self.addresses]
        why = "the address of this server; its reverse record (PTR) must be the same name"
        for kind, address in kinds or [("A", ""), ("AAAA", "")]:
            yield Record(name=hostname, kind=kind, value=address, why=why)

    def _sending(self) -> Iterator[Record]:
        domain = self.domain
        yield _text(domain, "v=spf1 mx -all", f"SPF: only this server sends for {domain}")
        if self.hostname != domain:
            yield _text(self.hostname, "v=spf1 a -all", "SPF for bounces, whose sender is the server itself")
        for key in self._covering():
            yield _text(key.name, key.record, f"DKIM: the public {key.kind} key of the selector {key.selector}")
        yield _text(
            f"_dmarc.{domain}",
            f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}",
            "DMARC: begin with reports; p=quarantine, then p=reject, when they show nothing of yours failing",
        )

    def _covering(self) -> list[DKIMKey]:
        """The keys that sign for the domain: its own, or those of the nearest domain above it."""
        name = self.domain
        while name:
            if keys := [key for key in self.keys if key.domain == name]:
                return keys
            name = name.partition(".")[2]
        return []

    def _receiving(self) -> Iterator[Record]:
        domain, hostname = self.domain, self.hostname
        # The id must change when the policy does, and only then (RFC 8461 3.1).
        policy_id = hashlib.sha256(self.policy.encode()).hexdigest()[:20]
        yield _text(f"_mta-sts.{domain}", f"v=STSv1; id={policy_id}", "MTA-STS: there is a policy for TLS to port 25")
        yield Record(name=f"mta-sts.{domain}", kind="CNAME", value=f"{hostname}.", why=f"who serves {self.policy_url}")
        yield _text(
            f"_smtp._tls.{domain}",
            f"v=TLSRPTv1; rua=mailto:postmaster@{domain}",
            "TLS-RPT: others report when TLS to this server fails",
        )
        if self.certificate is not None:
            yield Record(
                name=f"_25._tcp.{hostname}",
                kind="TLSA",
                value=f"3 1 1 {_key_digest(self.certificate)}",
                why="DANE: the key of the certificate; only in a zone that is signed, and before a new key is used",
            )

    def _programs(self) -> Iterator[Record]:
        if self.offered:
            ports: dict[tuple[str, bool], int] = {}
            for one in self.offered:
                ports.setdefault((one.service, one.is_implicit), one.port)
            for place, (label, priority) in _LABELS.items():
                port = ports.get(place)
                # RFC 6186 3.4: a target of "." says that the service is not there.
                value = "0 0 0 ." if port is None else f"{priority} 1 {port} {self.hostname}."
                why = f"where mail programs find {label[1:]}" if port is not None else f"there is no {label[1:]} here"
                yield Record(name=f"{label}._tcp.{self.domain}", kind="SRV", value=value, why=why)
        for label, whom in (("autoconfig", "Thunderbird and others"), ("autodiscover", "Outlook")):
            why = f"settings for {whom}, if a web server here has them"
            name = f"{label}.{self.domain}"
            yield Record(name=name, kind="CNAME", value=f"{self.hostname}.", why=why, is_optional=True)


def _text(name: str, text: str, why: str) -> Record:
    return Record(name=name, kind="TXT", value=text, why=why)


def _key_digest(certificate: bytes) -> str:
    """SHA-256 of the SubjectPublicKeyInfo (RFC 6698 2.1): it outlives a renewal with the same key."""
    public = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
