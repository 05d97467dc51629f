"""Announces the bundled plugins. They come in by the same door as anybody's; names in here never change."""

from twisted_mail_kit.plugin import Plugin

memory = Plugin(
    kind="store",
    name="memory",
    factory="twisted_mail_kit.stores.plugins.memory",
    description="Everything in memory, gone at the end: for tests and trials",
)
sqlite = Plugin(
    kind="store",
    name="sqlite",
    factory="twisted_mail_kit.stores.plugins.sqlite",
    options="twisted_mail_kit.stores.sqlite.settings.SQLiteSettings",
    description="The embedded default: segment logs and SQLite below the state folder",
)
passwords = Plugin(
    kind="auth",
    name="passwords",
    factory="twisted_mail_kit.auth.plugin.passwords",
    options="twisted_mail_kit.auth.settings.PasswordFileSettings",
    description="Users and argon2id hashes in a file; what `mailkit user` looks after",
)
directory = Plugin(
    kind="accounts",
    name="directory",
    factory="twisted_mail_kit.accounts.plugin.directory",
    options="twisted_mail_kit.accounts.settings.DirectorySettings",
    description="The users of the auth plugin, aliases, plus-addressing, catch-all",
)
low_disk = Plugin(
    kind="check",
    name="low-disk",
    factory="twisted_mail_kit.checks.plugin.low_disk",
    options="twisted_mail_kit.checks.settings.LowDiskSettings",
    description="Puts mail off while the disk is nearly full; asked in any case",
)
sender_identity = Plugin(
    kind="check",
    name="sender-identity",
    factory="twisted_mail_kit.checks.plugin.sender_identity",
    options="twisted_mail_kit.checks.settings.SenderIdentitySettings",
    description="Holds submissions to the addresses of their login; asked in any case",
)
sqlite_spool = Plugin(
    kind="spool",
    name="sqlite",
    factory="twisted_mail_kit.queue.plugin.sqlite",
    options="twisted_mail_kit.queue.sqlite.settings.SpoolSettings",
    description="The queue's embedded default: SQLite below the state folder",
)
mounted_mailboxes = Plugin(
    kind="store",
    name="twisted-mail",
    factory="twisted_mail_kit.adapters.plugin.mailboxes",
    options="twisted_mail_kit.adapters.settings.MailboxSettings",
    description="Maildrops of an existing twisted.mail IMailboxPOP3 realm: POP3 only",
)
mounted_logins = Plugin(
    kind="auth",
    name="twisted-cred",
    factory="twisted_mail_kit.adapters.plugin.logins",
    options="twisted_mail_kit.adapters.settings.LoginsSettings",
    description="An existing twisted.cred checker or portal",
)
mounted_delivery = Plugin(
    kind="delivery",
    name="twisted-mail",
    factory="twisted_mail_kit.adapters.plugin.delivery",
    options="twisted_mail_kit.adapters.settings.MessageDeliverySettings",
    description="An existing twisted.mail IMessageDelivery, or factory of them",
)
