"""Announces the Maildir++ store: ``[store] plugin = "maildir"``."""

from twisted_mail_kit.plugin import Plugin

maildir_store = Plugin(
    kind="store",
    name="maildir",
    factory="mailkit_maildir.make_store",
    options="mailkit_maildir.Options",
    description="Mail in a Maildir++ tree, as Dovecot keeps it",
)
