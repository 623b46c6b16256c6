"""The share link of a registry, by its shop's setting, in every answer."""

from collections.abc import Callable

import httpx
import pytest
from pydantic import ValidationError

from tests.support.aliases import Demo, OpenClient
from tests.support.api import SHOP, Shopper
from tests.support.living_shop import living_shop
from wishcraft.settings import Settings
from wishcraft.store.schema import ShopSettings


async def shared(shopper: Shopper, slug: str) -> set[str]:
    """The share links of the registry in all answers that contain it."""
    one = (await shopper.read(slug)).json()
    lists = [
        (await shopper.send("GET", path)).json()["registries"] for path in ("/api/registries", "/api/my-registries")
    ]
    return {one["share_url"], *(each["share_url"] for found in lists for each in found if each["slug"] == slug)}


async def test_share_url_is_a_page_at_the_shops_domain_by_default(
    settings: Settings, demo: Demo, open_client: OpenClient, signed: Callable[..., str]
) -> None:
    async with open_client(settings.model_copy(update={"shopify_origin": "https://{shop}"})) as client:
        emma = Shopper(client, signed, 7_100_000_000_001)
        slug = await emma.create()
        assert await shared(emma, slug) == {f"https://{SHOP}/apps/registry/r/{slug}"}


async def test_share_url_opens_the_page_of_a_registry_in_the_simulated_shop(
    settings: Settings, emma: Shopper, client: httpx.AsyncClient
) -> None:
    [link] = await shared(emma, await emma.create())
    simulator, _, path = link.partition(f"/{SHOP}/")
    assert simulator == settings.shopify_origin.removesuffix("/{shop}")
    async with living_shop(client._transport) as living:
        page = await living.http.get(f"/{SHOP}/{path}")
    assert page.status_code == 200
    assert "Emma &amp; Hugo" in page.text


async def test_share_url_follows_the_shops_own_template(emma: Shopper, demo: Demo) -> None:
    template = "https://www.maple.example/pages/registry?slug={slug}&from=share%20link"
    demo.execute(
        "UPDATE shops SET settings = settings || jsonb_build_object('share_url', %s::text) WHERE id = 1", [template]
    )
    slug = await emma.create()
    assert await shared(emma, slug) == {template.replace("{slug}", slug)}


@pytest.mark.parametrize("template", ["https://shop.example/", f"https://shop.example/{'x' * 500}/{{slug}}"])
def test_invalid_template_is_no_setting(template: str) -> None:
    with pytest.raises(ValidationError, match="share_url"):
        ShopSettings(share_url=template)
