"""Announces the `twistd mailkit` command."""

from twisted.application.service import ServiceMaker

mailkit = ServiceMaker(
    "twisted_mail_kit",
    "twisted_mail_kit.tap",
    "A mail server: SMTP, submission, LMTP, POP3 and IMAP",
    "mailkit",
)
