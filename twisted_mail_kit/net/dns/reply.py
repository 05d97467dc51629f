"""What a server's answer says: records, nothing, or where to ask on."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from twisted_mail_kit.mail.records import MX, TLSA
from twisted_mail_kit.net.dns.query import name_text


class ServerFailed(Exception):
    """This server has no answer; another one may. The text says why."""


class Reply(NamedTuple):
    """One answer, with the CNAMEs in it followed as far as they lead."""

    records: tuple[object, ...]
    name: dns.name.Name
    """Where the CNAMEs led."""
    ttl: int
    exists: bool
    is_authentic: bool
    followed: int
    """CNAMEs."""
    ask_on: bool
    """The last CNAME leads out of this answer: ask for `name`."""
    may_keep: bool
    """False: nothing says for how long that nothing is there (RFC 2308 5)."""


_LONGEST_TTL: Final = 2**31 - 1


def read_reply(message: dns.message.Message, name: dns.name.Name, kind: str, longest_chain: int) -> Reply:
    """Raises ServerFailed."""
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ServerFailed(dns.rcode.to_text(rcode))
    rdtype = dns.rdatatype.from_text(kind)
    is_authentic = bool(message.flags & dns.flags.AD)
    ttl, followed, seen = _LONGEST_TTL, 0, {name}
    while True:
        found = message.get_rrset(message.answer, name, dns.rdataclass.IN, rdtype)
        if found is not None:
            records = tuple(dict.fromkeys(_record(one) for one in found))
            return Reply(records, name, min(ttl, _ttl(found)), True, is_authentic, followed, False, True)
        alias = message.get_rrset(message.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if alias is None or not alias:
            break
        name = next(iter(alias)).target
        followed += 1
        ttl = min(ttl, _ttl(alias))
        if name in seen or followed > longest_chain:
            raise ServerFailed("CNAMEs without end")
        seen.add(name)
    negative = _negative_ttl(message, name)
    exists = rcode != dns.rcode.NXDOMAIN
    if followed and exists and negative is None:
        return Reply((), name, ttl, True, is_authentic, followed, True, True)
    if not followed and negative is None and exists and _is_referral(message):
        raise ServerFailed("it does not ask on for others")
    ttl = min(ttl, negative or 0)
    return Reply((), name, ttl, exists, is_authentic, followed, False, negative is not None)


def _is_referral(message: dns.message.Message) -> bool:
    """It only says who else might know."""
    if message.flags & (dns.flags.RA | dns.flags.AA):
        return False
    return any(one.rdtype == dns.rdatatype.NS for one in message.authority)


def _negative_ttl(message: dns.message.Message, name: dns.name.Name) -> int | None:
    """RFC 2308 5: by the SOA record of a zone that the name may be in."""
    for one in message.authority:
        if one.rdtype == dns.rdatatype.SOA and one and name.is_subdomain(one.name):
            soa: Any = next(iter(one))
            return min(_ttl(one), int(soa.minimum))
    return None


def _ttl(rrset: dns.rrset.RRset) -> int:
    return rrset.ttl if 0 <= rrset.ttl <= _LONGEST_TTL else 0  # RFC 2181 8


def _record(record: Any) -> object:
    match record.rdtype:
        case dns.rdatatype.MX:
            return MX(int(record.preference), name_text(record.exchange))
        case dns.rdatatype.TLSA:
            return TLSA(int(record.usage), int(record.selector), int(record.mtype), bytes(record.cert))
        case dns.rdatatype.A | dns.rdatatype.AAAA:
            return str(record.address)
        case dns.rdatatype.TXT:
            return b"".join(record.strings).decode("utf-8", "replace")
        case dns.rdatatype.CNAME | dns.rdatatype.NS | dns.rdatatype.PTR:
            return name_text(record.target)
    return str(record.to_text())
