"""Client addresses behind proxies, and networks of addresses. Pure."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
UNKNOWN: Final = "unknown"
_SHOPIFY: Final = "shopify"
_LONGEST_ADDRESS: Final = 64
_FORMS: Final = re.compile(r"([0-9.]+)(?::[0-9]+)?|([0-9a-fA-F:.]+)|\[([0-9a-fA-F:.]+)\](?::[0-9]+)?", re.ASCII)
"""Some proxies add the port: `203.0.113.5:51234`, `[2001:db8::1]:443`."""
_MAX_STEPS: Final = 16
"""Proxies in a row: the cost of a header does not grow with its length."""
_LOOPBACK_HOST: Final = re.compile(rb"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_MAPPED_BITS: Final = 96
"""Of the prefix of IPv4 addresses in IPv6: RFC 4291, section 2.5.5.2."""
_NETWORK_BITS: Final = 64
"""A network that a provider gives to one customer has this prefix, or a shorter one: it has endless addresses."""


class Proxies(NamedTuple):
    """The proxies whose `X-Forwarded-For` is trusted."""

    networks: tuple[Network, ...] = ()
    shopify: bool = False
    """Also who sends a query that Shopify signed: its proxy, whose addresses Shopify does not publish."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8` or single addresses, separated by commas or spaces.

    Those of IPv4 addresses in IPv6 (`::ffff:10.0.0.1`) are IPv4's, as the addresses that they are compared with.

    Raises:
        ValueError: One of them is invalid; the message names it.
    """
    return tuple(_unmapped(ip_network(each)) for each in text.replace(",", " ").split())


def _unmapped(network: Network) -> Network:
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def parse_network(text: str) -> str:
    """One network or address, as PostgreSQL writes networks.

    Raises:
        ValueError: It is none, several, or one that exists on one machine alone.
    """
    try:
        networks = parse_networks(text)
    except ValueError:  # its message quotes the text
        networks = ()
    if len(networks) != 1 or "%" in text:  # a zone names a network interface of one machine
        raise ValueError(
            "is neither an IP address nor a network that begins with its first address, such as 203.0.113.0/24"
        )
    return str(networks[0])


def parse_proxies(text: str) -> Proxies:
    """Networks as for `parse_networks`, and `shopify`.

    Raises:
        ValueError: One of them is invalid; the message names it.
    """
    named = text.replace(",", " ").split()
    return Proxies(parse_networks(" ".join(each for each in named if each != _SHOPIFY)), _SHOPIFY in named)


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether one of the networks contains the address; False if it is not an address."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def names_loopback(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the one `Host` of a request's headers is a name of the loopback interface.

    A web page can let its own name point to 127.0.0.1 (DNS rebinding), and its browser then takes a server here for the
    page's own, but it sends the page's name. Starlette's `TrustedHostMiddleware` does not know `[::1]`.
    """
    hosts = [value for name, value in headers if name.lower() == b"host"]
    return len(hosts) == 1 and _LOOPBACK_HOST.fullmatch(hosts[0]) is not None


@lru_cache(4096)
def network_of(address: str) -> str:
    """The network that limits count as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    parsed = _parse(address)
    return str(ip_network((parsed, _NETWORK_BITS), strict=False)) if isinstance(parsed, IPv6Address) else address


def contains(outer: Sequence[Network], inner: Sequence[Network]) -> bool:
    """Whether each of the inner networks is part of one of the outer; False if there is no inner one."""
    return bool(inner) and all(
        any(one.version == each.version and one.subnet_of(each) for each in outer)  # type: ignore[arg-type]  # versions are equal
        for one in inner
    )


def client_address(peer: str, forwarded_for: Sequence[str], proxies: Proxies, *, is_signed: bool = False) -> str:
    """The nearest address that is not a trusted proxy, in its usual form; `unknown` if a proxy names none.

    Each proxy appends its peer's address to `X-Forwarded-For`. So an entry is reliable if all proxies further right are
    trusted, beginning with the peer; what is left of the first other address may be forged.

    Args:
        peer: Peer address of the connection.
        forwarded_for: Values of `X-Forwarded-For` in order, each with one or more addresses.
        proxies: The proxies that are trusted.
        is_signed: Whether Shopify signed the request's query.
    """
    entries = (entry for value in reversed(forwarded_for) for entry in reversed(value.rsplit(",", _MAX_STEPS)))
    address = _parse(peer)
    proven_steps = int(proxies.shopify and is_signed)
    for _ in range(_MAX_STEPS):
        if address is None:
            break
        if not any(address in network for network in proxies.networks):
            if not proven_steps:
                break
            proven_steps -= 1
        if (entry := next(entries, None)) is None:
            break
        address = _parse(entry)
    return UNKNOWN if address is None else str(address)


def _parse(text: str) -> Address | None:
    return _parse_short(text.strip()) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(4096)
def _parse_short(text: str) -> Address | None:
    match = _FORMS.fullmatch(text)
    try:
        parsed = ip_address(match[match.lastindex or 0]) if match else None
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
