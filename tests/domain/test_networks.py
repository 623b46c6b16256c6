import pytest

from wishcraft.domain import networks
from wishcraft.domain.networks import Proxies, client_address, is_within, network_of, parse_networks, parse_proxies

OURS = parse_networks("10.0.0.0/8, 192.168.1.1 2001:db8::/32")
PROXIES = parse_proxies("10.0.0.0/8, 192.168.1.1 2001:db8::/32")
VISITOR, SHOPIFY, BALANCER = "203.0.113.9", "198.51.100.1", "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (VISITOR, [], VISITOR),
        (VISITOR, ["198.51.100.1"], VISITOR),  # not a proxy of ours, so not trusted
        (BALANCER, [], BALANCER),
        (BALANCER, ["198.51.100.1"], "198.51.100.1"),
        (BALANCER, ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # what the client made up is further left
        (BALANCER, ["6.6.6.6", "198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        (BALANCER, ["6.6.6.6", "198.51.100.1", "10.2.3.4", "10.2.3.5"], "198.51.100.1"),
        (BALANCER, ["10.7.7.7, 198.51.100.1"], "198.51.100.1"),  # a made-up address of ours
        (BALANCER, ["10.2.3.4"], "10.2.3.4"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (BALANCER, ["::ffff:198.51.100.1"], "198.51.100.1"),
        (BALANCER, ["2001:db8::1"], "2001:db8::1"),
        (BALANCER, ["2001:db9::1"], "2001:db9::1"),
        (BALANCER, ["2001:DB9:0:0::1"], "2001:db9::1"),
        ("2001:db8::7", ["2001:db9::1"], "2001:db9::1"),
        (BALANCER, ["198.51.100.1:51234"], "198.51.100.1"),
        (BALANCER, ["198.51.100.1:51234, 10.2.3.4:80"], "198.51.100.1"),
        (BALANCER, ["[2001:db9::1]:443, [2001:db8::1]"], "2001:db9::1"),
        (BALANCER, [" \t198.51.100.1 \t"], "198.51.100.1"),
        (BALANCER, ["6.6.6.6, unknown"], "unknown"),  # it names no address, and what is left of it is not trusted
        (BALANCER, ["6.6.6.6, _hidden"], "unknown"),
        (BALANCER, ["6.6.6.6,"], "unknown"),
        (BALANCER, [""], "unknown"),
        (BALANCER, ["no address"], "unknown"),
        (BALANCER, ["198.51.100.1:"], "unknown"),
        (BALANCER, ["198.51.100.1:http"], "unknown"),
        (BALANCER, ["[2001:db9::1"], "unknown"),
        (BALANCER, ["2001:db9::1]:443"], "unknown"),
        (BALANCER, ["[]:443"], "unknown"),
        (BALANCER, ["fe80::1%eth0"], "unknown"),
        (BALANCER, ["198.51.100.01"], "unknown"),
        (BALANCER, ["198.51.100.256"], "unknown"),
        (BALANCER, ["\u0661.1.1.1"], "unknown"),
        (BALANCER, ["x" * 60_000], "unknown"),
        (BALANCER, [" " * 60_000 + "198.51.100.1"], "unknown"),
        ("", ["198.51.100.1"], "unknown"),
        ("unix:", ["198.51.100.1"], "unknown"),
    ],
)
def test_the_client_address_is_the_nearest_untrusted_one(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == address
    assert client_address(peer, forwarded, PROXIES, is_signed=True) == address


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "signed", "unsigned"),
    [
        ("10.0.0.0/8 shopify", BALANCER, f"6.6.6.6, {VISITOR}, {SHOPIFY}", VISITOR, SHOPIFY),
        ("10.0.0.0/8 198.51.100.0/24", BALANCER, f"6.6.6.6, {VISITOR}, {SHOPIFY}", VISITOR, VISITOR),
        ("10.0.0.0/8", BALANCER, f"{VISITOR}, {SHOPIFY}", SHOPIFY, SHOPIFY),
        ("shopify", SHOPIFY, f"6.6.6.6, {VISITOR}", VISITOR, SHOPIFY),
        ("shopify", SHOPIFY, "", "unknown", SHOPIFY),
        ("", SHOPIFY, VISITOR, SHOPIFY, SHOPIFY),
        ("10.0.0.0/8 shopify", BALANCER, SHOPIFY, SHOPIFY, SHOPIFY),  # it came without a client's address
        ("10.0.0.0/8 shopify", BALANCER, f"{VISITOR}, 10.9.9.9, {SHOPIFY}", VISITOR, SHOPIFY),
    ],
)
def test_shopifys_signature_proves_one_step_if_it_is_trusted(
    trusted: str, peer: str, forwarded: str, signed: str, unsigned: str
) -> None:
    proxies = parse_proxies(trusted)
    assert client_address(peer, [forwarded], proxies, is_signed=True) == signed
    assert client_address(peer, [forwarded], proxies) == unsigned


@pytest.mark.parametrize("entry", [VISITOR, "10.1.1.1", "unknown", ""])
def test_cost_of_a_forwarded_address_does_not_grow_with_the_header(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, parse = list[str](), networks._parse

    def record(text: str) -> networks.Address | None:
        read.append(text)
        return parse(text)

    monkeypatch.setattr(networks, "_parse", record)
    for forwarded in ([", ".join([entry] * 1_000)], [entry] * 1_000):
        client_address(BALANCER, forwarded, PROXIES)
        assert len(read) <= 17
        assert sum(map(len, read)) <= 200
        read.clear()


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        (VISITOR, VISITOR),
        ("2001:db9::1", "2001:db9::/64"),
        ("2001:db9:0:0:ffff:ffff:ffff:ffff", "2001:db9::/64"),
        ("2001:db9:0:1::", "2001:db9:0:1::/64"),
        ("unknown", "unknown"),
    ],
)
def test_the_addresses_of_an_ipv6_network_count_as_one(address: str, counted: str) -> None:
    assert network_of(address) == counted


@pytest.mark.parametrize(
    ("address", "within"),
    [("10.255.0.1", True), ("11.0.0.1", False), ("192.168.1.1", True), ("192.168.1.2", False),
     ("2001:db8:1::", True), ("::1", False), ("unknown", False), ("", False), ("::ffff:10.0.0.1", True)],
)  # fmt: skip
def test_an_address_is_within_its_networks_only(address: str, within: bool) -> None:
    assert is_within(address, OURS) is within


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.com", "10.0.0.1/8"])
def test_an_invalid_network_is_refused_by_name(text: str) -> None:
    for parse in (parse_networks, parse_proxies):
        with pytest.raises(ValueError, match=text.partition("/")[0]):
            parse(f"10.0.0.0/8, {text}")


def test_shopify_is_a_proxy_and_no_network() -> None:
    assert parse_proxies("shopify,10.0.0.1") == Proxies(parse_networks("10.0.0.1"), shopify=True)
    assert parse_proxies("") == Proxies()
    with pytest.raises(ValueError, match="shopify"):
        parse_networks("shopify")


@pytest.mark.parametrize(
    "written", ["::ffff:203.0.113.9", "::ffff:203.0.113.0/120", "::FFFF:CB00:7109/128", "::ffff:0:0/96"]
)
def test_network_of_mapped_addresses_has_those_that_come_by_ipv4(written: str) -> None:
    assert is_within(VISITOR, parse_networks(written))
    assert is_within(f"::ffff:{VISITOR}", parse_networks(written))
    assert not is_within("2001:db8::1", parse_networks(written))
