"""What comes of an HTTPS GET; here, so that who takes it need not import twisted.web with `net.fetch`."""

from __future__ import annotations

from typing import NamedTuple

from twisted_mail_kit.errors import Unavailable


class FetchFailed(Unavailable):
    """It could not be had; the text says why in a few words."""


class Fetched(NamedTuple):
    """A page that came with status 200."""

    content_type: str
    """Media type without parameters, lower case; empty: not said."""
    body: bytes
