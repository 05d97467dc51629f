"""Mounted parts, held to the contracts that every part of ours is held to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed

from tests.adapters.deployment import MaildirDomain, PostOffice, Printed, mail_service
from twisted_mail_kit.adapters import MountedDelivery, MountedLogins, Reception
from twisted_mail_kit.testing.contracts import authenticator_contract
from twisted_mail_kit.testing.contracts.delivery import DeliveryContract

ANN, BOB = "ann@example.net", "bob@example.net"


class KeepingOffice(PostOffice):
    """Keeps messages in a folder of a recipient's name; one that has lost its disk says so at the end."""

    def __init__(self, folder: Path, is_broken: bool = False) -> None:
        super().__init__("ann", "bob")
        self.folder = folder
        self.is_broken = is_broken

    def end(self, message: Printed) -> Deferred[None]:
        if self.is_broken:
            return fail(OSError("the disk is gone"))
        folder = self.folder / message.recipient
        folder.mkdir(parents=True, exist_ok=True)
        octets = b"".join(line + b"\r\n" for line in message.lines)
        (folder / str(len(list(folder.iterdir())))).write_bytes(octets)
        return succeed(None)


class _Delivery(DeliveryContract):
    recipients = (ANN, BOB)
    refuses = "nobody@example.net"
    ends_lines = True  # the last one: a message is lines to twisted.mail
    longest_lag = 2.0  # 4 MB line by line and the joining of them, on a machine that others use too

    def make_target(self, tmp_path: Path) -> Any:
        return MountedDelivery(KeepingOffice(tmp_path), reactor)

    def make_broken(self, tmp_path: Path) -> Any:
        return MountedDelivery(KeepingOffice(tmp_path, is_broken=True), reactor)

    def delivered(self, tmp_path: Path) -> list[tuple[str, bytes]]:
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        return [(f"{file.parent.name}@example.net", file.read_bytes()) for file in files]


class TestMountedDelivery(_Delivery):
    pass


class TestReceptionOfAMountedDelivery(_Delivery):
    def make_target(self, tmp_path: Path) -> Any:
        return Reception(super().make_target(tmp_path), "mx.example.org")

    def make_broken(self, tmp_path: Path) -> Any:
        return Reception(super().make_broken(tmp_path), "mx.example.org")


def portals(tmp_path: Path) -> MountedLogins:
    service = mail_service(tmp_path / "mail", joe="secret", ann="Geheim")
    return MountedLogins(service.portals, reactor)


def one_portal(tmp_path: Path) -> MountedLogins:
    domain = MaildirDomain(None, os.fsencode(tmp_path / "mail"))
    for user, password in ((b"joe@example.org", b"secret"), (b"ann@example.org", b"Geheim")):
        domain.addUser(user, password)
    return MountedLogins(Portal(domain, domain.getCredentialsCheckers()), reactor)


def broken(tmp_path: Path) -> MountedLogins:
    service = mail_service(tmp_path / "mail", joe="secret")
    for checker in service.domains[b"example.org"].getCredentialsCheckers():
        checker.dirdbm = None  # its database is gone: it raises TypeError now
    return MountedLogins(service.portals, reactor)


USERS = {"joe@example.org": "secret", "ann@example.org": "Geheim"}
TestMountedLoginsByDomain = authenticator_contract(portals, users=USERS, make_broken=broken)
TestMountedLoginsOfOnePortal = authenticator_contract(one_portal, users=USERS)
