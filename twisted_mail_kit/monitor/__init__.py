"""The numbers of a running server, for those who watch it: gathered, added up, and offered."""
