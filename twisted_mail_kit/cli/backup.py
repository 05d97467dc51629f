"""`mailkit backup`: copy the store, the queue and the small files beside them while they are in use."""

from __future__ import annotations

import os
from pathlib import Path

import click

from twisted_mail_kit.cli.asking import Obj
from twisted_mail_kit.cli.fsck import _store_folder
from twisted_mail_kit.cli.store import Found, as_json, ask, tell
from twisted_mail_kit.control.place import LOCK, take_lock


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@as_json
@click.pass_obj
def noun(obj: Obj, directory: Path, as_json: bool) -> None:
    """Copy the store while it is in use into DIRECTORY: a new one, or one with an earlier backup, which is brought up
    to date.

    The server's user has to be allowed to write there. Exit codes: 0 it was done, 1 it was not, or something was left
    out.
    """
    directory = directory.absolute()
    found = ask(obj, "store.backup", lambda state: _backup(state, directory), directory=str(directory))
    tell(found, as_json)


def _backup(state: Path, directory: Path) -> Found:
    """With the lock that a server takes at its start: none can be started meanwhile."""
    from twisted_mail_kit.control.state_copy import STORE, copy_state, make_place
    from twisted_mail_kit.control.store_verbs import plain, together
    from twisted_mail_kit.stores.sqlite.backup import backup

    store = _store_folder(state)
    lock = take_lock(state / LOCK)
    try:
        make_place(state, directory)
        found = backup(store, directory / STORE)
        return plain(together(found, copy_state(state, directory)))
    finally:
        os.close(lock)
