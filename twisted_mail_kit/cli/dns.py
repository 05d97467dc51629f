"""`mailkit dns`: the records to publish."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twisted_mail_kit.cli.common import configuration

if TYPE_CHECKING:
    from twisted_mail_kit.config import Config, Listen
    from twisted_mail_kit.delivery.dnsrecords import Offered, Publication, Record

Obj = tuple[str | None, str | None]

_USUAL_PORTS = {
    ("submission", True): 465,
    ("submission", False): 587,
    ("imap", True): 993,
    ("imap", False): 143,
    ("pop3", True): 995,
    ("pop3", False): 110,
}


@click.group()
def noun() -> None:
    """What a domain publishes in DNS."""


@noun.command("print")
@click.argument("domain")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@click.option("--zone", "as_zone", is_flag=True, help="As a zone file.")
@click.pass_obj
def print_(obj: Obj, domain: str, as_json: bool, as_zone: bool) -> None:
    """Print every record that DOMAIN is to publish, made from the configuration."""
    from twisted_mail_kit.errors import ConfigurationError

    if as_json and as_zone:
        raise click.UsageError("--json and --zone do not go together")
    path = configuration(obj)
    if path is None:
        raise click.UsageError("there is no configuration: give one with --config")
    try:
        publication = publication_of(path, domain)
    except ConfigurationError as problem:
        raise click.ClickException("\n".join(problem.problems)) from None
    if as_json:
        click.echo(json.dumps(_as_json(publication), indent=2))
    else:
        for line in _as_zone(publication) if as_zone else _as_text(publication):
            click.echo(line)


def publication_of(path: Path, domain: str) -> Publication:
    """What the configuration makes a domain publish. Raises ConfigurationError."""
    from twisted_mail_kit.accounts.names import canonical_domain
    from twisted_mail_kit.config import load
    from twisted_mail_kit.delivery.dkimkeys import load_keys
    from twisted_mail_kit.delivery.dnsrecords import Publication
    from twisted_mail_kit.errors import ConfigurationError

    config = load(path)
    tables = config.tables
    name = canonical_domain(domain)
    if name not in [canonical_domain(one) for one in tables.domains]:
        known = ", ".join(tables.domains) or "none"
        raise ConfigurationError([f"{path}: {domain} is not among its domains ({known})"])
    try:
        keys = load_keys(tables.dkim, path.absolute().parent)
    except ConfigurationError as problem:
        raise ConfigurationError([f"{path}: {line}" for line in problem.problems]) from None
    return Publication(
        domain=name,
        hostname=canonical_domain(tables.hostname),
        addresses=tuple(_addresses(tables.listen)),
        keys=keys,
        certificate=_certificate(config),
        offered=tuple(_offered(tables.listen, tables.tls is not None)),
    )


# --- from the configuration ----------------------------------------------------------------------------------------


def _certificate(config: Config) -> bytes | None:
    """The server's own certificate, in DER. Raises ConfigurationError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from twisted_mail_kit.errors import ConfigurationError

    if config.tables.tls is None:
        return None
    path = config.tables.tls.certificate
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0].public_bytes(Encoding.DER)
    except OSError as problem:
        raise ConfigurationError([f"{path}: cannot be read: {problem.strerror or problem}"]) from None
    except ValueError:
        raise ConfigurationError([f"{path}: there is no certificate in it"]) from None


def _endpoint(text: str) -> tuple[str, dict[str, str], bool]:
    """(kind, arguments, behind a proxy) of an endpoints string; the first argument without a name is the port."""
    is_proxied = text.startswith("haproxy:")
    kind, *rest = (re.sub(r"\\(.)", r"\1", one) for one in re.split(r"(?<!\\):", text.removeprefix("haproxy:")))
    arguments: dict[str, str] = {}
    for one in rest:
        key, equals, value = one.partition("=")
        if equals:
            arguments[key] = value
        else:
            arguments.setdefault("port", one)
    return kind, arguments, is_proxied


def _interface(arguments: dict[str, str]) -> Any:
    try:
        return ipaddress.ip_address(arguments.get("interface", ""))
    except ValueError:
        return None


def _addresses(listen: Sequence[Listen]) -> Iterator[str]:
    """The public addresses that the configuration tells: those that port 25 is bound to."""
    seen = set()
    for one in listen:
        address = _interface(_endpoint(one.endpoint)[1])
        if one.service == "smtp" and address is not None and address.is_global and address not in seen:
            seen.add(address)
            yield str(address)


def _offered(listen: Sequence[Listen], has_certificate: bool) -> Iterator[Offered]:
    """The ports that mail programs can reach with TLS; the others are nobody's business."""
    from twisted_mail_kit.delivery.dnsrecords import Offered

    for one in listen:
        kind, arguments, is_proxied = _endpoint(one.endpoint)
        tls = one.tls or ("implicit" if kind == "ssl" else "starttls" if has_certificate else "none")
        usual = _USUAL_PORTS.get((one.service, tls == "implicit"))
        if usual is None or tls == "none" or kind == "unix":
            continue
        address = _interface(arguments)
        if address is not None and address.is_loopback and not is_proxied:
            continue
        written = arguments.get("port", "")
        # What a proxy or systemd listens on is not written here.
        port = int(written) if written.isdecimal() and kind != "systemd" and not is_proxied else usual
        if port:
            yield Offered(service=one.service, port=port, is_implicit=tls == "implicit")


# --- printing ------------------------------------------------------------------------------------------------------


def _as_json(publication: Publication) -> dict[str, Any]:
    return {
        "domain": publication.domain,
        "hostname": publication.hostname,
        "records": [
            {
                "name": one.name,
                "type": one.kind,
                "value": one.value or None,
                "zone": one.line if one.value else None,
                "optional": one.is_optional,
                "why": one.why,
            }
            for one in publication.records
        ],
        "mta_sts": {"url": publication.policy_url, "policy": publication.policy},
    }


def _as_text(publication: Publication) -> Iterator[str]:
    why = ""
    for one in publication.records:
        if one.why != why:
            why = one.why
            yield f"{'' if one.name == publication.domain and one.kind == 'MX' else chr(10)}# {why}"
        yield one.line if one.value else f"{one.line}<this machine's {_VERSIONS[one.kind]} address>"
    yield f"\n# the MTA-STS policy, to be served as {publication.policy_url}"
    yield publication.policy.replace("\r\n", "\n").rstrip()
    if not any("._domainkey." in one.name for one in publication.records):
        yield f"\n# there is no DKIM key: make one with `mailkit dkim new {publication.domain}`"


def _as_zone(publication: Publication) -> Iterator[str]:
    """Only what belongs into the zone of the domain; the rest, and what somebody has to complete, as comments."""
    yield f"; {publication.domain}: made by `mailkit dns print`, to be merged into its zone"
    yield f"$ORIGIN {publication.domain}."
    yield "$TTL 3600"
    for one in publication.records:
        yield f"; {one.why}"
        yield _zone_line(one, publication.domain)
    yield f"; {publication.policy_url}:"
    for line in publication.policy.splitlines():
        yield f";   {line}"


def _zone_line(record: Record, domain: str) -> str:
    if not record.value:
        return f";{record.line}<this machine's {_VERSIONS[record.kind]} address>"
    if record.name != domain and not record.name.endswith(f".{domain}"):
        return f";{record.line}  ; in another zone"
    return f";{record.line}" if record.is_optional else record.line


_VERSIONS = {"A": "IPv4", "AAAA": "IPv6"}
