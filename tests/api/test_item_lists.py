"""The items of a registry, filtered and sorted."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import httpx
import pytest
from redis.asyncio import Redis

from api.schemas.responses import ItemList
from tests.support.aliases import Demo
from tests.support.api import Shopper, problem
from wishcraft.cache import keys

PATH: Final = "/api/registries"
ROWS: Final[tuple[tuple[str, str, str, bool, int, int], ...]] = (
    # title, price, priority, available, wanted, purchased; in display order
    ("vase", "20.00", "low", True, 1, 0),
    ("lamp", "9.50", "high", False, 2, 2),
    ("rug", "100.00", "medium", True, 3, 1),
    ("bowl", "20.00", "high", True, 1, 4),
    ("fork", "9.49", "medium", False, 6, 0),
)
ALL: Final = ["vase", "lamp", "rug", "bowl", "fork"]


@pytest.fixture
async def slug(emma: Shopper, demo: Demo) -> str:
    """The slug of a registry with these items; the one that is displayed last is the oldest."""
    slug = await emma.create()
    found = demo.execute("SELECT id FROM registries WHERE slug = %s", [slug]).fetchone()
    assert found
    for order, (title, price, priority, available, wanted, purchased) in reversed(list(enumerate(ROWS))):
        demo.execute(
            """INSERT INTO registry_items (shop_id, registry_id, product_id, variant_id, inventory_item_id, handle,
                   product_title, variant_title, price, currency, tracked, inventory_quantity, inventory_policy,
                   display_order, priority, available, quantity_wanted, quantity_purchased)
               VALUES (1, %s, 1, %s, 1, 'h', %s, '', %s, 'USD', true, 5, 'deny', %s, %s, %s, %s, %s)""",
            [found[0], order + 1, title, price, order, priority, available, wanted, purchased],
        )
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Refilled"}, if_match="*")
    return slug


async def titles(shopper: Shopper, slug: str, query: str) -> list[str]:
    answer = await shopper.send("GET", f"{PATH}/{slug}/items?{query}")
    assert answer.status_code == 200, answer.text
    return [item.product_title for item in ItemList.model_validate_json(answer.content).items]


async def test_items_are_filtered_and_sorted(guest: Shopper, slug: str) -> None:
    for query, expected in {
        "": ALL,
        "sort=display_order": ALL,
        "available=true": ["vase", "rug", "bowl"],
        "available=false": ["lamp", "fork"],
        "given=false": ["vase", "rug", "fork"],
        "given=true": ["lamp", "bowl"],
        "price_min=9.5": ["vase", "lamp", "rug", "bowl"],
        "price_max=9.4999": ["fork"],
        "price_min=20&price_max=20.00": ["vase", "bowl"],
        "priority=high": ["lamp", "bowl"],
        "available=true&given=false&price_max=50": ["vase"],
        "sort=price": ["fork", "lamp", "vase", "bowl", "rug"],
        "sort=-price": ["rug", "vase", "bowl", "lamp", "fork"],
        "sort=priority": ["lamp", "bowl", "rug", "fork", "vase"],
        "sort=newest": ALL,
        "sort=newest&priority=medium": ["rug", "fork"],
        "sort=price&available=true": ["vase", "bowl", "rug"],
    }.items():
        assert await titles(guest, slug, query) == expected, query


async def test_newest_item_is_the_one_added_last(guest: Shopper, emma: Shopper, slug: str) -> None:
    items = (await guest.read(slug)).json()["items"]
    await emma.send("PATCH", f"{PATH}/{slug}/items/{items[0]['id']}", {"display_order": 99}, if_match="*")
    assert await titles(guest, slug, "") == [*ALL[1:], "vase"]
    assert await titles(guest, slug, "sort=newest") == ALL


async def test_listed_items_are_those_of_the_registry(guest: Shopper, slug: str) -> None:
    read = (await guest.read(slug)).json()
    assert [Decimal(item["price"]) for item in read["items"]] == [Decimal(row[1]) for row in ROWS]
    answer = await guest.send("GET", f"{PATH}/{slug}/items")
    assert answer.json() == {"currency": read["currency"], "items": read["items"]}
    assert answer.headers["cache-control"] == (await guest.read(slug)).headers["cache-control"]


async def test_unknown_and_malformed_parameters_are_refused(
    client: httpx.AsyncClient, key: dict[str, str], guest: Shopper, slug: str
) -> None:
    for query in (
        "availabel=true", "available=maybe", "price_min=cheap", "price_max=-1", "price_min=1e3",
        "price_max=999999999999", "price_min=%D9%A1", "priority=urgent", "sort=title", "limit=5",
        "price_min=5.01&price_max=5",
    ):  # fmt: skip
        assert problem(await guest.send("GET", f"{PATH}/{slug}/items?{query}")) == (422, "invalid-request"), query
        answer = await client.get(f"{PATH}/{slug}/items?{query}", headers=key)
        assert problem(answer) == (422, "invalid-request"), query
    refused = await guest.send("GET", f"{PATH}/{slug}/items?availabel=true")
    assert "availabel" in refused.json()["detail"]
    assert "available" in refused.json()["detail"]


async def test_items_have_an_etag_for_each_selection(guest: Shopper, emma: Shopper, slug: str) -> None:
    path = f"{PATH}/{slug}/items?sort=price"
    first = await guest.send("GET", path)
    tag = first.headers["etag"]
    again = await guest.send("GET", path, if_none_match=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert (await guest.send("GET", f"{PATH}/{slug}/items", if_none_match=tag)).status_code == 200
    assert (await guest.read(slug, if_none_match=tag)).status_code == 200
    item = first.json()["items"][0]["id"]
    await emma.send("PATCH", f"{PATH}/{slug}/items/{item}", {"notes": "blue"}, if_match="*")
    changed = await guest.send("GET", path, if_none_match=tag)
    assert (changed.status_code, changed.json()["items"][0]["notes"]) == (200, "blue")


async def test_items_are_read_by_who_may_read_the_registry(
    client: httpx.AsyncClient, signed: Callable[..., str], emma: Shopper, guest: Shopper, slug: str
) -> None:
    foreign = Shopper(client, signed, shop="sakura-living.myshopify.com")
    assert problem(await foreign.send("GET", f"{PATH}/{slug}/items")) == (404, "not-found")
    assert problem(await guest.send("GET", f"{PATH}/none-such/items")) == (404, "not-found")
    code = {"visibility": "password", "access_code": "tulip-canoe-amber"}
    await emma.send("PATCH", f"{PATH}/{slug}", code, if_match="*")
    assert problem(await guest.send("GET", f"{PATH}/{slug}/items")) == (403, "access-code-required")
    unlocked = await guest.send("POST", f"{PATH}/{slug}/unlock", {"access_code": "tulip-canoe-amber"})
    assert await titles(guest, slug, f"grant={unlocked.json()['grant']}&given=true") == ["lamp", "bowl"]
    await emma.send("PATCH", f"{PATH}/{slug}", {"visibility": "private"}, if_match="*")
    assert problem(await guest.send("GET", f"{PATH}/{slug}/items")) == (404, "not-found")
    own = await emma.send("GET", f"{PATH}/{slug}/items")
    assert (own.status_code, own.headers["cache-control"]) == (200, "private, no-cache, no-transform")


async def test_items_come_from_the_cache(guest: Shopper, slug: str, redis: Redis) -> None:
    answer = await guest.send("GET", f"{PATH}/{slug}/items?given=false")
    assert answer.headers["x-cache"] == "hit"
    before = await redis.get(keys.entry_key(1, slug))
    await guest.send("GET", f"{PATH}/{slug}/items?sort=price")
    assert await redis.get(keys.entry_key(1, slug)) == before
