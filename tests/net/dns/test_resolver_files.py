"""resolv.conf and the hosts file: read, read again, and broken."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.net.dns.hosts import read_hosts
from twisted_mail_kit.net.dns.servers import parse_server, read_resolv_conf
from twisted_mail_kit.net.dns.settings import ResolverSettings
from twisted_mail_kit.net.resolver import Resolver

Ask = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ("fe80::1%eth0", "fe80::1%eth0", 53),
    ],
)
def test_servers_are_written_in_these_ways(text: str, host: str, port: int) -> None:
    server = parse_server(text)
    assert (server.host, server.port) == (host, port)


@pytest.mark.parametrize("text", ["", "ns.example.org", "192.0.2.1:0", "192.0.2.1:70000", "[::1]:x", "192.0.2.1:"])
def test_servers_are_not_written_in_those(text: str) -> None:
    with pytest.raises(ValueError):
        parse_server(text)
    with pytest.raises(ValueError):
        ResolverSettings(servers=("192.0.2.1", text))


def test_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(
        b"# comment\n; comment\n\nnameserver\nnameserver bogus\nsearch example.org\nnameserver 192.0.2.1\n"
        b"  nameserver\t2001:db8::1 # why\noptions rotate trust-ad\n\xff\xfe\n"
    )
    servers = read_resolv_conf(path)
    assert [str(one) for one in servers] == ["192.0.2.1:53", "[2001:db8::1]:53"]
    assert all(one.is_trusted for one in servers)


@pytest.mark.parametrize("text", [None, "", "search example.org\n"])
def test_without_servers_our_own_machine_is_asked(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    (server,) = read_resolv_conf(path)
    assert (str(server), server.is_trusted) == ("127.0.0.1:53", True)


def test_resolv_conf_is_read_again_after_a_change(tmp_path: Path, network: Any, make_zone: Any, ask: Ask) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    network.zones = {(f"192.0.2.{n}", 53): make_zone({("example.org", "A"): [f"198.51.100.{n}"]}) for n in (1, 2)}
    settings = ResolverSettings(resolv_conf=path, hosts=None, cache_size=0)
    resolver = Resolver(network, settings=settings, random=random.Random(1))
    assert ask(resolver, "example.org", "A").records == ("198.51.100.1",)
    path.write_text("nameserver 192.0.2.2 \n")
    assert ask(resolver, "example.org", "A").records == ("198.51.100.1",)  # looked at every few seconds only
    network.advance(6)
    assert ask(resolver, "example.org", "A").records == ("198.51.100.2",)


def test_given_servers_go_before_those_of_the_settings_and_files(network: Any, make_zone: Any, ask: Ask) -> None:
    network.zones = {(f"192.0.2.{n}", 53): make_zone({("example.org", "A"): [f"198.51.100.{n}"]}) for n in (1, 2)}
    settings = ResolverSettings(servers=("192.0.2.2",), hosts=None)
    assert ask(Resolver(network, settings=settings), "example.org", "A").records == ("198.51.100.2",)
    assert ask(Resolver(network, ["192.0.2.1"], settings), "example.org", "A").records == ("198.51.100.1",)


def test_the_hosts_file_is_asked_first(tmp_path: Path, make_resolver: Any, ask: Ask, zone: Any, network: Any) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(
        b"127.0.0.1 localhost\n192.0.2.7 MX.example.org mx # ours\n192.0.2.8\tmx.example.org.\nbogus name\n"
        b"2001:db8::7 six.example.org\nfe80::1%lo0 six.example.org\n192.0.2.9\n\xff\xff\n"
    )
    zone.records["www.example.org", "A"] = ["192.0.2.80"]
    resolver = make_resolver(hosts=path)
    assert ask(resolver, "mx.example.org", "A").records == ("192.0.2.7", "192.0.2.8")
    assert ask(resolver, "mx.example.org", "AAAA").records == ()
    assert ask(resolver, "Six.Example.org", "AAAA").records == ("2001:db8::7",)
    assert not zone.asked
    assert ask(resolver, "www.example.org", "A").records == ("192.0.2.80",)
    assert ask(resolver, "mx.example.org", "MX").records == ()
    assert len(zone.asked) == 2
    path.write_text("192.0.2.99 mx.example.org\n")
    network.advance(6)
    assert ask(resolver, "mx.example.org", "A").records == ("192.0.2.99",)


def test_no_hosts_file(tmp_path: Path, make_resolver: Any, ask: Ask) -> None:
    assert read_hosts(tmp_path / "none") == {}
    for hosts in (Path(), tmp_path / "none", None):
        assert ask(make_resolver(hosts=hosts), "localhost", "A").records == ("127.0.0.1",)
