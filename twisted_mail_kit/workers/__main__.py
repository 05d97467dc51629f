"""`python -m twisted_mail_kit.workers`: a worker, as the owner starts it; of no use by hand."""

from __future__ import annotations

from twisted.internet.task import react

from twisted_mail_kit.workers.worker import work

if __name__ == "__main__":
    react(work)
