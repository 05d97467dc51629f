"""Every limit that has bitten, each with its number; `LIMITS[name]` says what the limit is."""

from __future__ import annotations

from twisted_mail_kit.metrics.instruments import Number, counters

REACHED = counters("mailkit_limit_reached_total", "Times that a limit was reached, by limit.", "limit")
LIMITS: dict[str, str] = {}
"""Name -> what it is, and the setting."""


def _limit(name: str, text: str) -> Number:
    LIMITS[name] = text
    return REACHED[name]


# --- connections ---------------------------------------------------------------------------------------------------
CONNECTIONS_PER_ADDRESS = _limit(
    "connections_per_address", "connections from one address at the same time (`connections.per_address`)"
)
CONNECTIONS_PER_LISTENER = _limit(
    "connections_per_listener", "connections of a listener, after which accepting pauses (`connections.per_listener`)"
)
CONNECTIONS_PER_MINUTE = _limit(
    "connections_per_minute", "new connections from one address within a minute (`connections.per_minute`)"
)
OUTPUT_WAITING = _limit("output_waiting", "octets that wait for a slow reader: the session waits for it")

# --- SMTP, submission, LMTP ----------------------------------------------------------------------------------------
SMTP_LINE = _limit("smtp_line", "octets of a command line (`line_length`)")
SMTP_TEXT_LINE = _limit("smtp_text_line", "octets of a line in a submitted message (`[delivery] longest_line`)")
SMTP_ERRORS = _limit("smtp_errors", "errors of a connection (`errors`)")
SMTP_UNKNOWN_COMMANDS = _limit("smtp_unknown_commands", "unknown commands of a connection (`unknown_commands`)")
SMTP_JUNK_COMMANDS = _limit("smtp_junk_commands", "commands without a message on a connection (`junk_commands`)")
SMTP_MESSAGES = _limit("smtp_messages", "messages of a connection (`messages`)")
SMTP_MESSAGES_PER_MINUTE = _limit(
    "smtp_messages_per_minute", "messages from one address within a minute (`messages_per_minute`)"
)
SMTP_RECIPIENTS = _limit("smtp_recipients", "recipients of a message (`recipients`)")
SMTP_RECIPIENTS_PER_MINUTE = _limit(
    "smtp_recipients_per_minute", "recipients from one address within a minute (`recipients_per_minute`)"
)
SMTP_MESSAGE_SIZE = _limit("smtp_message_size", "octets of a message (`message_size`)")
SMTP_TIME_TO_GREET = _limit("smtp_time_to_greet", "seconds until EHLO (`time_to_greet`)")
SMTP_TIME_BETWEEN_COMMANDS = _limit(
    "smtp_time_between_commands", "seconds between two commands (`time_between_commands`)"
)
SMTP_TIME_IN_DATA = _limit("smtp_time_in_data", "seconds of silence within a message (`time_in_data`)")
SMTP_TIME_FOR_MESSAGE = _limit("smtp_time_for_message", "seconds for a whole message (`time_for_message`)")

# --- messages ------------------------------------------------------------------------------------------------------
HEADER_SECTION = _limit(
    "header_section", "octets, or fields, of a header section (`[delivery] header_size`, `header_fields`)"
)
HOPS = _limit("hops", "Received fields of a message (`[delivery] hops`)")
MIME = _limit("mime", "parts, depth or parameters of a message that is scanned: the rest is one opaque part")
LOW_DISK = _limit("low_disk", "free room on the state folder's disk (`[[check]] low-disk`)")

# --- IMAP ----------------------------------------------------------------------------------------------------------
IMAP_LINE = _limit("imap_line", "octets of a command without its literals (`line_size`)")
IMAP_LITERAL = _limit("imap_literal", "octets of a literal in a command (`literal_size`)")
IMAP_MESSAGE_SIZE = _limit("imap_message_size", "octets of APPEND's message (`message_size`)")
IMAP_NESTING = _limit("imap_nesting", "parentheses within each other, levels of a part number (`nesting`)")
IMAP_SEARCH_KEYS = _limit("imap_search_keys", "keys of a SEARCH (`search_keys`)")
IMAP_SET_RANGES = _limit("imap_set_ranges", "ranges of a sequence set (`set_ranges`)")
IMAP_WILDCARDS = _limit("imap_wildcards", "wildcards of a LIST (`list_wildcards`)")
IMAP_SESSIONS_PER_ACCOUNT = _limit(
    "imap_sessions_per_account", "sessions of one account at the same time (`sessions_per_account`)"
)
IMAP_LOGIN_TIME = _limit("imap_login_time", "seconds until the login (`login_time`)")
IMAP_IDLE_TIME = _limit("imap_idle_time", "seconds of silence after login (`idle_time`)")
IMAP_BAD_COMMANDS = _limit(
    "imap_bad_commands", "commands that were refused in a row (`bad_commands`, `bad_commands_before_login`)"
)
IMAP_MAILBOXES = _limit("imap_mailboxes", "mailboxes of an account (`mailboxes`)")
IMAP_KEYWORDS = _limit("imap_keywords", "keywords of an account, or characters of one (`keywords`, `keyword_length`)")
IMAP_NAME = _limit("imap_name", "levels of a mailbox name, or octets of one (`name_depth`, `name_length`)")
IMAP_VIEWS = _limit("imap_views", "octets that open mailboxes hold in memory (`views`)")

# --- POP3 ----------------------------------------------------------------------------------------------------------
POP3_LINE = _limit("pop3_line", "octets of a command (`line_length`)")
POP3_ERRORS = _limit("pop3_errors", "errors of a connection (`errors`)")
POP3_LOGIN_TIME = _limit("pop3_login_time", "seconds until the login (`login_time`)")
POP3_IDLE_TIME = _limit("pop3_idle_time", "seconds of silence after login (`idle_time`)")

# --- logins --------------------------------------------------------------------------------------------------------
LOGINS_AT_ONCE = _limit("logins_at_once", "passwords that are checked at the same time (`[auth] threads`): one waits")
LOGINS_WAITING = _limit("logins_waiting", "logins that wait for their check (`[auth] waiting`): one is refused")
LOGINS_FAILING = _limit(
    "logins_failing", "failed logins of one address that wait for their answer (`[login] failing_at_once`)"
)

# --- the queue -----------------------------------------------------------------------------------------------------
QUEUE_AGE = _limit("queue_age", "seconds that a recipient may be in the queue (`[queue] age`): it is given up")
QUEUE_DELAY_NOTICE = _limit("queue_delay_notice", "seconds until a sender is told of the delay (`delay_notice`)")
QUEUE_ATTEMPTS = _limit("queue_attempts", "attempts at the same time (`attempts`): others wait")
QUEUE_DESTINATION = _limit(
    "queue_destination", "attempts at the same time for one destination (`destination_most`): another one waits"
)
