"""A mail system made of doors: SMTP, submission, LMTP, POP3 and IMAP on Twisted, every part a plugin."""

from twisted_mail_kit._version import __version__

__all__ = ["__version__"]
