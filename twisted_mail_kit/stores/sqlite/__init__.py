"""The embedded store: bodies in segment logs, the index in SQLite."""
