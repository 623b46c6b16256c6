"""BOUNCE_ADDRESS: which addresses leave room for the reference of a mail."""

import pytest

from wishcraft.errors import ConfigurationError
from wishcraft.mail.providers.addresses import parse_bounce_address


@pytest.mark.parametrize("address", ["bounces", "a+b@c.example", "elevenchars@c.example", "zoë@c.example"])
def test_a_bounce_address_without_room_for_a_reference_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="BOUNCE_ADDRESS"):
        parse_bounce_address(address)
