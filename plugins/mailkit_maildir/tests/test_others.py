"""What other programs do to a tree is seen: plain deliveries, flags, removals, new folders, a lost list of UIDs."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from mailkit_maildir import Options
from mailkit_maildir.store import MaildirStore
from twisted.internet.threads import deferToThread

from twisted_mail_kit.errors import AccountNotFound, BlobNotFound, StateTooOld, Unavailable
from twisted_mail_kit.interfaces import Add, Copy, CreateMailbox, DeleteMailbox, Move, Remove, SetFlags, UpdateMailbox
from twisted_mail_kit.testing.contracts.promise import running_reactor

sys.path.insert(0, str(Path(__file__).parent))
from our_server import Ours

LETTER = b"From: ann@example.org\nSubject: a letter\n\nDear all,\n"
WHOLE = LETTER.replace(b"\n", b"\r\n")


def tree(root):
    """A Maildir++ tree that nobody has numbered."""
    for folder in (root, root / ".Sent", root / ".Lists.twisted"):
        for place in ("cur", "new", "tmp"):
            (folder / place).mkdir(parents=True)
    return root


def deliver(folder, name, octets=LETTER, place="new"):
    """As the convention has it: written in tmp, then linked or renamed."""
    (folder / "tmp" / name).write_bytes(octets)
    (folder / "tmp" / name).rename(folder / place / name)
    return folder / place / name


@pytest.fixture
def store(tmp_path):
    (tmp_path / "mail").mkdir()
    store = MaildirStore(tmp_path / "mail", running_reactor(), Options(lock_timeout=0.3, watch="poll"))
    yield store
    store.close()


@pytest.fixture
def joe(store):
    return tree(store.root / "joe")


def seen(read, is_so):
    """What another program has just done is seen when the file system's clock has gone on: soon, not always at once."""
    end = time.monotonic() + 10
    while not is_so(told := read()) and time.monotonic() < end:
        time.sleep(0.02)
    return told


def box_named(account, *name):
    return next(box for box in account.mailboxes() if box.name == name)


def rows_of(account, *name):
    return account.messages(box_named(account, *name).id)


def octets_of(account, row):
    octets = b""
    while more := account.read_blob(row.blob_id, len(octets), 7):
        octets += more
    return octets


def test_a_tree_that_nobody_has_numbered_is_numbered_in_the_order_of_its_names(store, joe):
    deliver(joe, "1700000300.c.host")
    deliver(joe, "1700000100.a.host:2,FS", place="cur")
    deliver(joe, "1700000200.b.host")
    account = store.open_account("joe")
    rows = rows_of(account, "INBOX")
    assert [row.uid for row in rows] == [1, 2, 3]
    assert rows[0].flags == {"\\Seen", "\\Flagged"}
    first, *lines = (joe / "dovecot-uidlist").read_text().splitlines()
    box = box_named(account, "INBOX")
    assert first.startswith(f"3 V{box.uidvalidity} N") and " G" in first
    assert lines == ["1 :1700000100.a.host", "2 :1700000200.b.host", "3 :1700000300.c.host"]
    assert {(box.name, box.role) for box in account.mailboxes()} == {
        (("INBOX",), "inbox"),
        (("Sent",), "sent"),
        (("Lists", "twisted"), None),
    }
    assert sorted(path.name for path in (joe / "new").iterdir()) == ["1700000200.b.host", "1700000300.c.host"]


def test_bare_line_feeds_are_read_as_line_ends_of_mail(store, joe):
    large = LETTER + b"a line of some length\n" * 10_000 + b"mixed\r\nat the end"
    deliver(joe, "1700000100.a", large)
    deliver(joe, "1700000200.b", WHOLE)
    os.utime(joe / "new" / "1700000100.a", (1234567890, 1234567890))
    account = store.open_account("joe")
    one, two = rows_of(account, "INBOX")
    whole = large.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert (one.size, one.internal_date, two.size) == (len(whole), 1234567890, len(WHOLE))
    assert octets_of(account, two) == WHOLE
    for offset, size in ((0, 100), (len(whole) - 9, 100), (65_535, 70_000), (131_000, 200), (len(whole), 1), (5, 0)):
        assert account.read_blob(one.blob_id, offset, size) == whole[offset : offset + size]
    # A copy has the same octets, and says the sizes of its own file.
    account.apply([Copy(one.mailbox_id, [one.uid], box_named(account, "Sent").id)])
    (copy,) = rows_of(account, "Sent")
    assert account.read_blob(copy.blob_id, 0, len(whole)) == whole
    (file,) = [*(joe / ".Sent" / "new").iterdir(), *(joe / ".Sent" / "cur").iterdir()]
    assert f",S={len(large)},W={len(whole)}" in file.name


