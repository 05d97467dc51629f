"""SASL mechanisms, server side (RFC 4422): challenges in and out, credentials for twisted.cred."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from secrets import token_hex

from attrs import field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernameHashedPassword
from zope.interface import Attribute, Interface, implementer

from twisted_mail_kit.errors import AuthenticationFailed, BadSyntax
from twisted_mail_kit.interfaces import IAccount, ISASLExchange

LONGEST = 16 * 1024
"""Octets of one response, at most; a bearer token is the longest that there is."""


class IBearerToken(ICredentials):
    """An OAuth 2.0 access token (RFC 6750). A checker with this in its `credentialInterfaces` opens XOAUTH2 and
    OAUTHBEARER."""

    username = Attribute("str: whom the client wants to be; empty: the token says it.")
    token = Attribute("str: the token.")


@implementer(IBearerToken)
@frozen
class BearerToken:
    """What a client brought."""

    username: str
    token: str = field(repr=False)


@frozen(kw_only=True)
class ScramKeys:
    """What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 3)."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


class IScramKeys(Interface):
    """A checker that keeps SCRAM keys, and so opens SCRAM-SHA-256."""

    async def scram_keys(user: str) -> ScramKeys | None:
        """The keys of that user; None: there is no such user, or no keys of his."""

    def decoy_keys(user: str) -> ScramKeys:
        """Keys that nobody has the password of, always the same for that name: what a stranger who tries names is
        shown for those that do not exist."""


def make_scram_keys(password: str, iterations: int) -> ScramKeys:
    """Blocks for some milliseconds. Raises BadSyntax for a password that SASLprep forbids (RFC 4013)."""
    from scramp import ScramException, ScramMechanism

    try:
        salt, stored_key, server_key, rounds = ScramMechanism("SCRAM-SHA-256").make_auth_info(
            password, iteration_count=iterations
        )
    except ScramException as problem:
        raise BadSyntax("the password has characters that SCRAM forbids") from problem
    return ScramKeys(salt=salt, iterations=rounds, stored_key=stored_key, server_key=server_key)


class IClearPasswords(ICredentialsChecker):
    """A checker that has passwords in clear text, and takes IUsernameHashedPassword credentials: it opens CRAM-MD5.

    For clients that were set to it by another server. It hides nothing that TLS does not hide, and a server that has
    clear passwords can lose them."""


@implementer(IUsernameHashedPassword)
@frozen
class CramCredentials:
    """What a client answered to a challenge (RFC 2195)."""

    username: bytes
    challenge: bytes
    digest: bytes = field(repr=False)

    def checkPassword(self, password: bytes | str) -> bool:
        """Whether that is it."""
        key = password.encode() if isinstance(password, str) else password
        return compare_digest(hmac.new(key, self.challenge, "md5").hexdigest().encode(), self.digest)


PasswordLogin = Callable[[str, str], Awaitable[IAccount]]
"""user, password -> account; raises AuthenticationFailed …"""
CramLogin = Callable[[str, CramCredentials], Awaitable[IAccount]]
TokenLogin = Callable[[str, str], Awaitable[IAccount]]
"""user, token -> account."""


@implementer(ISASLExchange)
class Plain:
    """RFC 4616. An authorization identity other than the user is refused: nobody is somebody else here."""

    def __init__(self, login: PasswordLogin) -> None:
        self._login = login

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        """One response has it all; without an initial one, an empty challenge asks for it."""
        if response is None:
            return b""
        fields = _text(response).split("\0")
        if len(fields) != 3 or not fields[1]:
            raise BadSyntax("PLAIN is [authzid] NUL user NUL password")
        authzid, user, password = fields
        if authzid and authzid.lower() != user.lower():
            raise AuthenticationFailed("nobody may log in for somebody else")
        return await self._login(user, password)


@implementer(ISASLExchange)
class Login:
    """draft-murchison-sasl-login-00: what old clients speak."""

    def __init__(self, login: PasswordLogin) -> None:
        self._login = login
        self._user: str | None = None

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        """The user's name, then the password."""
        if response is None:
            return b"Username:"
        if self._user is None:
            self._user = _text(response)
            return b"Password:"
        return await self._login(self._user, _text(response))


