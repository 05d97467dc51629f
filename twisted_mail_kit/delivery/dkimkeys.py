"""DKIM keys: read from files, made anew, used to sign, and published."""

from __future__ import annotations

import base64
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from twisted.logger import Logger

from twisted_mail_kit.accounts.names import canonical_domain
from twisted_mail_kit.delivery.dkimsettings import DKIMKeySettings
from twisted_mail_kit.errors import ConfigurationError

LEAST_BITS: Final = 1024  # RFC 8301 3.2: a shorter key's signature is worth nothing
WANTED_BITS: Final = 2048

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

_log = Logger()


@frozen
class DKIMKey:
    """One key of one domain, ready to sign."""

    domain: str
    """Lower-case A-labels."""
    selector: str
    private: PrivateKey

    @property
    def kind(self) -> str:
        """``rsa`` or ``ed25519``."""
        return "rsa" if isinstance(self.private, RSAPrivateKey) else "ed25519"

    @property
    def algorithm(self) -> str:
        """For the ``a=`` tag."""
        return f"{self.kind}-sha256"

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest. RSA takes a millisecond: not for the reactor's thread."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, PKCS1v15(), Prehashed(SHA256()))
        return self.private.sign(digest)  # RFC 8463 3: the digest itself is what is signed

    @property
    def name(self) -> str:
        """Where the public key is published, without a dot at the end."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The TXT record to publish there (RFC 6376 3.6.1, RFC 8463 4)."""
        public = self.private.public_key()
        if self.kind == "rsa":
            octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.kind}; p={base64.b64encode(octets).decode()}"


def load_keys(tables: Sequence[DKIMKeySettings], folder: Path = Path()) -> tuple[DKIMKey, ...]:
    """Read the keys of all ``[[dkim]]`` tables; relative paths are below `folder`.

    Raises ConfigurationError with all that is wrong. A file that others may read is told in the log.
    """
    keys: dict[str, DKIMKey] = {}
    problems = []
    for number, table in enumerate(tables, 1):
        where = f"[dkim.{number}]"
        domain = canonical_domain(table.domain)
        if not domain.isascii():
            problems.append(f"{where} domain: {table.domain!r} is not a valid international name")
            continue
        try:
            key = DKIMKey(domain, table.selector.lower(), read_key(folder / table.key))
        except ConfigurationError as problem:
            problems += [f"{where} key: {line}" for line in problem.problems]
            continue
        if key.name in keys:
            problems.append(f"{where} selector: there are two keys {key.name}: each needs a selector of its own")
        keys[key.name] = key
    if problems:
        raise ConfigurationError(problems)
    return tuple(keys.values())


def read_key(path: Path) -> PrivateKey:
    """The private key in a PEM file. Raises ConfigurationError."""
    try:
        octets = path.read_bytes()
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise ConfigurationError([f"{path}: cannot be read: {problem.strerror or problem}"]) from None
    try:
        key = load_pem_private_key(octets, password=None)
    except TypeError:
        raise ConfigurationError([f"{path}: the key is locked by a password"]) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError([f"{path}: there is no private key in it, in PEM form"]) from None
    if not isinstance(key, PrivateKey):
        raise ConfigurationError([f"{path}: the key must be RSA or Ed25519 (RFC 8301, RFC 8463)"])
    if isinstance(key, RSAPrivateKey):
        if key.key_size < LEAST_BITS:
            raise ConfigurationError([f"{path}: an RSA key of {key.key_size} bits; it needs {WANTED_BITS}"])
        if key.key_size < WANTED_BITS:
            _log.warn(
                "{path}: an RSA key of {bits} bits: use {wanted}", path=path, bits=key.key_size, wanted=WANTED_BITS
            )
    if mode & 0o077:
        _log.warn("{path}: others may read this private key: chmod 600", path=path)
    return key


def make_key(kind: str, bits: int = WANTED_BITS) -> PrivateKey:
    """A new ``rsa`` or ``ed25519`` key. RSA takes a second or so."""
    if kind == "rsa":
        return generate_private_key(public_exponent=65537, key_size=bits)
    return Ed25519PrivateKey.generate()


def key_pem(key: PrivateKey) -> bytes:
    """For a file: PKCS #8, PEM, without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
