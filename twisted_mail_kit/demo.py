"""The demo: a whole server without a configuration, on loopback only, that sends nothing to the outside."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLContextFactory

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.control.place import LOCK, take_lock
from twisted_mail_kit.delivery.catchall import Redirect
from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.errors import AccountNotFound, ConfigurationError
from twisted_mail_kit.fittings import make_state_dir
from twisted_mail_kit.kit import SERVICES, Listener, MailKit
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.net.session import is_loopback
from twisted_mail_kit.net.tls import Certificates, self_signed_pem
from twisted_mail_kit.net.wholefile import put_in_place
from twisted_mail_kit.stores.sqlite import SQLiteStore

ACCOUNT = "demo@localhost"
PORTS = {"smtp": 2525, "submission": 2587, "lmtp": 2424, "imap": 2143, "pop3": 2110}
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


class Demo:
    """What `twistd mailkit` runs without ``--config``."""

    def __init__(self, reactor: Any, state: Path | None = None, listen: list[str] | None = None) -> None:
        self.reactor = reactor
        self.state = state or default_state()
        self._endpoints = endpoints(listen or [])
        self._lock = -1

    def open(self) -> MailKit:
        """See `running.Host`."""
        reactor = self.reactor
        make_state_dir(self.state)
        self._lock = take_lock(self.state / LOCK)
        self.passwords = demo_passwords(str(self.state), reactor)
        store = SQLiteStore(self.state / "store", reactor)
        accounts = Directory(domains=["localhost"], passwords=self.passwords)
        self.local = LocalDelivery(store, reactor)
        self.kit = MailKit(
            hostname="localhost",
            domains=["localhost"],
            store=store,
            auth=self.passwords,
            accounts=accounts,
            outbound=Redirect(self.local, Address(*ACCOUNT.split("@"))),
            certificates=_certificates(self.state),
            state_dir=self.state,
            reactor=reactor,
        )
        for service, endpoint in self._endpoints.items():
            self.kit.listen(service, endpoint)
        return self.kit

    @property
    def password_file(self) -> Path:
        """Holds the password of the demo account, alone."""
        return self.state / "demo-password"

    def start(self) -> None:
        """Nothing: a demo takes no orders."""

    async def prepare(self) -> None:
        """At the first run: make the account, and put the samples into its inbox."""
        if not self.password_file.exists():
            password = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))
            await self.passwords.set_password(ACCOUNT, password)
            put_in_place(self.password_file, password.encode() + b"\n")
        try:
            await self.kit.store.open_account(ACCOUNT)
        except AccountNotFound:
            for number, octets in enumerate(samples(), 1):
                await self._deliver(f"sample-{number}", octets)

    async def close(self) -> None:
        """Nothing is left open."""

    def leave(self) -> None:
        """Another demo may have the state folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _deliver(self, trace_id: str, octets: bytes) -> None:
        envelope = Envelope(None, Peer("", service="lmtp", is_local=True), trace_id, received_at=self.reactor.seconds())
        delivery = await self.local.begin(envelope)
        await delivery.add_recipient(Recipient(Address(*ACCOUNT.split("@"))))
        await delivery.write(octets)
        await delivery.commit()

    def accounts(self) -> list[dict[str, str]]:
        """The demo account."""
        return [{"name": ACCOUNT, "password_file": str(self.password_file)}]

    def announce(self, listeners: list[Listener]) -> None:
        """Print what listens where, the login, and what to try next."""
        by_service = {one.service: one for one in listeners}
        lines = ["", "  The mailkit demo is open, on this machine only.", ""]
        for service in PORTS:
            one = by_service[service]
            wanted = PORTS[service]
            moved = f"  ({wanted} was taken)" if wanted < one.port < wanted + 100 else ""
            tls = "" if one.tls == "none" else f"  {one.tls.upper()}"
            lines.append(f"    {service:<12}{one.host}:{one.port}{tls}{moved}")
        smtp, imap = by_service["smtp"], by_service["imap"]
        lines += [
            "",
            f"    login       {ACCOUNT}",
            f"    password    {self.password_file.read_text().strip()}",
            "",
            "  Send yourself a mail, and look at it (curl asks for the password):",
            "",
            f"    {_send_command(smtp)}",
            f"    curl --user {ACCOUNT} 'imap://{imap.host}:{imap.port}/INBOX;MAILINDEX=*'",
            "",
            f"  The mail is in {self.state}. Ctrl-C ends the demo.",
            "",
            "",
        ]
        say("\n".join(lines))

    def farewell(self) -> None:
        """Say where the mail is."""
        say(f"\n  The demo has ended. The mail is in {self.state}; the next run finds it there.\n\n")


