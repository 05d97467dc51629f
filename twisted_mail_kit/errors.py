"""What can go wrong, in mail words. Each protocol's outcomes.py knows how its clients are told."""

from __future__ import annotations

from twisted_mail_kit.mail.outcome import Status


class MailError(Exception):
    """Something that mail people have a word for. The text is for logs; it never reaches a client as it is."""


class Unavailable(MailError):
    """Not now: a lock, a disk, a database. Nothing was changed. Every *unknown* exception counts as this one."""


class AccountNotFound(MailError):
    """No such account in the store."""


class AccountExists(MailError):
    """An account of that name is there already."""


class MailboxNotFound(MailError):
    """No such mailbox in the account."""


class MailboxExists(MailError):
    """The name, or the role, belongs to another mailbox of the account."""


class MessageNotFound(MailError):
    """No such message (any more)."""


class BlobNotFound(MailError):
    """No such octets in this account (any more)."""


class Forbidden(MailError):
    """The store never does that: delete the inbox, for one."""


class StateMismatch(MailError):
    """`if_state` is not the account's modseq: someone else was quicker."""


class StateTooOld(MailError):
    """The store no longer remembers what changed since then: synchronise from the beginning."""


class OverQuota(MailError):
    """No room: the account's quota, or the disk."""


class LimitReached(MailError):
    """One of the server's limits. `limit` names it, in words that stay as they are: what is counted goes by them."""

    def __init__(self, limit: str = "") -> None:
        super().__init__(limit)
        self.limit = limit


class AuthenticationFailed(MailError):
    """Wrong password or unknown user: the two are never told apart."""


class TooManyLogins(Unavailable):
    """More logins at once than the server checks passwords for; or this address, or account, has to wait."""


class MechanismNotSupported(MailError):
    """No such SASL mechanism here."""


class BadSyntax(MailError, ValueError):
    """What was sent is not of the form that it must have; the text says where."""


class Refused(MailError):
    """Never: by a check, a route, an unknown recipient."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"{status.code} {status.text}")
        self.status = status


class TryLater(MailError):
    """Not now: by a check or a route."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"{status.code} {status.text}")
        self.status = status


class ConnectionEnded(MailError):
    """The peer is gone."""


class ResolutionFailed(Unavailable):
    """DNS gave no answer, or none that can be trusted. A name that is not there is no failure but an answer."""


class ConfigurationError(MailError):
    """The configuration cannot be used; `problems` says all that is wrong with it, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PluginNotFound(ConfigurationError):
    """No plugin of that kind and name."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])
