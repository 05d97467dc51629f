"""The `twistd mailkit` command: options in, a service out."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from twisted_mail_kit._version import __version__


class Options(UsageOptions):
    """What stands behind `twistd mailkit`."""

    synopsis = "[options]"
    longdesc = (
        "A mail server: SMTP, submission, LMTP, POP3 and IMAP. Without --config it runs in demo mode: on loopback "
        "only, with one account, and nothing is sent to the outside."
    )
    optParameters = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["state", "s", None, "Where demo mode keeps its state [~/.local/share/mailkit-demo]."],
        ["ready-file", None, None, "Write a JSON object here when every port is open."],
    ]
    optFlags = [
        ["check", None, "Test the configuration, print all its errors, and end: exit 1 if there are any."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []

    def opt_listen(self, wanted: str) -> None:
        """Demo mode: open this instead of the usual port, as SERVICE=ENDPOINT, on loopback. May be said often."""
        self["listen"].append(wanted)

    def opt_version(self) -> None:
        """Print the version and end."""
        print(f"twisted_mail_kit {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Look at all options together; with --check, this is where the program ends."""
        if self["config"] and (self["state"] or self["listen"]):
            raise UsageError("--state and --listen are for demo mode; with --config, the file says it")
        if self["check"]:
            raise SystemExit(self._check())

    def _check(self) -> int:
        from twisted_mail_kit.assembly import check_configuration

        if not self["config"]:
            raise UsageError("--check needs --config")
        problems = check_configuration(Path(self["config"]))
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{self['config']}: no errors")
        return 1 if problems else 0


def user_of(options: Options) -> tuple[int, int] | None:
    """(uid, gid) that `twistd --uid` is about to become; None: it stays who it is."""
    given: Mapping[str, int | None] = options.parent or {}
    uid, gid = given.get("uid"), given.get("gid")
    if uid is None or os.geteuid() != 0:
        return None
    return uid, pwd.getpwuid(uid).pw_gid if gid is None else gid


def makeService(options: Options) -> IService:
    """The service that `twistd` starts. Wrong configuration ends the program with all its errors, exit 1."""
    from twisted.internet import reactor

    from twisted_mail_kit.errors import ConfigurationError
    from twisted_mail_kit.logbook import Logbook, logbook_of
    from twisted_mail_kit.running import Running

    def open_logbook() -> Logbook | None:
        return logbook_of(options.parent, reactor) if options.parent else None

    ready_file = Path(options["ready-file"]) if options["ready-file"] else None
    try:
        if options["config"]:
            from twisted_mail_kit.assembly import Configured

            user = user_of(options)
            host = Configured(Path(options["config"]).absolute(), reactor, user)
            return Running(host, reactor, ready_file, open_logbook)
        from twisted_mail_kit.demo import Demo

        state = Path(options["state"]).expanduser().absolute() if options["state"] else None
        return Running(Demo(reactor, state, options["listen"]), reactor, ready_file, open_logbook)
    except ConfigurationError as problem:
        raise SystemExit("\n".join(problem.problems)) from None
