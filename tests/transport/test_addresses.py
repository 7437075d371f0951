"""Addresses as they are written, and who is behind one."""

from __future__ import annotations

import pytest

from channels.errors import InvalidValueError
from channels.transport.addresses import TcpAddress, UnixAddress, parse_address, source_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:7001", TcpAddress(host="localhost", port=7001)),
        ("127.0.0.1:0", TcpAddress(host="127.0.0.1", port=0)),
        ("[::1]:65535", TcpAddress(host="::1", port=65_535)),
        ("[fe80::1%eth0]:1", TcpAddress(host="fe80::1%eth0", port=1)),
        ("unix:/run/channels/alice", UnixAddress(path="/run/channels/alice")),
    ],
)
def test_addresses_read_and_print_alike(text: str, address: object) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        ":7001",
        "localhost:",
        "localhost:65536",
        "localhost:-1",
        "localhost:+1",
        "localhost:\u0661",
        "::1:7001",
        "[::1]",
        "[localhost]:7001",
        "[::1:7001",
        "tcp://localhost:7001",
        "a b:7001",
        "me@host:1",
        "unix:",
        "unix:relative",
        "unix:/directory/",
        "unix:/nul\0",
        "unix:/" + "x" * 103,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_address(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_sources_are_counted_as_customers(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same
