"""The eight operations of one `apply`: what each puts into the table of facts."""

import pickle
from uuid import uuid4

from mailkit_example_store.blobs import use_blob
from twisted_mail_kit import errors
from twisted_mail_kit import interfaces as mail


class Operations:
    def __init__(self, account, modseq, now):
        self.account, self.modseq, self.now = account, modseq, now
        self.made, self.number = {}, -1

    def do(self, op):
        self.number += 1
        if isinstance(op, mail.CreateMailbox):
            validity = max([self.now, *(box.uidvalidity + 1 for box in self.account.values("uid = 0"))])
            box_id = self.made[f"#{self.number}"] = uuid4().hex
            box = mail.Mailbox(box_id, tuple(op.name), op.role, validity, 1, self.modseq, 0, 0, 0, op.subscribed)
            return self.put_box(box)
        box = self.account.box(self.made.get(op.mailbox_id, op.mailbox_id))
        match op:
            case mail.UpdateMailbox():
                asked = {"name": op.name, "role": op.role, "subscribed": op.subscribed}
                new = box._replace(**{field: value for field, value in asked.items() if value is not mail.UNSET})
                return box if new == box else self.put_box(new._replace(modseq=self.modseq))
            case mail.DeleteMailbox():
                if box.role == "inbox":
                    raise errors.Forbidden("the inbox stays")
                mine = [self.account.name, box.id]
                self.account.db.execute("DELETE FROM fact WHERE account = ? AND box = ? AND uid > 0", mine)
                self.put(box._replace(name=(), role=None, modseq=self.modseq), box.id)
                return None
            case mail.Add():
                size = use_blob(self.account.db, self.account.name, op.blob_id)
                ids = uuid4().hex, op.thread_id or uuid4().hex, op.blob_id
                changed = self.modseq, self.modseq
                row = mail.Message(
                    box.id, box.uidnext, *ids, size, op.internal_date, self.now, op.flags, *changed, op.summary
                )
                self.put_row(row)
                return mail.Added(box.id, box.uidvalidity, row.uid, row.email_id)
            case mail.Copy() | mail.Move():
                to, pairs = self.account.box(self.made.get(op.to_mailbox_id, op.to_mailbox_id)), []
                for row in self.account.rows(box.id, op.uids):
                    pairs.append((row.uid, uid := self.account.box(to.id).uidnext))
                    new = row._replace(mailbox_id=to.id, uid=uid, saved_date=self.now, created=self.modseq)
                    self.put_row(new._replace(modseq=self.modseq))
                    if isinstance(op, mail.Move):
                        self.drop_row(row)
                return mail.Copied(to.id, to.uidvalidity, tuple(pairs))
            case mail.SetFlags():
                changed, refused = [], []
                for row in self.account.rows(box.id, op.uids):
                    flags = (row.flags | op.add) - op.remove if op.replace is None else op.replace
                    if op.unchanged_since is not None and row.modseq > op.unchanged_since:
                        refused.append(row.uid)
                    elif flags != row.flags:
                        self.count(row, -1)
                        self.put_row(row._replace(flags=flags, modseq=self.modseq))
                        changed.append(row.uid)
                return mail.FlagsSet(tuple(changed), tuple(refused))
            case mail.Remove():
                rows = self.account.rows(box.id, op.uids)
                for row in rows:
                    self.drop_row(row)
                return mail.Removed(tuple(row.uid for row in rows))
        raise NotImplementedError(op)

    def put(self, value, box_id, uid=0, blob_id=None):
        row = [self.account.name, box_id, uid, self.modseq, blob_id, pickle.dumps(value)]
        self.account.db.execute("REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?)", row)

    def put_box(self, box):
        for other in self.account.boxes():
            if other.id != box.id and (other.name == box.name or (box.role and other.role == box.role)):
                raise errors.MailboxExists(f"{box.name} as {box.role}")
        self.put(box, box.id)
        return box

    def put_row(self, row):
        self.put(row, row.mailbox_id, row.uid, row.blob_id)
        self.count(row, +1)

    def drop_row(self, row):
        self.put(mail.Removal(row.mailbox_id, row.uid, row.email_id, self.modseq), row.mailbox_id, row.uid)
        self.count(row, -1)

    def count(self, row, sign):
        box = self.account.box(row.mailbox_id)
        unseen = box.unseen + (0 if "\\Seen" in row.flags else sign)
        counted = box._replace(total=box.total + sign, unseen=unseen, size=box.size + sign * row.size)
        self.put(counted._replace(uidnext=max(box.uidnext, row.uid + 1), modseq=self.modseq), box.id)
