"""A tour of the product, part 1 of 3: registries, as people use them through the API.

Emma is a customer of a Shopify store and keeps a registry there; guests read it. The fixtures `emma` and `guest` send
the requests that the storefront sends for them. PostgreSQL holds the registries. Redis holds a cache entry for each
registry that was read; the response header X-Cache says whether the answer came from there. Purchases come from Shopify
as webhooks.
"""

import httpx

from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper, problem, public_slug
from tests.support.living_shop import consume, living_shop
from wishcraft.resources import Resources


async def test_customer_creates_a_registry_that_guests_can_read(emma: Shopper, guest: Shopper) -> None:
    created = await emma.send("POST", "/api/registries", WEDDING)
    assert created.status_code == 201
    read = await guest.read(created.json()["slug"])
    assert read.status_code == 200
    assert read.json()["title"] == "Emma & Hugo's Wedding"
    assert "emma.reed@example.com" not in read.text  # guests see first names only


async def test_first_read_fills_the_cache_and_the_next_one_is_a_hit(guest: Shopper, demo: Demo) -> None:
    slug = public_slug(demo)
    first, second = await guest.read(slug), await guest.read(slug)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.content == second.content
    unchanged = await guest.read(slug, if_none_match=first.headers["etag"])
    assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_change_is_visible_to_the_next_reader(emma: Shopper, guest: Shopper, slug: str) -> None:
    before = await guest.read(slug)
    changed = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "New"}, if_match=before.headers["etag"])
    assert changed.status_code == 200
    after = await guest.read(slug)
    assert (after.json()["title"], after.headers["x-cache"]) == ("New", "hit")
    # The ETag that Emma has used is not current any more: a second change from the same page is refused.
    lost = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "Old"}, if_match=before.headers["etag"])
    assert problem(lost) == (412, "changed-since")
    assert (await guest.read(slug)).json()["title"] == "New"


async def test_access_code_unlocks_a_registry_for_the_guest_who_knows_it(emma: Shopper, guest: Shopper) -> None:
    slug = await emma.create(visibility="password", access_code="tulip-canoe-amber")
    assert problem(await guest.read(slug)) == (403, "access-code-required")
    refused = await guest.send("POST", f"/api/registries/{slug}/unlock", {"access_code": "wrong-guess"})
    assert refused.status_code == 403
    unlocked = await guest.send("POST", f"/api/registries/{slug}/unlock", {"access_code": "tulip-canoe-amber"})
    grant = unlocked.json()["grant"]
    assert (await guest.read(slug, x_registry_grant=grant)).status_code == 200
    assert problem(await guest.read(slug)) == (403, "access-code-required")


async def test_gift_that_is_bought_in_the_shop_is_shown_as_bought(
    client: httpx.AsyncClient, guest: Shopper, slug: str, resources: Resources
) -> None:
    [wished] = (await guest.read(slug)).json()["items"]
    assert wished["purchased"] == 0
    async with living_shop(client._transport) as shop:  # its webhooks go to the API
        await shop.order({"variant_id": wished["variant_id"], "registry_item": wished["attribution"]})
        await shop.simulator.webhooks.drain()
    await consume(resources)
    read = await guest.read(slug)
    assert (read.json()["items"][0]["purchased"], read.headers["x-cache"]) == (1, "hit")
