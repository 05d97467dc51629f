"""What can be set about the way to other servers."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import ge, matches_re

from twisted_mail_kit.smtp.client.settings import ClientTimes
from twisted_mail_kit.smtp.policies.settings import TLSPolicySettings

TLS = Literal["none", "may", "encrypt", "verify", "implicit"]

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")


def _address(version: int) -> Any:
    def check(instance: Any, attribute: Any, value: str) -> None:
        if value and ipaddress.ip_address(value).version != version:
            raise ValueError(f"{attribute.name}: {value!r} is no IPv{version} address")

    return check


def _addresses(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for one in value:
        ipaddress.ip_address(one)


@frozen(kw_only=True)
class RouteSettings:
    """One table ``[[relay.routes]]``: mail for some domains goes to a host of your choice. The most exact pattern of
    all routes wins."""

    domain: str = "*"
    """``example.org``, ``.example.org`` for all domains below it, or ``*`` for all: a smarthost."""
    host: str = field(validator=matches_re(_HOST))
    """A host name or IP address."""
    port: int = field(default=25, validator=ge(1))
    """Its port."""
    mx: bool = False
    """Whether `host` is a domain whose MX records say where to go."""
    tls: TLS | None = None
    """``none``; ``may``, where it is offered, whoever it is; ``encrypt``, whoever it is; ``verify``, with a certificate
    for `host`; ``implicit``, the same from the first octet on. Without it, ``verify`` where there is a user, else
    ``may``."""
    user: str = ""
    """For AUTH; never without TLS."""
    password_file: Path | None = None
    """Its first line is the password. It is read at each login."""
    token_file: Path | None = None
    """Its first line is an OAuth access token, for XOAUTH2. It is read at each login."""
    lmtp: bool = False
    """Speak LMTP (RFC 2033)."""

    def __attrs_post_init__(self) -> None:
        if bool(self.user) is (self.password_file is None and self.token_file is None):
            raise ValueError("user goes together with password_file or token_file")
        if self.user and self.tls in ("none", "may"):
            raise ValueError(f"tls: no password is sent with {self.tls!r}; say verify, implicit or encrypt")
        if self.tls == "implicit" and self.mx:
            raise ValueError("tls: implicit TLS does not go with mx")

    @property
    def security(self) -> TLS:
        """`tls`, or its default."""
        return self.tls or ("verify" if self.user else "may")


@frozen(kw_only=True)
class RelaySettings:
    """The table ``[relay]``. Sizes are in octets, times in seconds."""

    routes: tuple[RouteSettings, ...] = field(default=(), converter=tuple)
    """Domains that do not go where their MX records say."""
    port: int = field(default=25, validator=ge(1))
    """The port of other servers, where no route says another."""
    recipients: int = field(default=100, validator=ge(1))
    """The most recipients of one transaction; more are sent one transaction after the other."""
    messages: int = field(default=100, validator=ge(1))
    """The most messages over one connection."""
    idle: float = field(default=5.0, validator=ge(0))
    """How long a connection waits for the next message. 0: it does not."""
    addresses: int = field(default=5, validator=ge(1))
    """The most addresses that are connected to in one attempt."""
    ipv4: bool = True
    """Whether to connect over IPv4."""
    ipv6: bool = True
    """Whether to connect over IPv6, which is tried first."""
    bind_ipv4: str = field(default="", validator=_address(4))
    """The address that IPv4 connections come from; empty: the system's choice."""
    bind_ipv6: str = field(default="", validator=_address(6))
    """The address that IPv6 connections come from; empty: the system's choice."""
    own_names: tuple[str, ...] = field(default=(), converter=tuple)
    """Other names of this host: an MX record with one of them, or with its hostname, is not followed, and neither are
    those behind it (RFC 5321 5.1)."""
    own_addresses: tuple[str, ...] = field(default=(), converter=tuple, validator=_addresses)
    """Its addresses, to the same end."""
    allow_loopback: bool = False
    """Whether an MX may have a loopback address. A route may in any case."""
    chunking: bool = True
    """Whether BDAT is used where it is offered (RFC 3030)."""
    memory: int = field(default=256 * 1024, validator=ge(0))
    """Octets of a message that are kept in memory while it is sent; a larger one goes to the spool directory."""
    times: ClientTimes = field(factory=ClientTimes)
    """How long to wait for what."""
    tls: TLSPolicySettings = field(factory=TLSPolicySettings)
    """MTA-STS, DANE, and whom to trust."""
