"""All that is counted, but limits: each number's name, what it means, and its labels."""

from __future__ import annotations

from twisted_mail_kit.metrics.instruments import (
    FAST,
    Counter,
    Gauge,
    Histogram,
    Number,
    Spread,
    counters,
    counters_by,
    gauges,
    histograms,
)

# --- connections and sessions --------------------------------------------------------------------------------------
SESSIONS = counters("mailkit_sessions_total", "Connections that were accepted, by service.", "service")
SESSIONS_OPEN = gauges("mailkit_sessions_open", "Connections that are open now, by service.", "service")
TLS_SESSIONS = counters_by(
    "mailkit_tls_sessions_total",
    "TLS handshakes that clients have come through, by service and protocol version.",
    "service",
    "protocol",
)
LOGINS = counters_by(
    "mailkit_logins_total",
    "Logins, by service and outcome: ok, refused (wrong user or password), busy (too many at once), failed (could not"
    " be checked).",
    "service",
    "outcome",
)
PASSWORD_CHECKS = gauges(
    "mailkit_password_checks", "Passwords that are being checked now, by state: running or waiting.", "state"
)

# --- mail coming in ------------------------------------------------------------------------------------------------
MESSAGES = counters_by(
    "mailkit_messages_total",
    "Messages whose octets were received, by service and the class of our reply: 2xx (taken), 4xx, 5xx.",
    "service",
    "reply",
)
MESSAGE_BYTES = counters("mailkit_message_bytes_total", "Octets of messages that were taken, by service.", "service")
MESSAGE_RECIPIENTS = counters(
    "mailkit_message_recipients_total", "Recipients of messages that were taken, by service.", "service"
)
MESSAGE_SECONDS = histograms(
    "mailkit_message_seconds",
    "Seconds from a message's last octet to our reply: checks, scan, and until it is durable; by service.",
    "service",
)
SMTP_REFUSED = counters_by(
    "mailkit_smtp_refused_total",
    "Commands, messages among them, that were answered with an error, by service and class of the reply: 4xx, 5xx.",
    "service",
    "reply",
)
LOCAL_DELIVERIES = counters(
    "mailkit_local_deliveries_total",
    "Deliveries into mailboxes, by outcome: delivered, delayed, failed.",
    "outcome",
)

# --- IMAP and POP3 -------------------------------------------------------------------------------------------------
IMAP_COMMANDS = counters("mailkit_imap_commands_total", "IMAP commands, by name.", "command")
IMAP_REFUSED = counters("mailkit_imap_refused_total", "IMAP commands that were answered NO or BAD, by that.", "status")
IMAP_IDLING = Gauge("mailkit_imap_idling", "IMAP sessions that are in IDLE now.")
IMAP_VIEW_BYTES = Gauge("mailkit_imap_view_bytes", "Octets of memory that open mailboxes hold.")
POP3_COMMANDS = counters("mailkit_pop3_commands_total", "POP3 commands, by name.", "command")
POP3_RETRIEVED = Counter("mailkit_pop3_retrieved_total", "Messages that POP3 clients have retrieved.")
POP3_RETRIEVED_BYTES = Counter("mailkit_pop3_retrieved_bytes_total", "Octets of messages that were retrieved.")

