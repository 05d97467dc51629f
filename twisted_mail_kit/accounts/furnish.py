"""The folders that a new account begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twisted_mail_kit.errors import MailboxExists
from twisted_mail_kit.interfaces import IAccount
from twisted_mail_kit.mail.operations import CreateMailbox

FOLDERS: Final[Mapping[str, str]] = {
    "Drafts": "drafts",
    "Sent": "sent",
    "Trash": "trash",
    "Junk": "junk",
    "Archive": "archive",
}
"""Name to role (RFC 6154, RFC 8621)."""


async def furnish(account: IAccount, folders: Mapping[str, str] = FOLDERS) -> bool:
    """Make these folders in an account that has nothing but its inbox. Says whether it did.

    All or none; two logins at the same time make them once. An account whose owner has thrown them away before is
    left alone for as long as it has any folder of its own.
    """
    if len(await account.mailboxes()) != 1 or not folders:
        return False
    try:
        await account.apply([CreateMailbox((name,), role) for name, role in folders.items()])
    except MailboxExists:
        return False  # another login was quicker
    return True