def test_flags_by_renaming_and_removals_are_changes_with_a_modseq(store, joe):
    files = [deliver(joe, f"170000010{number}.x") for number in range(3)]
    account = store.open_account("joe")
    _, two, three = rows_of(account, "INBOX")
    since = account.state()
    files[0].rename(joe / "cur" / (files[0].name + ":2,"))
    assert account.state() == since, "to be looked at is no change"
    files[1].rename(joe / "cur" / (files[1].name + ":2,RS"))
    files[2].unlink()
    changes = seen(lambda: account.changes(since), lambda changes: changes.removed)
    assert [(row.uid, row.flags) for row in changes.messages] == [(two.uid, {"\\Answered", "\\Seen"})]
    assert [(gone.uid, gone.email_id) for gone in changes.removed] == [(three.uid, three.email_id)]
    assert len({row.modseq for row in (*changes.messages, *changes.removed)}) == 1
    box = box_named(account, "INBOX")
    assert (box.total, box.unseen, box.size) == (2, 1, 2 * len(WHOLE))
    with pytest.raises(BlobNotFound):
        account.read_blob(three.blob_id, 0, 1)


def test_a_flag_that_we_set_meets_one_that_another_has_set(store, joe):
    file = deliver(joe, "1700000100.x:2,Sa", place="cur")
    (joe / "dovecot-keywords").write_text("0 $Forwarded\n")
    account = store.open_account("joe")
    (row,) = rows_of(account, "INBOX")
    assert row.flags == {"\\Seen", "$Forwarded"}
    file.rename(joe / "cur" / "1700000100.x:2,FSa")
    account.apply([SetFlags(row.mailbox_id, [row.uid], add=frozenset({"New", "not an atom"}))])
    (row,) = seen(lambda: rows_of(account, "INBOX"), lambda rows: "\\Flagged" in rows[0].flags)
    assert row.flags == {"\\Seen", "\\Flagged", "$Forwarded", "New", "not an atom"}
    assert [path.name for path in (joe / "cur").iterdir()] == ["1700000100.x:2,FSab"]
    assert (joe / "dovecot-keywords").read_text() == "0 $Forwarded\n1 New\n"


def test_a_27th_keyword_is_kept_by_us_alone(store, joe):
    deliver(joe, "1700000100.x")
    account = store.open_account("joe")
    (row,) = rows_of(account, "INBOX")
    words = frozenset(f"word{number}" for number in range(40))
    account.apply([SetFlags(row.mailbox_id, [row.uid], add=words)])
    (file,) = (joe / "cur").iterdir()
    assert file.name == "1700000100.x:2,abcdefghijklmnopqrstuvwxyz"
    file.rename(file.with_name(file.name.replace(":2,", ":2,S")))
    (row,) = seen(lambda: rows_of(account, "INBOX"), lambda rows: "\\Seen" in rows[0].flags)
    assert row.flags == words | {"\\Seen"}


def test_letters_that_nobody_here_knows_stay(store, joe):
    deliver(joe, "1700000100.x:2,PSz", place="cur")
    account = store.open_account("joe")
    (row,) = rows_of(account, "INBOX")
    account.apply([SetFlags(row.mailbox_id, [row.uid], replace=frozenset({"\\Flagged"}))])
    assert [path.name for path in (joe / "cur").iterdir()] == ["1700000100.x:2,FPz"]


def test_folders_of_others_come_go_and_get_other_names(store, joe):
    account = store.open_account("joe")
    sent, state = box_named(account, "Sent"), account.state()
    tree_of = joe / ".Entw&APw-rfe"
    for place in ("cur", "new", "tmp"):
        (tree_of / place).mkdir(parents=True)
    (joe / ".Lists.twisted").rename(joe / "away")
    (joe / ".Sent").rename(joe / ".Sent.old")
    names = seen(lambda: {box.name for box in account.mailboxes()}, lambda names: ("Sent", "old") in names)
    assert names == {("INBOX",), ("Entw\u00fcrfe",), ("Sent", "old")}
    assert box_named(account, "Sent", "old").id == sent.id, "it is known by the GUID in its list of UIDs"
    assert account.changes(state).removed_mailboxes