# --- what is written: the store and the spool ----------------------------------------------------------------------
COMMITS = counters("mailkit_commits_total", "Transactions with their syncs, by what was written.", "store")
COMMIT_REQUESTS = histograms(
    "mailkit_commit_requests",
    "Requests that shared a transaction, by what was written.",
    "store",
    (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
COMMIT_SECONDS = histograms(
    "mailkit_commit_seconds", "Seconds of a transaction with its syncs, by what was written.", "store"
)
COMMIT_FAILURES = counters(
    "mailkit_commit_failures_total", "Transactions that were given up, by what was to be written.", "store"
)
READ_ONLY = gauges(
    "mailkit_read_only", "1: a sync has failed, and nothing is written until a restart; by what.", "store", "max"
)
HOUSEKEEPING = counters("mailkit_housekeeping_total", "Rounds of housekeeping, by where.", "store")
FREED_BYTES = Counter("mailkit_store_freed_bytes_total", "Octets of files that the store has given back.")
STORE_BYTES = gauges("mailkit_store_bytes", "Octets of the store's files, by kind: segments, index.", "kind")
DISK_BYTES = gauges("mailkit_state_disk_bytes", "Octets of the state folder's disk, by state: free, all.", "state")

# --- mail going out ------------------------------------------------------------------------------------------------
_SOON = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0, 5 * 24 * 3600.0)

QUEUE_MESSAGES = Gauge("mailkit_queue_messages", "Messages in the queue.")
QUEUE_BYTES = Gauge("mailkit_queue_bytes", "Octets of the messages in the queue.")
QUEUE_RECIPIENTS = gauges(
    "mailkit_queue_recipients",
    "Recipients in the queue, by state: due (now, or being tried), waiting (for the next try), held.",
    "state",
)
QUEUE_OLDEST = Gauge("mailkit_queue_oldest_seconds", "Seconds that the oldest message is in the queue; 0: it is empty.")
QUEUE_DESTINATIONS = gauges(
    "mailkit_queue_destinations",
    "Destinations that something was sent to lately, by state: alive, dead (left alone for now).",
    "state",
)
QUEUE_RUNNING = Gauge("mailkit_queue_attempts_running", "Attempts that are being made now.")
QUEUE_MEMORY = Gauge("mailkit_queue_memory_bytes", "Octets of messages that wait in memory for their first attempt.")
QUEUE_ATTEMPTS = Counter("mailkit_queue_attempts_total", "Attempts: one message to one destination.")
QUEUE_OUTCOMES = counters(
    "mailkit_queue_outcomes_total",
    "What attempts have brought, a recipient each, by outcome: delivered, delayed, failed.",
    "outcome",
)
QUEUE_SECONDS = Histogram(
    "mailkit_queue_delivery_seconds", "Seconds from a message's acceptance to its delivery, a recipient each.", _SOON
)
QUEUE_REPORTS = counters(
    "mailkit_queue_reports_total", "Reports to senders, by outcome: delivered, delayed, failed.", "outcome"
)
RELAY_CONNECTIONS = Gauge("mailkit_relay_connections_open", "Connections to other servers that are open now.")
RELAY_IDLE = Gauge("mailkit_relay_connections_idle", "Those of them that wait for another message.")
RELAY_SESSIONS = counters(
    "mailkit_relay_sessions_total",
    "Sessions with other servers, by TLS: none, opportunistic, encrypt, pkix, mta-sts, mta-sts testing, dane.",
    "tls",
)
RELAY_FAILURES = counters(
    "mailkit_relay_failures_total",
    "Servers that could not be spoken with, by step: connect, session (greeting, EHLO, TLS, login), message.",
    "step",
)
DNS_LOOKUPS = counters(
    "mailkit_dns_lookups_total",
    "Lookups, by outcome: remembered, found, nothing (no such name or record), failed (no answer).",
    "outcome",
)

# --- the process ---------------------------------------------------------------------------------------------------
LOOP_LAG = Histogram(
    "mailkit_loop_lag_seconds",
    "Seconds by which the reactor was late: looked at each second, less often while there is nothing to do.",
    FAST,
)
BUILD = gauges("mailkit_build_info", "1; its label is the version.", "version", "max")
CERTIFICATE = gauges(
    "mailkit_certificate_expiry_timestamp_seconds",
    "When the certificate of that kind ends, in seconds since 1970; kind: tls ([tls]).",
    "kind",
    "min",
)
RELOADS = counters("mailkit_reloads_total", "Reloads of the configuration, by outcome: ok, refused.", "outcome")
WORKERS = Gauge("mailkit_workers", "Worker processes that answer; 0 where one process does it all.")
WORKER_RESTARTS = Counter("mailkit_worker_restarts_total", "Worker processes that were started again.")


class Received:
    """The numbers of one service's messages, at hand."""

    __slots__ = ("octets", "recipients", "replies", "seconds")

    def __init__(self, service: str) -> None:
        self.replies: dict[int, Number] = {n: MESSAGES[service, f"{n}xx"] for n in (2, 4, 5)}
        self.octets = MESSAGE_BYTES[service]
        self.recipients = MESSAGE_RECIPIENTS[service]
        self.seconds: Spread = MESSAGE_SECONDS[service]

    def count(self, code: int, octets: int, recipients: int, seconds: float) -> None:
        """A message was answered with that code. Hot path."""
        self.seconds.add(seconds)
        self.replies[code // 100].value += 1
        if code < 300:
            self.octets.value += octets
            self.recipients.value += recipients


class _Services(dict[str, Received]):
    def __missing__(self, service: str) -> Received:
        made = self[service] = Received(service)
        return made


RECEIVED = _Services()
"""By service."""


class Commits:
    """The numbers of one writer thread, at hand."""

    __slots__ = ("commits", "failures", "housekeeping", "requests", "seconds")

    def __init__(self, store: str) -> None:
        self.commits = COMMITS[store]
        self.requests: Spread = COMMIT_REQUESTS[store]
        self.seconds: Spread = COMMIT_SECONDS[store]
        self.failures = COMMIT_FAILURES[store]
        self.housekeeping = HOUSEKEEPING[store]

    def count(self, requests: int, seconds: float) -> None:
        """A transaction is over."""
        self.commits.value += 1
        self.requests.add(requests)
        self.seconds.add(seconds)
