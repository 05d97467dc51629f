"""The operator's hands: verbs for a running server, or for its files."""
