"""IMAP4rev1."""