@implementer(ISASLExchange)
class CramMd5:
    """RFC 2195; see `IClearPasswords`."""

    _RESPONSE = re.compile(r"(.+) ([0-9a-f]{32})", re.DOTALL)

    def __init__(self, domain: str, login: CramLogin) -> None:
        self._challenge = f"<{token_hex(16)}@{domain or 'localhost'}>".encode()
        self._was_said = False
        self._login = login

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        """The server begins; then the user's name and the digest."""
        if not self._was_said:
            if response is not None:
                raise BadSyntax("CRAM-MD5 has no initial response")
            self._was_said = True
            return self._challenge
        match = self._RESPONSE.fullmatch(_text(response or b""))
        if match is None:
            raise BadSyntax("that is no CRAM-MD5 response")
        user, digest = match.groups()
        return await self._login(user, CramCredentials(user.encode(), self._challenge, digest.encode()))


@implementer(ISASLExchange)
class ScramSha256:
    """RFC 5802, RFC 7677, without channel binding.

    `find_keys` gives keys for any name, decoys too; `enter` is asked for the account when the proof was right, and
    `refuse` to make a wrong one wait: it raises AuthenticationFailed.
    """

    def __init__(
        self,
        find_keys: Callable[[str], Awaitable[ScramKeys]],
        enter: Callable[[str], Awaitable[IAccount]],
        refuse: Callable[[str], Awaitable[None]],
    ) -> None:
        self._find_keys = find_keys
        self._enter = enter
        self._refuse = refuse
        self._user = ""
        self._account: IAccount | None = None
        self._server = None

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        """client-first, client-final, and an empty response to the server's own proof."""
        if self._account is not None:
            if response:
                raise BadSyntax("nothing is left to say")
            return self._account
        if response is None:
            return b""
        text = _text(response)
        if self._server is None:
            return await self._first(text)
        return await self._final(text)

    async def _first(self, text: str) -> bytes:
        from scramp import ScramMechanism  # no small thing to import, and most clients never say SCRAM

        # It asks for keys while it reads the message; ours take a while. So it reads twice.
        names: list[str] = []
        mechanism = ScramMechanism("SCRAM-SHA-256")
        try:
            mechanism.make_server(lambda user: names.append(user)).set_client_first(text)
        except Exception as problem:
            if not names:
                raise BadSyntax("that is no SCRAM client-first-message") from problem
        self._user = names[0]
        keys = await self._find_keys(self._user)
        server = mechanism.make_server(lambda _: (keys.salt, keys.stored_key, keys.server_key, keys.iterations))
        try:
            server.set_client_first(text)
            challenge: str = server.get_server_first()
        except Exception as problem:
            raise BadSyntax("that is no SCRAM client-first-message") from problem
        self._server = server
        return challenge.encode()

    async def _final(self, text: str) -> bytes:
        assert self._server is not None
        try:
            self._server.set_client_final(text)
            proof: str = self._server.get_server_final()
        except Exception:
            # scramp has more ways to fail on hostile input than its own exception.
            await self._refuse(self._user)
            raise AuthenticationFailed("wrong proof") from None
        self._account = await self._enter(self._user)
        return proof.encode()


@implementer(ISASLExchange)
class Bearer:
    """XOAUTH2 (Google's) and OAUTHBEARER (RFC 7628).

    A refused token is answered with a challenge that says so in JSON; whatever the client says then ends it.
    """

    _USER = {"XOAUTH2": re.compile(r"user=([^\x01]*)\x01"), "OAUTHBEARER": re.compile(r"n,(?:a=([^,]*))?,\x01")}
    _TOKEN = re.compile(r"(?:\A|\x01)auth=bearer +([A-Za-z0-9._~+/-]+=*)\x01", re.IGNORECASE)

    def __init__(self, mechanism: str, login: TokenLogin) -> None:
        self._mechanism = mechanism
        self._login = login
        self._failed: AuthenticationFailed | None = None

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        """One response has it all."""
        if self._failed is not None:
            raise self._failed
        if response is None:
            return b""
        text = _text(response)
        user = self._USER[self._mechanism].match(text)
        token = self._TOKEN.search(text, user.end() - 1 if user else 0)
        if user is None or token is None or not text.endswith("\x01"):
            raise BadSyntax(f"that is no {self._mechanism} response")
        # RFC 5801 4: the name is escaped as in SCRAM.
        name = (user[1] or "").replace("=2C", ",").replace("=3D", "=")
        try:
            return await self._login(name, token[1])
        except AuthenticationFailed as problem:
            self._failed = problem
            if self._mechanism == "XOAUTH2":
                facts = {"status": "401", "schemes": "bearer", "scope": "mail"}
            else:
                facts = {"status": "invalid_token"}
            return json.dumps(facts).encode()


def _text(octets: bytes) -> str:
    if len(octets) > LONGEST:
        raise BadSyntax("the response is too long")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax("the response is not UTF-8") from None
