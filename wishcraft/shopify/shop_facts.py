"""Reads what Shopify says of a shop: from the Admin API at the installation, later from `shop/update` webhooks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from wishcraft.domain.shops import ShopFacts, shop_facts, usable_facts
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import PayloadInvalid, ShopifyUnavailable
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import READ_SHOP


class DescribedShop(NamedTuple):
    """A shop's facts and the name of its plan."""

    facts: ShopFacts
    plan: str


async def read_shop(client: ShopifyClient, shop: str, token: OfflineToken) -> DescribedShop:
    """Read the shop with a token that is not stored yet.

    Raises:
        ShopifyUnavailable: The answer cannot be used; the message says why.
        WishCraftError: As `ShopifyClient.query` does.
    """
    node = (await client.query_with(token, shop, READ_SHOP, {}))["shop"]
    try:
        facts = shop_facts(node["name"], node["email"], node["currencyCode"], node["ianaTimezone"])
    except ValueError as error:
        raise ShopifyUnavailable(f"{shop}: {error}") from None
    return DescribedShop(facts, str((node.get("plan") or {}).get("publicDisplayName") or ""))


class ShopUpdate(NamedTuple):
    """A shop's facts since a time."""

    facts: dict[str, str]
    """The valid facts, by their names in `ShopFacts`."""
    problems: list[str]
    """The faults of the others, without their values."""
    since: datetime


def read_shop_update(payload: Mapping[str, Any]) -> ShopUpdate:
    """Read the facts in a `shop/update` webhook. A shop without an e-mail address has an empty one.

    Raises:
        PayloadInvalid: It says no time.
    """
    try:
        since = datetime.fromisoformat(str(payload.get("updated_at")))
        since = since.astimezone(UTC) if since.tzinfo else since.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # its text has the value
        raise PayloadInvalid("updated_at is not a time.") from None
    name, email, currency, timezone = (payload.get(each) for each in ("name", "email", "currency", "iana_timezone"))
    facts, problems = usable_facts(name, "" if email is None else email, currency, timezone)
    if "email" not in payload:  # a person was erased, to whom it belonged
        del facts["email"]
    return ShopUpdate(facts, problems, since)
