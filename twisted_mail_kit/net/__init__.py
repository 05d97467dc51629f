"""The seam to Twisted's transports: events in, octets out, at the peer's pace."""
