"""Announces the store plugin "example"."""

from twisted_mail_kit.plugin import Plugin

example_store = Plugin(
    kind="store",
    name="example",
    factory="mailkit_example_store.make_store",
    options="mailkit_example_store.Options",
    description="Mail in one SQLite file",
)
