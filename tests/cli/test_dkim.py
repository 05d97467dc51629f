"""`mailkit dkim`, as an operator types it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import dns.rdata
import pytest
from cattrs import structure
from click.testing import CliRunner

from twisted_mail_kit.cli import main
from twisted_mail_kit.delivery.dkimkeys import load_keys
from twisted_mail_kit.delivery.dkimsettings import DKIMKeySettings

CONFIGURATION = """
hostname = "mx.example.org"
domains = ["example.org", "bücher.example"]
state = "state"
[[listen]]
service = "smtp"
endpoint = "tcp:0"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mailkit.toml").write_text(CONFIGURATION)
    return tmp_path


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


def made(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder / "state" / "dkim").iterdir()}


def published(output: str) -> dict[str, str]:
    """name -> text of the TXT records that were printed, as DNS would have them."""
    found = {}
    for line in output.splitlines():
        if match := re.match(r"(\S+)\. IN TXT (.*)", line):
            rdata = dns.rdata.from_text("IN", "TXT", match[2])
            assert all(len(one) <= 255 for one in rdata.strings)
            found[match[1]] = b"".join(rdata.strings).decode()
    return found


def loaded(toml: str) -> dict[str, str]:
    tables = [structure(row, DKIMKeySettings) for row in tomllib.loads(toml)["dkim"]]
    return {key.name: key.record for key in load_keys(tables)}


def test_what_is_printed_is_what_was_made(folder: Path) -> None:
    done = typed(folder, "dkim", "new", "example.org", "--selector", "S1")
    assert done.returncode == 0, done.stderr
    assert made(folder) == {"example.org.s1-rsa.pem": 0o600, "example.org.s1-ed25519.pem": 0o600}
    assert stat.S_IMODE((folder / "state" / "dkim").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state").stat().st_mode) == 0o700
    records = published(done.stdout)
    assert set(records) == {"s1-rsa._domainkey.example.org", "s1-ed25519._domainkey.example.org"}
    assert loaded(done.stdout[done.stdout.index("[[dkim]]") :]) == records
    assert "PRIVATE" not in done.stdout


def test_one_algorithm_has_the_selector_as_it_is(folder: Path) -> None:
    done = mailkit(folder, "dkim", "new", "example.org", "--selector=x", "--algorithm=rsa", "--bits=1024", "--json")
    said = json.loads(done.stdout)
    (key,) = said["keys"]
    assert (key["domain"], key["selector"], key["algorithm"]) == ("example.org", "x", "rsa-sha256")
    assert key["record"]["name"] == "x._domainkey.example.org"
    assert loaded(said["toml"]) == {"x._domainkey.example.org": key["record"]["value"]}
    assert Path(key["file"]).is_absolute()
    assert 200 < len(key["record"]["value"]) < 255


def test_an_international_domain(folder: Path) -> None:
    done = mailkit(folder, "dkim", "new", "Bücher.example", "--selector", "a", "--algorithm", "ed25519")
    assert made(folder) == {"xn--bcher-kva.example.a.pem": 0o600}
    assert list(published(done.stdout)) == ["a._domainkey.xn--bcher-kva.example"]


def test_without_a_selector_there_is_one_of_the_date(folder: Path) -> None:
    done = mailkit(folder, "dkim", "new", "example.org", "--algorithm", "ed25519")
    (name,) = published(done.stdout)
    assert re.fullmatch(r"20\d{6}\._domainkey\.example\.org", name)


def test_an_old_key_is_never_overwritten(folder: Path) -> None:
    mailkit(folder, "dkim", "new", "example.org", "--selector", "a", "--algorithm", "ed25519")
    file = folder / "state" / "dkim" / "example.org.a.pem"
    before = file.read_bytes()
    done = mailkit(folder, "dkim", "new", "EXAMPLE.ORG.", "--selector", "A", "--algorithm", "rsa")
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert done.stdout == ""
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("../../etc",), "../../etc"),
        (("a b.example",), "a b.example"),
        (("[192.0.2.1]",), "literal"),
        (("",), "missing"),
        (("example.org", "--selector", "../x"), "selector"),
        (("example.org", "--selector", "a b"), "selector"),
        (("example.org", "--selector", "-a"), "selector"),
        (("example.org", "--selector", "x" * 62), "selector"),
        (("example.org", "--bits", "512"), "512"),
        (("example.org", "--algorithm", "dsa"), "dsa"),
    ],
)
def test_what_cannot_be_is_one_clear_line(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = mailkit(folder, "dkim", "new", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list((folder / "state" / "dkim").glob("*")) if (folder / "state").exists() else True


def test_a_state_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "dkim").write_text("in the way")
    done = mailkit(folder, "dkim", "new", "example.org", "--algorithm", "ed25519")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_a_demos_state_will_do(tmp_path: Path) -> None:
    done = mailkit(tmp_path, "--state", str(tmp_path / "mine"), "dkim", "new", "example.org", "--algorithm", "ed25519")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "mine" / "dkim").iterdir())) == 1


def test_without_a_configuration_there_is_no_place(tmp_path: Path) -> None:
    done = typed(tmp_path, "dkim", "new", "example.org")
    assert done.returncode == 2
    assert "--config" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_key_belongs_to_whom_the_state_belongs_to(folder: Path) -> None:
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", 65534, 65534)
    mailkit(folder, "dkim", "new", "example.org", "--algorithm", "ed25519")
    (file,) = (folder / "state" / "dkim").iterdir()
    assert {file.stat().st_uid, file.parent.stat().st_uid} == {65534}
