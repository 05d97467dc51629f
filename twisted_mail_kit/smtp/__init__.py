"""SMTP, submission and LMTP."""
