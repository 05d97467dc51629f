"""A stub resolver: asks resolving name servers over UDP and TCP, believes little, and remembers answers."""

from __future__ import annotations

import random as randomness
from collections.abc import Sequence
from typing import Any, Final

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.records import Answer
from twisted_mail_kit.metrics.catalogue import DNS_LOOKUPS
from twisted_mail_kit.net.dns.cache import Cache, Question
from twisted_mail_kit.net.dns.exchange import AskOverTCP, Silent, ask_tcp, ask_udp
from twisted_mail_kit.net.dns.hosts import Hosts, Watched
from twisted_mail_kit.net.dns.query import Query, name_text, read_name
from twisted_mail_kit.net.dns.reply import Reply, ServerFailed, read_reply
from twisted_mail_kit.net.dns.servers import Server, in_order, parse_server, read_resolv_conf
from twisted_mail_kit.net.dns.settings import ResolverSettings
from twisted_mail_kit.net.inflight import InFlight

AVOID: Final = 30.0  # seconds: a silent server is asked last for so long

_NO_EDNS: Final = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


@implementer(IResolver)
class Resolver:
    """Give it a reactor; it reads the rest from /etc/resolv.conf and /etc/hosts.

    `servers` are as in `ResolverSettings.servers`, and go before them. `random` is where ids, ports and cases come
    from; without it, the system's. Names are looked up as they are: there is no search list.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str] | None = None,
        settings: ResolverSettings | None = None,
        random: randomness.Random | None = None,
    ) -> None:
        self.settings = settings or ResolverSettings()
        self._reactor = reactor
        self._random = random or randomness.SystemRandom()
        given = servers if servers is not None else self.settings.servers
        self._servers = [parse_server(one, self.settings.trust_ad) for one in given]
        self._resolv_conf = None if given else Watched(self.settings.resolv_conf, reactor.seconds)
        self._hosts = Hosts(self.settings.hosts, reactor.seconds)
        self._cache = Cache(self.settings.cache_size, reactor.seconds)
        self._asking: InFlight[Question, Answer] = InFlight()
        self._turns = DeferredSemaphore(self.settings.at_once)

    async def lookup(self, name: str, kind: str) -> Answer:
        """As IResolver says. Raises ValueError for a kind that is none."""
        _check_kind(kind)
        asked = read_name(name)
        if asked is None or name_text(asked).rpartition(".")[2] == "invalid":  # RFC 6761 6.4
            return Answer((), name, exists=False)
        text = name_text(asked)
        if kind in ("A", "AAAA"):
            addresses = self._hosts.addresses(text, kind)
            if addresses is not None:
                return Answer(addresses, text)
        question = (text, kind)
        kept = self._cache.get(question)
        if kept is None:
            return await self._asking.share(question, lambda: self._ask(question, asked))
        DNS_LOOKUPS["remembered"].value += 1
        if isinstance(kept, str):
            raise ResolutionFailed(kept)
        return kept

    def forget(self) -> None:
        """Empty the cache."""
        self._cache.clear()

    async def stop(self) -> None:
        """Give up all questions."""
        self._asking.cancel()

    async def _ask(self, question: Question, name: dns.name.Name) -> Answer:
        """Ask, and keep what is heard."""
        lookup = _Lookup(question[1], self._reactor.seconds() + self.settings.total_time)
        asking = Deferred.fromCoroutine(self._in_turn(lookup, name))
        asking.addTimeout(self.settings.total_time, self._reactor, onTimeoutCancel=_too_slow)
        try:
            reply = await asking
        except CancelledError:
            raise ResolutionFailed("the resolver has stopped") from None
        except ServerFailed as problem:
            text = f"{question[0]} {question[1]}: {problem}"
            self.log.debug("no answer from DNS: {problem}", problem=text)
            DNS_LOOKUPS["failed"].value += 1
            self._cache.put(question, text, self.settings.failure_ttl)
            raise ResolutionFailed(text) from problem
        answer, seconds = self._answer(reply)
        DNS_LOOKUPS["found" if answer.records else "nothing"].value += 1
        self._cache.put(question, answer, seconds)
        return answer

    def _answer(self, reply: Reply) -> tuple[Answer, float]:
        settings = self.settings
        longest = settings.longest_ttl if reply.records else settings.longest_negative_ttl
        seconds = min(max(reply.ttl, settings.shortest_ttl), longest) if reply.may_keep else 0
        return Answer(reply.records, name_text(reply.name), reply.is_authentic, reply.exists, int(seconds)), seconds

    async def _in_turn(self, lookup: _Lookup, name: dns.name.Name) -> Reply:
        await self._turns.acquire()
        try:
            return await self._follow(lookup, name)
        finally:
            self._turns.release()

    async def _follow(self, lookup: _Lookup, name: dns.name.Name) -> Reply:
        """From answer to answer, where CNAMEs lead out of one."""
        followed, ttl, is_authentic, may_keep = 0, None, True, True
        seen = {name}
        while True:
            reply = await self._ask_servers(lookup, name)
            followed += reply.followed
            ttl = reply.ttl if ttl is None else min(ttl, reply.ttl)
            is_authentic = is_authentic and reply.is_authentic
            may_keep = may_keep and reply.may_keep
            if not reply.ask_on:
                return reply._replace(ttl=ttl, is_authentic=is_authentic, followed=followed, may_keep=may_keep)
            name = reply.name
            if name in seen or followed >= self.settings.chain:
                raise ServerFailed("CNAMEs without end")
            seen.add(name)

    async def _ask_servers(self, lookup: _Lookup, name: dns.name.Name) -> Reply:
        """One server after the other, and again with more patience."""
        if self._resolv_conf is not None and self._resolv_conf.has_changed():
            self._servers = read_resolv_conf(self._resolv_conf.path, self.settings.trust_ad)
        servers = in_order(self._servers, self._reactor.seconds())
        seconds = self.settings.first_timeout
        last = ServerFailed("no name servers")
        for _ in range(self.settings.rounds):
            for server in list(servers):
                left = lookup.until - self._reactor.seconds()
                if left <= 0:
                    raise last
                try:
                    return await self._ask_server(server, lookup.kind, name, min(seconds, left))
                except Silent as problem:
                    server.silent_until = self._reactor.seconds() + AVOID
                    last = Silent(f"{server}: {problem}")
                except ServerFailed as problem:
                    servers.remove(server)  # it has spoken: asking again brings nothing else
                    last = ServerFailed(f"{server}: {problem}")
            seconds *= 2
        raise last

    async def _ask_server(self, server: Server, kind: str, name: dns.name.Name, seconds: float) -> Reply:
        message = await self._exchange(server, kind, name, seconds)
        if message.rcode() in _NO_EDNS and server.knows_edns:
            # RFC 6891 7: an old server; ask it in the old way.
            server.knows_edns = False
            message = await self._exchange(server, kind, name, seconds)
            server.knows_edns = message.rcode() in _NO_EDNS
        server.silent_until = 0.0
        try:
            reply = read_reply(message, name, kind, self.settings.chain)
        except ServerFailed:
            raise
        except Exception as problem:
            self.log.failure("an answer of {server} could not be read", server=str(server))
            raise ServerFailed("its answer cannot be read") from problem
        return reply._replace(is_authentic=reply.is_authentic and server.is_trusted)

    async def _exchange(self, server: Server, kind: str, name: dns.name.Name, seconds: float) -> dns.message.Message:
        query = self._query(server, kind, name)
        try:
            return await ask_udp(self._reactor, server, query, seconds, self._random)
        except AskOverTCP as why:
            query = self._query(server, kind, name)
            try:
                message = await ask_tcp(self._reactor, server, query, self.settings.tcp_timeout)
            except Silent:
                if not why.case_lost:
                    raise
                # A careless server without TCP: plain case, with a new id and a new port.
                server.keeps_case = False
                return await ask_udp(self._reactor, server, self._query(server, kind, name), seconds, self._random)
            if why.case_lost:
                server.keeps_case = query.is_repeated_by(message)
            return message

    def _query(self, server: Server, kind: str, name: dns.name.Name) -> Query:
        return Query(
            name,
            kind,
            self._random,
            mixed_case=self.settings.mixed_case and server.keeps_case,
            edns=server.knows_edns,
            payload=self.settings.payload,
            dnssec=server.is_trusted,
        )


@frozen
class _Lookup:
    kind: str
    until: float


def _check_kind(kind: str) -> None:
    try:
        rdtype = dns.rdatatype.from_text(kind)
    except (dns.exception.DNSException, ValueError):
        rdtype = dns.rdatatype.ANY
    if dns.rdatatype.is_metatype(rdtype) or rdtype == dns.rdatatype.NONE:
        raise ValueError(f"{kind} is no kind of record")


def _too_slow(result: Any, timeout: float) -> Any:
    raise ServerFailed(f"no answer within {timeout:g} seconds")
