"""POP3's octets to values and back; no transport, no clock."""
