"""DKIM keys from files: what is taken, what is refused, and in which words."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from twisted.logger import globalLogPublisher

from twisted_mail_kit.delivery.dkimkeys import DKIMKey, key_pem, load_keys, make_key
from twisted_mail_kit.delivery.dkimsettings import DKIMKeySettings, DKIMSettings
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.tables import Problems, read_table

RSA = make_key("rsa")
ED = make_key("ed25519")


def table(domain: str = "example.org", selector: str = "s1", key: str = "key.pem") -> DKIMKeySettings:
    return DKIMKeySettings(domain=domain, selector=selector, key=Path(key))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(octets: bytes, name: str = "key.pem", mode: int = 0o600) -> Path:
        path = tmp_path / name
        path.write_bytes(octets)
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def warnings() -> list[str]:
    events: list[str] = []
    from twisted.logger import formatEvent

    def hear(event: dict) -> None:
        if event["log_level"].name == "warn":
            events.append(formatEvent(event))

    globalLogPublisher.addObserver(hear)
    yield events
    globalLogPublisher.removeObserver(hear)


@pytest.mark.parametrize("key", [RSA, ED], ids=["rsa", "ed25519"])
def test_pkcs8(write: Callable[..., Path], tmp_path: Path, key: object, warnings: list[str]) -> None:
    write(key_pem(key))
    (loaded,) = load_keys([table("Bücher.Example", "S1")], tmp_path)
    assert (loaded.domain, loaded.selector) == ("xn--bcher-kva.example", "s1")
    assert loaded.name == "s1._domainkey.xn--bcher-kva.example"
    assert key_pem(loaded.private) == key_pem(key)
    assert warnings == []


def test_pkcs1(write: Callable[..., Path], tmp_path: Path) -> None:
    write(RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    assert load_keys([table()], tmp_path)[0].algorithm == "rsa-sha256"


def test_an_absolute_path_stays(write: Callable[..., Path]) -> None:
    path = write(key_pem(ED))
    assert load_keys([table(key=str(path))], Path("/nowhere"))[0].algorithm == "ed25519-sha256"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_may_read_is_told(
    write: Callable[..., Path], tmp_path: Path, warnings: list[str], mode: int
) -> None:
    write(key_pem(ED), mode=mode)
    assert load_keys([table()], tmp_path)
    (line,) = warnings
    assert "key.pem" in line
    assert "chmod 600" in line


def test_a_short_key_is_told(write: Callable[..., Path], tmp_path: Path, warnings: list[str]) -> None:
    write(key_pem(rsa.generate_private_key(65537, 1024)))
    assert load_keys([table()], tmp_path)
    assert "1024 bits" in warnings[0]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "no private key"),
        (b"\xff" * 100, "no private key"),
        (key_pem(ED)[:60], "no private key"),
        (key_pem(ec.generate_private_key(ec.SECP256R1())), "must be RSA or Ed25519"),
        (RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")), "password"),
        (None, "No such file"),
    ],
    ids=["empty", "binary", "cut", "another kind", "locked", "missing"],  # the keys are other ones each time
)
def test_what_is_no_key_is_one_clear_line(
    write: Callable[..., Path], tmp_path: Path, octets: bytes | None, words: str
) -> None:
    if octets is not None:
        write(octets)
    with pytest.raises(ConfigurationError) as caught:
        load_keys([table()], tmp_path)
    (line,) = caught.value.problems
    assert line.startswith("[dkim.1] key: ")
    assert "key.pem" in line
    assert words in line


def test_all_problems_at_once(write: Callable[..., Path], tmp_path: Path) -> None:
    write(key_pem(ED), "good.pem")
    write(b"junk", "bad.pem")
    tables = [
        table(key="good.pem"),
        table(key="bad.pem", selector="s2"),
        table(key="none.pem", selector="s3"),
        table("EXAMPLE.org", key="good.pem"),
        table("\u2603\u200d.example", key="good.pem", selector="s4"),
    ]
    with pytest.raises(ConfigurationError) as caught:
        load_keys(tables, tmp_path)
    lines = caught.value.problems
    assert [line.partition("]")[0] for line in lines] == ["[dkim.2", "[dkim.3", "[dkim.4", "[dkim.5"]
    assert "two keys" in lines[2]


def test_published_rsa_is_the_whole_public_key() -> None:
    record = DKIMKey("example.org", "s", RSA).record
    head, _, encoded = record.partition("; p=")
    assert head == "v=DKIM1; k=rsa"
    assert load_der_public_key(base64.b64decode(encoded)) == RSA.public_key()


def test_published_ed25519_is_32_octets() -> None:
    head, _, encoded = DKIMKey("example.org", "s", ED).record.partition("; p=")
    assert head == "v=DKIM1; k=ed25519"
    assert base64.b64decode(encoded) == ED.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    ("cls", "values", "words"),
    [
        (DKIMSettings, {"oversigned": ["Subject"]}, "From must be among them"),
        (DKIMSettings, {"oversigned": ["From", "a;b"]}, "cannot be the name"),
        (DKIMSettings, {"signed": ["a b"]}, "cannot be the name"),
        (DKIMSettings, {"expires": -1}, "must be >= 0"),
        (DKIMKeySettings, {"domain": "example.org", "selector": "a_b c", "key": "k"}, "selector"),
        (DKIMKeySettings, {"domain": "example.org", "key": "k"}, "is missing"),
    ],
)
def test_wrong_settings_are_told(cls: type, values: dict[str, object], words: str) -> None:
    problems = Problems("mailkit.toml")
    assert read_table(cls, values, "dkim", problems) is None
    assert words in problems.lines[0]
