"""SEARCH beside a Dovecot that has a full-text index too: fts_xapian, as Debian has it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.dovecot import DovecotMdbox, dovecots
from bench.effort import Effort
from bench.imap import LEARNED, Client, duration, fill, unsynced
from bench.servers import Ours, Server, running
from bench.table import Table, goals, note
from bench.text import OFTEN, RARE

SEARCHES = (
    ("SEARCH TEXT of a word that one message has", b"TEXT " + RARE, 1),
    ("SEARCH BODY of two words, one of them rare", b"BODY " + OFTEN + b" BODY " + RARE, None),
    ("SEARCH TEXT of a word that most messages have", b"TEXT harbour", None),
)


XAPIAN = """
mail_plugins = fts fts_xapian
plugin {
  fts = xapian
  fts_xapian = partial=3 full=20 verbose=0
  fts_autoindex = no
  fts_enforced = yes
}
service indexer-worker {
  vsz_limit = 0
}
"""


class DovecotXapian(DovecotMdbox):
    """With an index of parts of words, from three letters on, so that it finds what IMAP asks for, within words too."""

    name = "Dovecot mdbox with fts_xapian"

    def make_durable(self) -> None:
        """From here on there is the index: it is made by the first search."""
        self.more = XAPIAN
        super().make_durable()


def has_xapian() -> bool:
    """Debian: dovecot-fts-xapian."""
    return bool(dovecots()) and Path("/usr/lib/dovecot/modules/lib21_fts_xapian_plugin.so").exists()


def fulltext(effort: Effort) -> None:
    """Both have made their index before anything is measured."""
    kinds: list[type[Server]] = [Ours, *([DovecotXapian] if has_xapian() else [])]
    names = [kind.name for kind in kinds]
    table = Table(f"SEARCH in {effort.mailbox:,} messages of 2 KB", *names, "ours is", *(f"CPU {one}" for one in names))
    with running(*map(unsynced, kinds)) as servers:
        for server in servers:
            fill(server, effort.mailbox)
        clients = [Client(server) for server in servers]
        for client in clients:
            _learn(client)
        for what, keys, goal in SEARCHES:
            times: dict[str, list[float]] = {name: [] for name in names}
            costs = dict.fromkeys(names, 0.0)
            for _ in range(effort.rounds):
                for client in clients:
                    cpu, began = client.server.cpu(), time.monotonic()
                    for _ in range(5):
                        client.line.ask(b"SEARCH " + keys)
                    times[client.server.name].append((time.monotonic() - began) / 5)
                    costs[client.server.name] += (client.server.cpu() - cpu) / 5 / effort.rounds
            took = [statistics.median(times[name]) for name in names]
            ratio = f"{took[1] / took[0]:.2f}x" if len(took) > 1 else ""
            if goal and len(took) > 1:
                goals.at_least(f"IMAP {what}, against Dovecot with FTS", goal, took[1] / took[0])
            table.row(what, *map(duration, took), ratio, *(duration(costs[name]) for name in names))
        for client in clients:
            client.line.close()
    note("Theirs is made by the first search, which waits for it; ours in the background after the first.")


def _learn(client: Client) -> None:
    """Let the index be made; theirs takes minutes."""
    client.line.socket.settimeout(600)
    until = time.monotonic() + LEARNED
    for _, keys, _ in SEARCHES:
        client.line.ask(b"SEARCH " + keys)
    while isinstance(client.server, Ours) and time.monotonic() < until:
        time.sleep(0.5)
        client.line.ask(b"SEARCH " + SEARCHES[0][1])
