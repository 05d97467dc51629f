"""The configuration: plugins are chosen and given their own keys; every error is told, with file, table and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_mail_kit.assembly import check_configuration
from twisted_mail_kit.config import load
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.net.tls import self_signed_pem

SMALLEST = 'hostname = "mx.example.org"\n[[listen]]\nservice = "smtp"\nendpoint = "tcp:0"\n'


def problems_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "mailkit.toml"
    file.write_text(text)
    return [line.replace(str(file), "FILE") for line in check_configuration(file)]


def test_the_smallest_configuration_has_no_errors(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SMALLEST) == []


def test_relative_paths_are_below_the_configurations_folder(tmp_path: Path) -> None:
    file = tmp_path / "mailkit.toml"
    file.write_text(f'state = "state"\n{SMALLEST}\n[tls]\ncertificate = "c.pem"\n')
    tables = load(file).tables
    assert tables.state == tmp_path / "state"
    assert tables.tls is not None
    assert tables.tls.certificate == tmp_path / "c.pem"


def test_all_errors_of_all_tables_are_told_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        """
hostnam = "mx.example.org"
domains = ["example.org", "a@b"]

[[listen]]
service = "smpt"
endpoint = "tcp:25"

[store]
plugin = "sqlight"

[imap]
message_sise = 3

[smtp]
recipients = "many"

[auth]
plugin = "passwords"
fil = "x"

[[check]]
plugin = "sender-identity"
heder = false
""",
    )
    for start in (
        'FILE: hostnam: unknown; did you mean "hostname"?',
        "FILE: hostname: is missing",
        "FILE: domains: ",
        "FILE: [listen.1] service: ",
        'FILE: [store] plugin: no store plugin is called "sqlight" (there are: ',
        'FILE: [imap] message_sise: unknown; did you mean "message_size"?',
        "FILE: [smtp] recipients: a whole number expected, not 'many'",
        "FILE: [auth] fil: unknown",
        'FILE: [check.1] heder: unknown; did you mean "header"?',
    ):
        assert [line for line in problems if line.startswith(start)], (start, problems)
    assert len(problems) == 9


@pytest.mark.parametrize("text", ["hostname = ", "\x00", 'hostname = "\xff"'.encode("latin-1")])
def test_a_file_that_is_no_toml_is_one_clear_error(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "mailkit.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (problem,) = check_configuration(file)
    assert str(file) in problem


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    (problem,) = check_configuration(tmp_path / "none.toml")
    assert "none.toml" in problem


def test_tls_without_a_certificate_is_told(tmp_path: Path) -> None:
    text = 'hostname = "mx"\n[[listen]]\nservice = "imap"\nendpoint = "tcp:993"\ntls = "implicit"\n'
    assert [line for line in problems_of(tmp_path, text) if "TLS needs a certificate" in line]


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    problems = problems_of(tmp_path, SMALLEST + '[tls]\ncertificate = "c.pem"\n')
    assert len(problems) == 1
    assert "c.pem" in problems[0]
    (tmp_path / "c.pem").write_bytes(self_signed_pem("mx.example.org"))
    assert problems_of(tmp_path, SMALLEST + '[tls]\ncertificate = "c.pem"\n') == []


def test_any_strcred_string_is_a_checker(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("ann:secret\n")
    assert problems_of(tmp_path, f'strcred = ["file:{tmp_path}/passwd"]\n{SMALLEST}') == []
    (problem,) = problems_of(tmp_path, f'strcred = ["nothing-of-the-kind:x"]\n{SMALLEST}')
    assert "strcred" in problem


def test_every_problem_raised_by_load_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "mailkit.toml"
    file.write_text("hostname = 3\n")
    with pytest.raises(ConfigurationError) as raised:
        load(file)
    assert len(raised.value.problems) == 2
    assert str(raised.value) == "\n".join(raised.value.problems)
