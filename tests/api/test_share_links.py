"""The share link of a registry, by its shop's setting, in every answer."""

from typing import Any

import pytest
from psycopg import Connection
from pydantic import ValidationError

from tests.support.api import SHOP, Visitor
from wishcraft.store.schema import ShopSettings

Demo = Connection[tuple[Any, ...]]


async def shared(visitor: Visitor, slug: str) -> set[str]:
    """The share links of the registry in all answers that contain it."""
    one = (await visitor.read(slug)).json()
    lists = [
        (await visitor.send("GET", path)).json()["registries"] for path in ("/api/registries", "/api/my-registries")
    ]
    return {one["share_url"], *(each["share_url"] for found in lists for each in found if each["slug"] == slug)}


async def test_share_url_is_a_page_at_the_shops_domain_by_default(emma: Visitor) -> None:
    slug = await emma.create()
    assert await shared(emma, slug) == {f"https://{SHOP}/apps/registry/r/{slug}"}


async def test_share_url_follows_the_shops_own_template(emma: Visitor, demo: Demo) -> None:
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
