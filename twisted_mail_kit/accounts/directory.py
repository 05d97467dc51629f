"""Who has which address: users, aliases, plus-addressing, catch-all, postmaster."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.accounts.aliases import check_aliases, normal_name, read_aliases
from twisted_mail_kit.accounts.names import account_name, canonical_domain
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import IAccounts, IPasswords
from twisted_mail_kit.mail.address import Address, parse_address
from twisted_mail_kit.mail.destination import Alias, Destination, Local

Users = Collection[str] | Callable[[str], bool | Awaitable[bool]]
_DEEP = 10
_WIDE = 1000


@implementer(IAccounts)
class Directory:
    """Looks an address up in this order: alias of the whole address, alias of the local part in every domain, user;
    then the same without the ``+detail``; then postmaster; then what the domain catches.

    Accounts are full addresses in lower case: ``joe@example.org``. The local parts of our own users are compared
    without regard to case. `users` is a collection of names, or a function (async or not) that says whether a name is
    one; with `passwords`, whoever may log in is a user. An alias that has the same name as a user and leads to itself
    too (``joe: joe, archive``) leaves joe his copy.

    Raises ConfigurationError, with all that is wrong.
    """

    log = Logger()

    def __init__(
        self,
        domains: Sequence[str],
        users: Users = (),
        aliases: Mapping[str, Sequence[str] | str] | None = None,
        catch_all: Mapping[str, str] | None = None,
        separator: str = "+",
        postmaster: str = "",
        aliases_file: Path | None = None,
        passwords: IPasswords | None = None,
    ) -> None:
        self.domains = {canonical_domain(domain): domain.lower().removesuffix(".") for domain in domains}
        self.default_domain = next(iter(self.domains.values()), "")
        self.separator = separator
        if passwords is not None:
            users = getattr(passwords, "is_user", None) or _Listed(passwords)
        self._is_user = users if callable(users) else self._collected(users)
        self._table = {name: (to,) if isinstance(to, str) else tuple(to) for name, to in (aliases or {}).items()}
        self._table |= {f"@{domain}": (target,) for domain, target in (catch_all or {}).items()}
        self._file = aliases_file
        self._aliases: dict[str, tuple[str, ...]] = {}
        self.reload()
        problems = check_aliases({"postmaster": (postmaster,)}) if postmaster else []
        if problems:
            raise ConfigurationError(problems)
        self._postmaster = postmaster

    def reload(self) -> None:
        """Read the aliases file again. On any error the old aliases stay, and ConfigurationError is raised."""
        table = self._table | (read_aliases(self._file) if self._file is not None else {})
        problems = check_aliases(table)
        for name in table:
            _, at, domain = name.rpartition("@")
            if at and canonical_domain(domain) not in self.domains:
                problems.append(f'the alias "{name}" is in a domain that is not ours')
        if problems:
            raise ConfigurationError(problems)
        self._aliases = {normal_name(name): targets for name, targets in table.items()}

    async def lookup(self, address: Address) -> Destination | None:
        """Local, Alias, or None: nobody has it."""
        local = unicodedata.normalize("NFC", address.local)
        if not address.domain and local.lower() == "postmaster":
            domain = canonical_domain(self.default_domain)
        else:
            domain = canonical_domain(address.domain)
        if domain not in self.domains or not local:
            return None
        found = await self._find(local.lower(), "", domain)
        if found is None and self.separator:
            base, _, detail = local.partition(self.separator)
            if base and len(base) < len(local):
                found = await self._find(base.lower(), detail, domain)
        if found is not None:
            return found
        if local.lower() == "postmaster":
            return self._to_postmaster()
        targets = self._aliases.get(f"@{domain}")
        return self._alias(targets, local, domain, None) if targets else None

    async def may_send_as(self, account: str, sender: Address) -> bool:
        """The address is the account's own, or leads to it, over aliases too."""
        seen: set[Address] = set()
        layer = [sender]
        for _ in range(_DEEP):
            following: list[Address] = []
            for address in layer:
                if address in seen or len(seen) > _WIDE:
                    continue
                seen.add(address)
                destination = await self.lookup(address)
                if isinstance(destination, Alias):
                    if destination.keep is not None and destination.keep.account == account:
                        return True
                    following += destination.targets
                elif destination is not None and destination.account == account:
                    return True
            layer = following
        return False

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _find(self, local: str, detail: str, domain: str) -> Destination | None:
        name = f"{local}@{self.domains[domain]}"
        targets = self._aliases.get(f"{local}@{domain}") or self._aliases.get(local)
        is_user = self._is_user(name)
        if inspect.isawaitable(is_user):
            is_user = await is_user
        own = Local(name, detail) if is_user else None
        return self._alias(targets, local, domain, own) if targets else own

    def _alias(self, targets: Sequence[str], local: str, domain: str, own: Local | None) -> Alias:
        addresses: list[Address] = []
        keep = None
        for target in targets:
            if target.startswith("@"):
                address = Address(local, target[1:].lower())
            elif "@" in target:
                address = parse_address(target)
            else:
                address = Address(target, self.domains[domain])
            is_itself = address.local.lower() == local and canonical_domain(address.domain) == domain
            if own is not None and is_itself:
                keep = own
            else:
                addresses.append(address)
        return Alias(tuple(addresses), keep)

    def _to_postmaster(self) -> Destination:
        if not self._postmaster:
            return Local(f"postmaster@{self.default_domain}")
        return self._alias((self._postmaster,), "postmaster", canonical_domain(self.default_domain), None)

    def _collected(self, users: Collection[str]) -> Callable[[str], bool]:
        names = frozenset(account_name(user, self.default_domain) for user in users)
        return names.__contains__


class _Listed:
    """Asks an IPasswords that can only list its users."""

    def __init__(self, passwords: IPasswords) -> None:
        self._passwords = passwords

    async def __call__(self, name: str) -> bool:
        return name in await self._passwords.user_names()
