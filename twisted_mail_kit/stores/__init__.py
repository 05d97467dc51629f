"""Where mailboxes live: the change feed, the memory store, and sqlite/."""
