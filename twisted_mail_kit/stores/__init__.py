"""Where mailboxes live: the memory store, sqlite/, a ledger for other databases, and the change feed."""
