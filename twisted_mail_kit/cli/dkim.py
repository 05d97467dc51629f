"""`mailkit dkim`: keys that sign outgoing mail."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twisted_mail_kit.cli.common import configuration

if TYPE_CHECKING:
    from twisted_mail_kit.delivery.dkimkeys import DKIMKey

Obj = tuple[str | None, str | None]


@click.group()
def noun() -> None:
    """Keys that sign outgoing mail."""


@noun.command()
@click.argument("domain")
@click.option("--selector", help="Under which name it is published; without it, one made of the date.")
@click.option(
    "--algorithm", type=click.Choice(["rsa", "ed25519", "both"]), default="both", show_default=True, help="Of the key."
)
@click.option("--bits", type=click.IntRange(1024, 8192), default=2048, show_default=True, help="Of an RSA key.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@click.pass_obj
def new(obj: Obj, domain: str, selector: str | None, algorithm: str, bits: int, as_json: bool) -> None:
    """Make a key for DOMAIN, and print what to add to the configuration and to publish.

    The key is a file in the folder `dkim` of the state. With `both` there are two, whose selectors end in -rsa and
    -ed25519: receivers that do not know the newer algorithm yet use the other. Nothing is signed before the
    configuration has them; publish first, then reload.
    """
    from twisted_mail_kit.delivery.dkimkeys import DKIMKey, make_key

    name = _domain(domain)
    selector = (selector or time.strftime("%Y%m%d")).lower()
    folder = _state(obj) / "dkim"
    kinds = ["rsa", "ed25519"] if algorithm == "both" else [algorithm]
    names = [f"{selector}-{kind}" if algorithm == "both" else selector for kind in kinds]
    for one in names:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", one):
            raise click.UsageError(f"{selector!r} cannot be a selector: letters, digits and hyphens")
    files = [folder / f"{name}.{one}.pem" for one in names]
    for file in files:
        if file.exists():
            raise click.ClickException(f"{file} is there already; take another --selector")
    keys = [DKIMKey(name, one, make_key(kind, bits)) for one, kind in zip(names, kinds, strict=True)]
    try:
        for key, file in zip(keys, files, strict=True):
            _write(file, key)
    except OSError as problem:
        raise click.ClickException(f"{folder}: the key cannot be written: {problem.strerror or problem}") from None
    if as_json:
        click.echo(json.dumps(_as_json(keys, files), indent=2))
    else:
        _show(keys, files)


def _domain(text: str) -> str:
    """In A-labels, checked."""
    from twisted_mail_kit.accounts.names import canonical_domain
    from twisted_mail_kit.mail.address import BadAddress, make_address

    try:
        domain = make_address("postmaster", text.removesuffix(".")).domain
    except BadAddress as problem:
        raise click.UsageError(f"{text!r}: {problem}") from None
    if domain.startswith("["):
        raise click.UsageError(f"{text}: an address literal publishes nothing")
    return canonical_domain(domain)


def _state(obj: Obj) -> Path:
    """The state folder, made where it is missing."""
    from twisted_mail_kit.config import load
    from twisted_mail_kit.errors import ConfigurationError
    from twisted_mail_kit.fittings import make_state_dir

    path = configuration(obj)
    if path is None and not obj[1]:
        raise click.UsageError("there is no configuration: give one with --config")
    try:
        state = Path(obj[1] or ".") if path is None else load(path).tables.state
        make_state_dir(state)
        return state.absolute()
    except ConfigurationError as problem:
        raise click.ClickException("\n".join(problem.problems)) from None


def _write(file: Path, key: DKIMKey) -> None:
    """For us alone, or for whom the state belongs to, and never over another one. Raises OSError."""
    from twisted_mail_kit.delivery.dkimkeys import key_pem

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(key_pem(key.private))
        opened.flush()
        os.fsync(opened.fileno())
    if os.geteuid() == 0:  # the server itself need not be root, and must be able to read it
        owner = file.parent.parent.stat()
        for one in (file.parent, file):
            os.chown(one, owner.st_uid, owner.st_gid)


def _table(key: DKIMKey, file: Path) -> str:
    """For the configuration. A JSON string of printable text is a TOML string too."""
    lines = ["[[dkim]]"]
    for name, value in (("domain", key.domain), ("selector", key.selector), ("key", str(file))):
        lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _as_json(keys: list[DKIMKey], files: list[Path]) -> dict[str, object]:
    return {
        "keys": [
            {
                "domain": key.domain,
                "selector": key.selector,
                "algorithm": key.algorithm,
                "file": str(file),
                "record": {"name": key.name, "type": "TXT", "value": key.record},
            }
            for key, file in zip(keys, files, strict=True)
        ],
        "toml": "\n".join(_table(key, file) for key, file in zip(keys, files, strict=True)),
    }


def _show(keys: list[DKIMKey], files: list[Path]) -> None:
    from twisted_mail_kit.delivery.dnsrecords import text_rdata

    click.echo("# Publish:\n")
    for key in keys:
        click.echo(f"{key.name}. IN TXT {text_rdata(key.record)}\n")
    click.echo("# Then add to the configuration:\n")
    for key, file in zip(keys, files, strict=True):
        click.echo(_table(key, file))