def _send_command(smtp: Listener) -> str:
    if shutil.which("swaks"):
        return f"swaks --server {smtp.host}:{smtp.port} --to {ACCOUNT} --header 'Subject: Hello'"
    return (
        f"printf 'Subject: Hello\\r\\n\\r\\nHello.\\r\\n' | "
        f"curl smtp://{smtp.host}:{smtp.port} --mail-from you@example.org --mail-rcpt {ACCOUNT} -T -"
    )


def say(text: str) -> None:
    """To the person at the terminal: twistd has made sys.stdout a part of the log."""
    out = sys.__stdout__
    if out is not None:
        try:
            out.write(text)
            out.flush()
        except (OSError, ValueError):
            pass  # nobody is there any more


def default_state() -> Path:
    """``~/.local/share/mailkit-demo``, or where XDG_DATA_HOME says."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "mailkit-demo"


def demo_passwords(state: str | None, reactor: Any) -> PasswordFile:
    """Who may log in to the demo whose state is there. Raises ConfigurationError where there is no such folder."""
    folder = Path(state).expanduser() if state else default_state()
    if not folder.is_dir():
        raise ConfigurationError([f"{folder}: no demo has run here yet; give a configuration with --config"])
    return PasswordFile(folder / "passwords", reactor, default_domain="localhost")


def endpoints(wanted: list[str]) -> dict[str, str]:
    """An endpoints string for every service: the usual port or the next free one, or what `wanted` says of it.

    Raises ConfigurationError for anything but loopback: without a configuration nobody has thought about strangers.
    """
    found = {service: f"tcp:{free_port(port)}:interface=127.0.0.1" for service, port in PORTS.items()}
    problems = []
    for text in wanted:
        service, _, endpoint = text.partition("=")
        if service not in SERVICES or not endpoint:
            problems.append(f"--listen {text}: SERVICE=ENDPOINT expected, with one of {', '.join(SERVICES)}")
        elif not _stays_here(endpoint):
            problems.append(
                f"--listen {text}: without a configuration only loopback: tcp:PORT:interface=127.0.0.1 or unix:PATH"
            )
        else:
            found[service] = endpoint
    if problems:
        raise ConfigurationError(problems)
    return found


def _stays_here(endpoint: str) -> bool:
    kind, *arguments = endpoint.split(":", 1 if endpoint.startswith("unix:") else -1)
    if kind == "unix":
        return True
    interfaces = [one.removeprefix("interface=") for one in arguments if one.startswith("interface=")]
    return kind == "tcp" and len(interfaces) == 1 and bool(interfaces[0]) and is_loopback(interfaces[0])


def free_port(wanted: int) -> int:
    """`wanted`, or the next port that nobody listens on."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigurationError([f"no free port between {wanted} and {wanted + 99}"])


def samples() -> Iterator[bytes]:
    """The sample messages, with line ends as they travel."""
    folder = files("twisted_mail_kit").joinpath("samples")
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        yield one.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _certificates(state: Path) -> IOpenSSLContextFactory:
    """A certificate that nobody vouches for, made at the first run."""
    path = state / "demo-certificate.pem"
    if not path.exists():
        put_in_place(path, self_signed_pem("localhost"))
    return Certificates(path)
