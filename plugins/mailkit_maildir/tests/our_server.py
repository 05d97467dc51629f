"""Our server with the Maildir++ store, in the reactor of the tests."""

from imapclient import IMAPClient
from mailkit_maildir import Options
from mailkit_maildir.store import MaildirStore
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse

from twisted_mail_kit import MailKit
from twisted_mail_kit.testing.contracts.promise import running_reactor

USERS = ("joe", "ida", "eve", "max", "amy", "kim")


class Ours:
    """``async with Ours(root) as ours``; its clients block, so they belong into threads."""

    def __init__(self, root, **options):
        self.store = MaildirStore(
            root, running_reactor(), Options(lock_timeout=5, layout="{local}", **options), "example.org"
        )
        checker = InMemoryUsernamePasswordDatabaseDontUse(**{f"{user}@example.org": b"secret" for user in USERS})
        self.kit = MailKit(hostname="mail.example.org", domains=["example.org"], store=self.store, auth=checker)
        self.kit.listen("imap", "tcp:0:interface=127.0.0.1")

    async def __aenter__(self):
        self.kit.startService()
        (listener,) = await self.kit.ready
        self.port = listener.port
        return self

    async def __aexit__(self, *_):
        await self.kit.stopService()

    def client(self, user):
        client = IMAPClient("127.0.0.1", self.port, ssl=False, timeout=20)
        client.login(f"{user}@example.org", "secret")
        return client
