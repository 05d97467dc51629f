"""The example store keeps every promise of a store."""

from mailkit_example_store.store import ExampleStore

from twisted_mail_kit.testing.contracts import mail_store_contract

TestExampleStore = mail_store_contract(ExampleStore, persistent=True)
