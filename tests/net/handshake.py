"""A TLS handshake in memory."""

from __future__ import annotations

from OpenSSL import SSL


def shake_hands(client: SSL.Connection, server: SSL.Connection, turns: int = 10) -> None:
    """Let both say what they have to say, so many times at most. Raises SSL.Error where one refuses the other."""
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(turns):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(100_000))
            except SSL.WantReadError:
                pass
