"""`mailkit dns print`: every record, in a zone file that others can read."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.rdata
import dns.zone
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from twisted_mail_kit.cli import dns as noun
from twisted_mail_kit.cli import main
from twisted_mail_kit.delivery.dkimkeys import DKIMKey, key_pem, make_key
from twisted_mail_kit.delivery.dnsrecords import Publication, text_rdata
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.net.tls import self_signed_pem

PEM = self_signed_pem("mx.example.org")
RSA, ED = make_key("rsa"), make_key("ed25519")
LISTEN = {
    "smtp": "tcp:25",
    "submission": "tcp:587",
    "submission ": "tcp:465",
    "imap": "tcp:143",
    "imap ": "ssl:993:privateKey=k.pem:certKey=c.pem",
    "pop3": "unix:/run/pop3",
}


def configuration(tls: bool = True, listen: dict[str, str] = LISTEN, more: str = "", hostname: str = "") -> str:
    text = (
        f'hostname = "{hostname or "mx.example.org"}"\ndomains = ["example.org", "bücher.example"]\nstate = "state"\n'
    )
    for service, endpoint in listen.items():
        text += f'[[listen]]\nservice = "{service.strip()}"\nendpoint = {json.dumps(endpoint)}\n'
        if endpoint.startswith("tcp:465"):
            text += 'tls = "implicit"\n'
    return text + ('[tls]\ncertificate = "c.pem"\n' if tls else "") + more


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(**more: Any) -> Path:
        (tmp_path / "c.pem").write_bytes(PEM)
        path = tmp_path / "mailkit.toml"
        path.write_text(configuration(**more))
        return path

    return write


def mailkit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In this process, which is quicker; one test below does it as an operator does."""
    place = [] if "--state" in arguments else ["--config", str(folder / "mailkit.toml")]
    done = CliRunner().invoke(main, [*place, *arguments], prog_name="mailkit")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an operator types it."""
    command = [sys.executable, "-W", "error", "-m", "twisted_mail_kit.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


def parse(text: str, origin: str) -> dict[tuple[str, str], list[str]]:
    """(name, kind) -> rdata, as dnspython reads a zone file."""
    zone = dns.zone.from_text(text, origin=origin, relativize=False, check_origin=False)
    found: dict[tuple[str, str], list[str]] = {}
    for name, _, rdata in zone.iterate_rdatas():
        kind = dns.rdatatype.to_text(rdata.rdtype)
        value = b"".join(rdata.strings).decode() if kind == "TXT" else rdata.to_text()
        found.setdefault((name.to_text().removesuffix("."), kind), []).append(value)
    return found


def test_the_zone_is_one(write: Callable[..., Path]) -> None:
    done = typed(write().parent, "dns", "print", "Example.org", "--zone")
    assert done.returncode == 0, done.stderr
    zone = parse(done.stdout, "example.org")
    sts = zone.pop(("_mta-sts.example.org", "TXT"))
    assert re.fullmatch(r"v=STSv1; id=[0-9a-z]{1,32}", sts[0])
    spki = (
        x509.load_pem_x509_certificate(PEM).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    assert zone == {
        ("example.org", "MX"): ["10 mx.example.org."],
        ("example.org", "TXT"): ["v=spf1 mx -all"],
        ("mx.example.org", "TXT"): ["v=spf1 a -all"],
        ("_dmarc.example.org", "TXT"): ["v=DMARC1; p=none; rua=mailto:postmaster@example.org"],
        ("mta-sts.example.org", "CNAME"): ["mx.example.org."],
        ("_smtp._tls.example.org", "TXT"): ["v=TLSRPTv1; rua=mailto:postmaster@example.org"],
        ("_25._tcp.mx.example.org", "TLSA"): [f"3 1 1 {hashlib.sha256(spki).hexdigest()}"],
        ("_submissions._tcp.example.org", "SRV"): ["0 1 465 mx.example.org."],
        ("_submission._tcp.example.org", "SRV"): ["10 1 587 mx.example.org."],
        ("_imaps._tcp.example.org", "SRV"): ["0 1 993 mx.example.org."],
        ("_imap._tcp.example.org", "SRV"): ["10 1 143 mx.example.org."],
        ("_pop3s._tcp.example.org", "SRV"): ["0 0 0 ."],
        ("_pop3._tcp.example.org", "SRV"): ["0 0 0 ."],
    }
    for hint in (";mx.example.org. IN A ", ";mx.example.org. IN AAAA ", ";autoconfig.example.org. IN CNAME mx"):
        assert hint in done.stdout


def test_a_host_in_another_zone_is_left_to_that_one(write: Callable[..., Path]) -> None:
    done = mailkit(write(hostname="MX.Provider.net").parent, "dns", "print", "bücher.example", "--zone")
    zone = parse(done.stdout, "xn--bcher-kva.example")
    assert zone[("xn--bcher-kva.example", "MX")] == ["10 mx.provider.net."]
    assert all(name.endswith("xn--bcher-kva.example") for name, _ in zone)
    assert ";_25._tcp.mx.provider.net. IN TLSA" in done.stdout
    assert not any(kind == "TLSA" for _, kind in zone)
    assert "ü" not in done.stdout


def test_a_host_that_is_the_domain_has_one_spf_record(write: Callable[..., Path]) -> None:
    done = mailkit(write(hostname="example.org").parent, "dns", "print", "example.org", "--zone")
    assert parse(done.stdout, "example.org")[("example.org", "TXT")] == ["v=spf1 mx -all"]


def test_json_says_the_same(write: Callable[..., Path]) -> None:
    folder = write().parent
    said = json.loads(mailkit(folder, "dns", "print", "example.org", "--json").stdout)
    assert (said["domain"], said["hostname"]) == ("example.org", "mx.example.org")
    lines = mailkit(folder, "dns", "print", "example.org", "--zone").stdout.splitlines()
    for record in said["records"]:
        assert record["why"]
        if record["value"] is None:
            assert record["type"] in ("A", "AAAA")
        else:
            assert (";" if record["optional"] else "") + record["zone"] in lines
    assert said["mta_sts"] == {
        "url": "https://mta-sts.example.org/.well-known/mta-sts.txt",
        "policy": "version: STSv1\r\nmode: testing\r\nmx: mx.example.org\r\nmax_age: 604800\r\n",
    }


def test_the_text_has_every_record_and_says_what_is_missing(write: Callable[..., Path]) -> None:
    folder = write(tls=False, listen={"smtp": "tcp:25", "imap": "tcp:143"}).parent
    text = mailkit(folder, "dns", "print", "example.org").stdout
    assert "example.org. IN MX 10 mx.example.org." in text
    assert "mx.example.org. IN A <this machine's IPv4 address>" in text
    assert "mode: testing\nmx: mx.example.org" in text
    assert "mailkit dkim new example.org" in text
    assert "TLSA" not in text  # there is no certificate
    assert "SRV" not in text  # and no port with TLS


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        ({"imap": "tcp:1143"}, {"_imap": 1143}),
        ({"imap": "tcp:port=1143:interface=192.0.2.1"}, {"_imap": 1143}),
        ({"imap": "tcp:143:interface=127.0.0.1"}, {}),
        ({"imap": "tcp:143:interface=\\:\\:1"}, {}),
        ({"imap": "haproxy:tcp:1143:interface=127.0.0.1"}, {"_imap": 143}),
        ({"imap": "systemd:domain=INET:index=0"}, {"_imap": 143}),
        ({"imap": "tcp:0"}, {}),
        ({"submission": "tcp:465"}, {"_submissions": 465}),
        ({"imap": "ssl:993:privateKey=k"}, {"_imaps": 993}),
        ({"pop3": "tcp:110"}, {"_pop3": 110}),
        ({"imap": "tcp:143", "imap ": "tcp:2143"}, {"_imap": 143}),
    ],
)
def test_programs_find_what_can_be_reached(
    write: Callable[..., Path], listen: dict[str, str], ports: dict[str, int]
) -> None:
    records = noun.publication_of(write(listen={"smtp": "tcp:25", **listen}), "example.org").records
    found = [one for one in records if one.kind == "SRV" and one.value != "0 0 0 ."]
    assert {one.name.split(".")[0]: int(one.value.split()[2]) for one in found} == ports


def test_addresses_that_the_configuration_tells_are_printed(write: Callable[..., Path]) -> None:
    listen = {"smtp": "tcp:25:interface=8.8.8.8", "smtp ": "tcp:25:interface=2001\\:4860\\:\\:1", "imap": "tcp:143"}
    records = noun.publication_of(write(listen=listen), "example.org").records
    found = [(one.kind, one.value) for one in records if one.kind in ("A", "AAAA")]
    assert found == [("A", "8.8.8.8"), ("AAAA", "2001:4860::1")]


def test_dkim_keys_of_the_configuration_are_published(write: Callable[..., Path], tmp_path: Path) -> None:
    more = ""
    for number, (domain, key) in enumerate([("example.org", RSA), ("EXAMPLE.org", ED), ("bücher.example", ED)]):
        (tmp_path / f"{number}.pem").write_bytes(key_pem(key))
        (tmp_path / f"{number}.pem").chmod(0o600)
        more += f'[[dkim]]\ndomain = "{domain}"\nselector = "s{number}"\nkey = "{number}.pem"\n'
    path = write(more=more)
    publication = noun.publication_of(path, "example.org")
    zone = parse("\n".join(noun._as_zone(publication)), "example.org")
    assert {name: text for (name, _), text in zone.items() if "_domainkey" in name} == {
        "s0._domainkey.example.org": [DKIMKey("example.org", "s0", RSA).record],
        "s1._domainkey.example.org": [DKIMKey("example.org", "s1", ED).record],
    }
    assert "dkim new" not in "\n".join(noun._as_text(publication))
    (tmp_path / "1.pem").write_text("junk")
    with pytest.raises(ConfigurationError) as caught:
        noun.publication_of(path, "example.org")
    assert re.search(r"mailkit.toml: \[dkim.2\] key: .*1.pem: there is no private key", caught.value.problems[0])


def test_a_new_key_is_used_and_published_by_adding_what_was_printed(write: Callable[..., Path]) -> None:
    path = write(tls=False, listen={"smtp": "tcp:25"})
    said = json.loads(mailkit(path.parent, "dkim", "new", "example.org", "--json").stdout)
    path.write_text(path.read_text() + "\n" + said["toml"])
    assert mailkit(path.parent, "config", "check").returncode == 0
    zone = parse(mailkit(path.parent, "dns", "print", "example.org", "--zone").stdout, "example.org")
    for key in said["keys"]:
        assert zone[(key["record"]["name"], "TXT")] == [key["record"]["value"]]


def test_a_subdomain_is_covered_by_the_keys_above_it() -> None:
    keys = (DKIMKey("example.org", "a", ED), DKIMKey("org", "b", ED), DKIMKey("other.org", "c", ED))
    publication = Publication(domain="sub.example.org", hostname="mx.example.org", keys=keys)
    names = [one.name for one in publication.records if "_domainkey" in one.name]
    assert names == ["a._domainkey.example.org"]


def test_the_id_of_a_policy_changes_with_it_only() -> None:
    def policy_id(**more: str) -> str:
        records = Publication(**{"domain": "example.org", "hostname": "mx.example.org", **more}).records
        return next(one.value for one in records if one.name.startswith("_mta-sts"))

    assert policy_id() == policy_id(domain="example.net")
    assert policy_id() != policy_id(hostname="mx2.example.org")


@pytest.mark.parametrize("text", ["", "a", "x" * 255, "x" * 256, 'a"b\\c;d', "y" * 1000])
def test_a_text_of_any_length_is_split(text: str) -> None:
    rdata = dns.rdata.from_text("IN", "TXT", text_rdata(text))
    assert b"".join(rdata.strings).decode() == text
    assert len(rdata.strings) == max(1, -(-len(text) // 255))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("example.net",), 1, "not among its domains (example.org, bücher.example)"),
        (("example.org", "--zone", "--json"), 2, "do not go together"),
        ((), 2, "DOMAIN"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    write: Callable[..., Path], arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = mailkit(write().parent, "dns", "print", *arguments)
    assert done.returncode == code
    assert words in done.stderr


@pytest.mark.parametrize(("octets", "words"), [(b"junk", "no certificate"), (None, "cannot be read")])
def test_a_certificate_that_is_none_is_told(write: Callable[..., Path], octets: bytes | None, words: str) -> None:
    path = write()
    (path.parent / "c.pem").unlink()
    if octets is not None:
        (path.parent / "c.pem").write_bytes(octets)
    done = mailkit(path.parent, "dns", "print", "example.org")
    assert done.returncode == 1
    assert words in done.stderr
