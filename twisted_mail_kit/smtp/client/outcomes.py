"""What another server's replies mean for recipients and for the connection."""

from __future__ import annotations

from twisted_mail_kit.errors import MailError
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.smtp.wire.replies import Reply
from twisted_mail_kit.smtp.wire.replyparser import in_one_line


class HostFailed(MailError):
    """It is the connection that failed, or the host, not the message or a recipient: the next host may do better.

    `is_permanent` where the host said 5xx to our face, `is_tls` where the handshake or what it needs is the problem.
    """

    def __init__(self, status: Status, is_permanent: bool = False, is_tls: bool = False) -> None:
        super().__init__(f"{status.remote}: {status.code} {status.text}")
        self.status = status
        self.is_permanent = is_permanent
        self.is_tls = is_tls

    @property
    def outcome(self) -> Outcome:
        """For recipients for whom there is no other host."""
        return Failed(self.status) if self.is_permanent else Delayed(self.status)


def status_of(reply: Reply, remote: str) -> Status:
    """Its codes and its words. Where it has no enhanced code, there is one that says only the class."""
    return Status(reply.enhanced or f"{reply.code // 100}.0.0", in_one_line(reply), reply.code, remote)


def outcome_of(reply: Reply, remote: str) -> Outcome:
    """2xx, 4xx, 5xx; nothing else decides. A 3xx where none can be is a reply that nobody understands."""
    status = status_of(reply, remote)
    if reply.code < 300:
        return Delivered(status)
    if reply.code >= 500:
        return Failed(status)
    if reply.code >= 400:
        return Delayed(status)
    return Delayed(Status("4.5.0", f"Unexpected reply {reply.code} {status.text}".rstrip(), 0, remote))


def recipient_outcome(reply: Reply, remote: str) -> Outcome:
    """The answer to RCPT, when it is no."""
    # RFC 5321 4.5.3.1.10: a client has to take 552 for 452 here.
    if reply.code == 552 and reply.enhanced in ("", "5.5.3"):
        status = status_of(reply, remote)
        return Delayed(status._replace(code="4.5.3"))
    return outcome_of(reply, remote)


def is_one_too_many(reply: Reply) -> bool:
    """The transaction has as many recipients as the server takes; the others may come in the next one."""
    return (reply.code in (452, 552) and reply.enhanced == "") or reply.enhanced in ("4.5.3", "5.5.3")


def host_failed(reply: Reply, remote: str) -> HostFailed:
    """A no to the connection as a whole."""
    status = status_of(reply, remote)
    if reply.code < 400:
        status = Status("4.5.0", f"Unexpected reply {reply.code} {status.text}".rstrip(), 0, remote)
    return HostFailed(status, is_permanent=reply.code >= 500)
