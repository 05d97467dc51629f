"""LIST with all its options: RFC 3501 6.3.8, RFC 5258, RFC 5819, RFC 6154."""

from __future__ import annotations

from twisted_mail_kit.imap.wire.commands import List
from twisted_mail_kit.imap.wire.reader import Bad, Reader

SELECT_OPTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
RETURN_OPTIONS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS"})
STATUS_ITEMS = frozenset({"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "SIZE"})


def read_list(reader: Reader, tag: bytes, lsub: bool) -> List:
    """What follows LIST, or LSUB."""
    select_options: tuple[str, ...] = ()
    return_options: tuple[str, ...] = ()
    return_status: tuple[str, ...] = ()
    is_extended = False
    reader.space()
    if not lsub and reader.peek() == b"(":
        is_extended = True
        select_options = _select_options(reader)
        reader.space()
    reference = reader.reference()
    reader.space()
    if not lsub and reader.take(b"("):
        is_extended = True
        patterns = _patterns(reader)
    else:
        patterns = (reader.list_mailbox(),)
    if not lsub and reader.take(b" "):
        is_extended = True
        if reader.keyword() != "RETURN":
            raise Bad("Unknown word after LIST's pattern")
        reader.space()
        return_options, return_status = _return_options(reader)
    # Each wildcard may multiply the work, and so may those of the reference, which stands before every pattern.
    wildcards = sum(text.count("*") + text.count("%") for text in (reference, *patterns))
    if wildcards > reader.limits.wildcards:
        raise Bad("Too many wildcards", b"LIMIT", limit="wildcards")
    return List(
        tag,
        reference,
        patterns,
        lsub=lsub,
        select_options=select_options,
        return_options=return_options,
        return_status=return_status,
        is_extended=is_extended,
    )


def read_status_items(reader: Reader) -> tuple[str, ...]:
    """``(MESSAGES UNSEEN …)``: each once."""
    items = reader.keyword_list()
    if not STATUS_ITEMS.issuperset(items):
        raise Bad("Unknown STATUS item")
    return tuple(dict.fromkeys(items))


def _select_options(reader: Reader) -> tuple[str, ...]:
    reader.expect(b"(", "A parenthesis is missing")
    if reader.take(b")"):
        return ()
    options = [reader.keyword()]
    while not reader.take(b")"):
        reader.space()
        options.append(reader.keyword())
    if not SELECT_OPTIONS.issuperset(options):
        raise Bad("Unknown LIST selection option")
    if "RECURSIVEMATCH" in options and not {"SUBSCRIBED", "SPECIAL-USE"}.intersection(options):
        raise Bad("RECURSIVEMATCH needs an option to match")  # RFC 5258 3.1
    return tuple(dict.fromkeys(options))


def _patterns(reader: Reader) -> tuple[str, ...]:
    patterns = [reader.list_mailbox()]
    while not reader.take(b")"):
        reader.space()
        patterns.append(reader.list_mailbox())
    return tuple(dict.fromkeys(patterns))


def _return_options(reader: Reader) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reader.expect(b"(", "A parenthesis is missing")
    options: list[str] = []
    status: tuple[str, ...] = ()
    while not reader.take(b")"):
        if options:
            reader.space()
        option = reader.keyword()
        if option not in RETURN_OPTIONS:
            raise Bad("Unknown LIST return option")
        if option == "STATUS":
            reader.space()
            status = read_status_items(reader)
        options.append(option)
    return tuple(dict.fromkeys(options)), status
