"""The client's half of SMTP and LMTP: one connection to the next server."""
