"""The store keeps every promise of a store."""

from mailkit_example_store.store import ExampleStore

from twisted_mail_kit.testing.contracts import mail_store_contract

TestExampleStore = mail_store_contract(ExampleStore, persistent=True)
# It can do 100,000, in a minute: MAILKIT_MANY=100000 pytest -k large_mailbox
TestExampleStore.many = 10_000
