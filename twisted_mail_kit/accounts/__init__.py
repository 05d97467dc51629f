"""Who has which address: users, aliases, plus-addressing, catch-all."""
