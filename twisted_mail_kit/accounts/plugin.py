"""The bundled accounts plugin: called as ``factory(options, context)``."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.accounts.settings import DirectorySettings


def directory(options: DirectorySettings, context: Any) -> Directory:
    """`directory`. Its users are those of `context.passwords`, where there are such; else there are aliases only."""
    return Directory(
        domains=tuple(context.domains),
        passwords=getattr(context, "passwords", None),
        aliases=options.aliases,
        catch_all=options.catch_all,
        separator=options.separator,
        postmaster=options.postmaster,
        aliases_file=context.state_dir / options.aliases_file if options.aliases_file else None,
    )
