"""One SMTP, submission or LMTP connection."""

from twisted_mail_kit.smtp.session.session import SMTPSession

__all__ = ["SMTPSession"]
