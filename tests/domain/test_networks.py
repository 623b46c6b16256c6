import pytest

from wishcraft.domain.networks import client_address, is_within, parse_networks

OURS = parse_networks("10.0.0.0/8, 192.168.1.1 2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "hops", "address"),
    [
        ("203.0.113.9", [], 0, "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], 0, "203.0.113.9"),  # who is no proxy of ours is not believed
        ("10.0.0.1", ["198.51.100.1"], 0, "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], 0, "198.51.100.1"),  # what the client made up stands further left
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.2.3.4"], 0, "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], 0, "198.51.100.1"),
        ("10.0.0.1", ["2001:db8::1"], 0, "2001:db8::1"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.1"], 1, "203.0.113.5"),  # the last but one, seen by a proven proxy
        ("198.51.100.1", ["203.0.113.5"], 1, "203.0.113.5"),
        ("198.51.100.1", [], 1, "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:51234"], 0, "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:51234, 10.2.3.4:80"], 0, "198.51.100.1"),
        ("10.0.0.1", ["[2001:db9::1]:443, [2001:db8::1]"], 0, "2001:db9::1"),
        ("10.0.0.1", ["2001:db9::1"], 0, "2001:db9::1"),
        ("10.0.0.1", [""], 0, "unknown"),
        ("", [], 0, "unknown"),
        ("10.0.0.1", ["no address"], 0, "no address"),
        ("10.0.0.1", ["x" * 60_000], 0, "unknown"),
    ],
)
def test_the_client_address_is_the_nearest_untrusted_one(
    peer: str, forwarded: list[str], hops: int, address: str
) -> None:
    assert client_address(peer, forwarded, OURS, hops) == address


@pytest.mark.parametrize(
    ("address", "within"),
    [("10.255.0.1", True), ("11.0.0.1", False), ("192.168.1.1", True), ("192.168.1.2", False),
     ("2001:db8:1::", True), ("::1", False), ("unknown", False), ("", False)],
)  # fmt: skip
def test_an_address_is_within_its_networks_only(address: str, within: bool) -> None:
    assert is_within(address, OURS) is within


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.com", "10.0.0.1/8"])
def test_an_invalid_network_is_rejected_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition("/")[0]):
        parse_networks(f"10.0.0.0/8, {text}")
