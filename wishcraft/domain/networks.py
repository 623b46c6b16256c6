"""Where a request comes from, seen through proxies, and whether that is allowed. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
UNKNOWN: Final = "unknown"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8` or single addresses, separated by commas or spaces.

    Raises:
        ValueError: One of them is none; the message names it.
    """
    return tuple(ip_network(each) for each in text.replace(",", " ").split())


def is_address(text: str) -> bool:
    """Whether this is an address that PostgreSQL takes for one too: it knows no zones."""
    try:
        return bool(ip_address(text)) and "%" not in text
    except ValueError:
        return False


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether one of the networks has the address; what is no address is in none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in network for network in networks)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network], hops: int = 0) -> str:
    """The nearest address that is not one of our proxies.

    Each proxy appends the address that it was called from to `X-Forwarded-For`, so the list is to be believed from its
    end, for as long as whoever wrote the entry is trusted. What lies further left a client can make up.

    Args:
        peer: Whom the connection is with.
        forwarded_for: The values of `X-Forwarded-For` in their order, each with one address or several.
        trusted: Our own proxies.
        hops: Proxies that are not ours but proven, nearer than the client: 1 for what Shopify signed.
    """
    chain = [address.strip() for value in forwarded_for for address in value.split(",")]
    address = peer
    while is_within(address, trusted) and chain:
        address = chain.pop()
    for _ in range(hops):
        address = chain.pop() if chain else address
    return address or UNKNOWN
