"""One file a command: what each IMAP command does."""