def test_names_that_no_folder_can_have_survive_a_lost_index(store, joe):
    account = store.open_account("joe")
    names = [("../x",), ("a.b", "c/d"), ("inbox",), ("", "x"), ("~root",), ("x" * 300,), ("tab\tx",)]
    for name in names:
        account.apply([CreateMailbox(name)])
    (moved,) = account.apply([UpdateMailbox(box_named(account, *names[0]).id, name=("plain",))]).results
    account.apply([UpdateMailbox(moved.id, name=("dotted.name",))])
    there = {box.name: (box.uidvalidity, box.subscribed) for box in account.mailboxes()}
    store.close()
    for file in (joe / "mailkit").glob("index.sqlite*"):
        file.unlink()
    again = MaildirStore(store.root, running_reactor(), Options(watch="poll"))
    account = again.open_account("joe")
    assert {box.name: (box.uidvalidity, box.subscribed) for box in account.mailboxes()} == there
    assert {*names[1:], ("dotted.name",)} < there.keys()
    assert not (joe.parent.parent / "x").exists()
    with pytest.raises(StateTooOld):
        account.changes(1)
    again.close()


def test_another_uidvalidity_is_another_mailbox(store, joe):
    deliver(joe / ".Sent", "1700000100.x")
    account = store.open_account("joe")
    old = box_named(account, "Sent")
    (joe / ".Sent" / "dovecot-uidlist").write_text(f"3 V{old.uidvalidity + 5} N8 G{'ab' * 16}\n7 :1700000100.x\n")
    new = box_named(account, "Sent")
    assert (new.uidvalidity, new.uidnext) == (old.uidvalidity + 5, 8) and new.id != old.id
    assert [row.uid for row in rows_of(account, "Sent")] == [7]


def test_a_list_of_uids_that_is_lost_or_cut_is_written_again_as_it_was(store, joe):
    for number in range(3):
        deliver(joe, f"170000010{number}.x")
    account = store.open_account("joe")
    before = box_named(account, "INBOX"), rows_of(account, "INBOX")
    whole = (joe / "dovecot-uidlist").read_text()
    for damage in (None, whole.splitlines()[0] + "\n1 :17000", ""):
        if damage is None:
            (joe / "dovecot-uidlist").unlink()
        else:
            (joe / "dovecot-uidlist").write_text(damage)
        assert (box_named(account, "INBOX"), rows_of(account, "INBOX")) == before
        assert (joe / "dovecot-uidlist").read_text().split(" G")[0] == whole.split(" G")[0]
        assert all(line in (joe / "dovecot-uidlist").read_text().splitlines() for line in whole.splitlines()[1:])


def test_a_lock_that_another_holds_delays_new_mail_and_nothing_else(store, joe):
    deliver(joe, "1700000100.x")
    account = store.open_account("joe")
    (joe / "dovecot-uidlist.lock").write_text("")
    (row,) = rows_of(account, "INBOX")
    deliver(joe, "1700000200.x")
    assert len(rows_of(account, "INBOX")) == 1, "it has no UID yet"
    account.apply([SetFlags(row.mailbox_id, [row.uid], add=frozenset({"\\Seen"}))])
    with pytest.raises(Unavailable, match="lock"):
        account.apply([Copy(row.mailbox_id, [row.uid], row.mailbox_id)])
    (joe / "dovecot-uidlist.lock").unlink()
    end = time.monotonic() + 5
    while len(rows_of(account, "INBOX")) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert [row.uid for row in rows_of(account, "INBOX")] == [1, 2]


def test_a_lock_of_a_dead_process_is_no_hindrance(store, joe):
    account = store.open_account("joe")
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    (joe / "dovecot-uidlist.lock").write_text(f"{dead.pid}:{socket.gethostname()}")
    deliver(joe, "1700000100.x")
    assert len(seen(lambda: rows_of(account, "INBOX"), bool)) == 1


def test_a_flag_that_another_program_sets_while_we_set_one_stays(store, joe):
    deliver(joe, "1700000100.x:2,PS", place="cur")
    account = store.open_account("joe")
    (row,) = rows_of(account, "INBOX")
    desk = store.desk("joe")
    with store.turn("joe") as (_, index):
        (joe / "cur" / "1700000100.x:2,PS").rename(joe / "cur" / "1700000100.x:2,FPS")  # after the look
        ledger = desk.ledger(index)
        with index.transaction():
            ledger.apply(
                [SetFlags(row.mailbox_id, [row.uid], add=frozenset({"\\Draft"}), remove=frozenset({"\\Seen"}))]
            )
            index.plan(ledger.plan())
    flags = {"\\Draft", "\\Flagged"}
    (row,) = seen(lambda: rows_of(account, "INBOX"), lambda rows: rows[0].flags == flags)
    assert row.flags == flags
    assert [path.name for path in (joe / "cur").iterdir()] == ["1700000100.x:2,DFP"]


