import pytest

from tests.support.aliases import Demo
from wishcraft.resources import Resources
from wishcraft.store import registry_views

SHOP = 1


@pytest.fixture
def ids(demo: Demo) -> list[int]:
    """The shop's four registries, all active, old and never read: the first is public, the others are not."""
    demo.execute("TRUNCATE registry_views")
    demo.execute("UPDATE registries SET status = 'active', created_at = now() - interval '60 days'")
    found = demo.execute("SELECT id FROM registries WHERE shop_id = %s ORDER BY id", [SHOP]).fetchall()
    for number, visibility in enumerate(("public", "unlisted", "password", "private")):
        demo.execute("UPDATE registries SET visibility = %s WHERE id = %s", [visibility, found[number][0]])
    return [registry_id for (registry_id,) in found]


def view(demo: Demo, registry_id: int, times: int, days_ago: int = 0) -> None:
    demo.execute(
        "INSERT INTO registry_views (shop_id, registry_id, day, views) VALUES (%s, %s, current_date - %s::int, %s)",
        [SHOP, registry_id, days_ago, times],
    )


def slug_of(demo: Demo, registry_id: int) -> str:
    row = demo.execute("SELECT slug FROM registries WHERE id = %s", [registry_id]).fetchone()
    assert row
    return str(row[0])


async def test_most_viewed_registries_come_first_and_only_public_ones_have_a_slug(
    resources: Resources, demo: Demo, ids: list[int]
) -> None:
    for number, registry_id in enumerate(ids):
        view(demo, registry_id, 10 * (number + 1))
    view(demo, ids[0], 100, days_ago=6)
    view(demo, ids[1], 1000, days_ago=7)
    async with resources.db.repeatable_read() as session:
        found = await registry_views.find_most_viewed(session, SHOP, 7, 3)
        elsewhere = await registry_views.find_most_viewed(session, 2, 7, 3)
    assert found == [(ids[0], slug_of(demo, ids[0]), 110), (ids[3], None, 40), (ids[2], None, 30)]
    assert elsewhere == []


async def test_unviewed_registries_are_counted_and_only_public_ones_named(
    resources: Resources, demo: Demo, ids: list[int]
) -> None:
    async with resources.db.repeatable_read() as session:
        assert await registry_views.find_unviewed(session, SHOP, 30, 5) == (4, 4, [slug_of(demo, ids[0])])
    view(demo, ids[0], 1, days_ago=29)
    view(demo, ids[1], 1, days_ago=30)
    demo.execute("UPDATE registries SET created_at = now() WHERE id = %s", [ids[2]])
    demo.execute("UPDATE registries SET status = 'archived' WHERE id = %s", [ids[3]])
    async with resources.db.repeatable_read() as session:
        assert await registry_views.find_unviewed(session, SHOP, 30, 5) == (3, 1, [])


async def test_viewed_registries_among_the_given_are_counted(resources: Resources, demo: Demo, ids: list[int]) -> None:
    slugs = [slug_of(demo, each) for each in ids]
    view(demo, ids[0], 3)
    view(demo, ids[1], 3, days_ago=8)
    async with resources.db.repeatable_read() as session:
        assert await registry_views.count_viewed(session, SHOP, slugs, 7) == 1
        assert await registry_views.count_viewed(session, SHOP, [], 7) == 0
