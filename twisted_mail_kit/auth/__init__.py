"""Who is it: twisted.cred checkers, the realm, and the doorkeeper that slows guessing."""