def test_what_another_program_removes_while_we_change_it_is_passed_over(store, joe):
    file = deliver(joe, "1700000100.x")
    account = store.open_account("joe")
    (row,) = rows_of(account, "INBOX")
    desk = store.desk("joe")
    with store.turn("joe") as (_, index):
        file.unlink()  # after the look, before the deed
        ledger = desk.ledger(index)
        with index.transaction():
            ledger.apply([SetFlags(row.mailbox_id, [row.uid], add=frozenset({"x"}))])
            index.plan(ledger.plan())
    assert not seen(lambda: rows_of(account, "INBOX"), lambda rows: not rows)
    assert [gone.uid for gone in account.changes(account.state() - 1).removed] == [1]


def test_layouts_are_as_in_mail_location(tmp_path):
    root = tmp_path / "mail"
    store = MaildirStore(root, running_reactor(), Options(layout="{domain}/{local}/Maildir", watch="poll"))
    tree(root / "example.org" / "joe" / "Maildir")
    names = ["joe@example.org", "../x@example.org", "Joe@example.org", "joe", "a@b@c"]
    for name in names[1:]:
        with pytest.raises(AccountNotFound):
            store.open_account(name)
        store.open_account(name, create=True)
    assert len(store.open_account("joe@example.org").mailboxes()) == 3
    assert list(store.account_names()) == sorted(names)
    assert {path.name for path in tmp_path.iterdir()} == {"mail"}
    store.close()


def test_nothing_is_listed_where_nothing_was_touched(store, joe, monkeypatch):
    for number in range(3):
        deliver(joe, f"170000010{number}.x")
    account = store.open_account("joe")
    time.sleep(0.2)
    account.state()
    listed = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real(path))
    for _ in range(5):
        account.state()
        rows_of(account, "INBOX")
    assert not listed
    deliver(joe, "1700000200.x")
    assert len(seen(lambda: rows_of(account, "INBOX"), lambda rows: len(rows) == 4)) == 4 and listed


@pytest.mark.parametrize("watch", ["inotify", "poll"])
@pytest_twisted.ensureDeferred
async def test_a_plain_delivery_is_told_to_a_client_in_idle(tmp_path, watch):
    root = tmp_path / "mail"
    joe = tree(root / "joe")

    def live(ours):
        client = ours.client("joe")
        client.select_folder("INBOX")
        client.idle()
        client.idle_check(timeout=0.2)
        began = time.monotonic()
        deliver(joe, "1700000100.x")
        told = []
        while not any(one[1:] == (b"EXISTS",) for one in told) and time.monotonic() < began + 10:
            told += client.idle_check(timeout=1)
        taken = time.monotonic() - began
        client.idle_done()
        assert (1, b"EXISTS") in told
        client.logout()
        return taken

    async with Ours(root, watch=watch) as ours:
        taken = await deferToThread(live, ours)
    assert taken < (1.0 if watch == "inotify" else 5.0)


def test_moves_and_removals_leave_a_tidy_tree(store, joe):
    deliver(joe, "1700000100.x")
    account = store.open_account("joe")
    (row,) = rows_of(account, "INBOX")
    sent = box_named(account, "Sent")
    account.apply([Move(row.mailbox_id, [row.uid], sent.id)])
    (moved,) = rows_of(account, "Sent")
    assert (moved.email_id, moved.internal_date) == (row.email_id, row.internal_date)
    assert not list((joe / "new").iterdir()) and not list((joe / "cur").iterdir())
    writer = account.new_blob()
    writer.write(WHOLE)
    blob = writer.commit()
    account.apply([Add(sent.id, blob, 77), Remove(sent.id, [moved.uid])])
    (new,) = rows_of(account, "Sent")
    (file,) = (joe / ".Sent" / "new").iterdir()
    assert file.stat().st_mtime == 77 and file.read_bytes() == WHOLE
    assert f"{new.uid} :{file.name}" in (joe / ".Sent" / "dovecot-uidlist").read_text().splitlines()
    account.apply([DeleteMailbox(sent.id)])
    assert not (joe / ".Sent").exists()
    assert sorted(path.name for path in (joe / "mailkit").iterdir() if "gone" in path.name) == []
