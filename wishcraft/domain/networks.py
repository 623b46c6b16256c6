"""Client addresses behind proxies, and networks of addresses. Pure."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
UNKNOWN: Final = "unknown"
_LONGEST_ADDRESS: Final = 64
"""Limits count by address, and a client may send any text as one."""
_PORT: Final = re.compile(r"^(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\])(?::[0-9]+)?$")
"""Some proxies add the port: `203.0.113.5:51234`, `[2001:db8::1]:443`."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8` or single addresses, separated by commas or spaces.

    Raises:
        ValueError: One of them is invalid; the message names it.
    """
    return tuple(ip_network(each) for each in text.replace(",", " ").split())


def is_address(text: str) -> bool:
    """Whether this is an IP address that PostgreSQL accepts too: one without a zone."""
    try:
        return bool(ip_address(text)) and "%" not in text
    except ValueError:
        return False


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether one of the networks contains the address; False if it is not an address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in network for network in networks)


def contains(outer: Sequence[Network], inner: Sequence[Network]) -> bool:
    """Whether each of the inner networks is part of one of the outer; False if there is no inner one."""
    return bool(inner) and all(
        any(one.version == each.version and one.subnet_of(each) for each in outer)  # type: ignore[arg-type]  # versions are equal
        for one in inner
    )


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network], hops: int = 0) -> str:
    """The nearest address that is not a trusted proxy.

    Each proxy appends its peer's address to `X-Forwarded-For`, so entries are reliable from the end of the list, as
    long as a trusted proxy wrote them. A client can forge the entries further left.

    Args:
        peer: Peer address of the connection.
        forwarded_for: Values of `X-Forwarded-For` in order, each with one or more addresses.
        trusted: Our own proxies.
        hops: Further proxies to skip: 1 for a request that Shopify signed, which came through Shopify's proxy.
    """
    chain = [_PORT.sub(r"\1\2", address.strip()) for value in forwarded_for for address in value.split(",")]
    address = peer
    while is_within(address, trusted) and chain:
        address = chain.pop()
    for _ in range(hops):
        address = chain.pop() if chain else address
    return address if 0 < len(address) <= _LONGEST_ADDRESS else UNKNOWN
