import orjson
import psycopg
import pytest

from tests.support.aliases import Demo
from wishcraft.resources import Resources
from wishcraft.store import registry_payloads, shops
from wishcraft.store.schema import ShopSettings

COPY_REGISTRY = """
    INSERT INTO registries (shop_id, slug, title, event_type, visibility, customer_email, customer_first_name,
                            customer_last_name)
    SELECT %s, slug, title, event_type, visibility, customer_email, customer_first_name, customer_last_name
    FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 1
"""
MOVE_ITEM = "UPDATE registry_items SET shop_id = 2 WHERE shop_id = 1"
MOVE_PURCHASE = "UPDATE purchases SET shop_id = 2 WHERE shop_id = 1"


def test_a_slug_is_unique_within_a_shop_only(demo: Demo) -> None:
    demo.execute(COPY_REGISTRY, [2])
    with pytest.raises(psycopg.errors.UniqueViolation):
        demo.execute(COPY_REGISTRY, [1])


@pytest.mark.parametrize("statement", [MOVE_ITEM, MOVE_PURCHASE])
def test_a_row_cannot_belong_to_another_shops_registry(demo: Demo, statement: str) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        demo.execute(statement)


def test_a_line_item_counts_once_per_shop(demo: Demo) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        demo.execute("UPDATE purchases SET line_item_id = 1 WHERE shop_id = 1")


@pytest.mark.parametrize(
    ("table", "column"), [("registries", "visibility"), ("registry_items", "status"), ("purchases", "status")]
)
def test_a_value_outside_the_enumeration_is_refused(demo: Demo, table: str, column: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        demo.execute(f"UPDATE {table} SET {column} = 'nonsense'")  # noqa: S608  ours


def test_no_column_is_a_float(demo: Demo) -> None:
    floats = demo.execute(
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND data_type IN ('real', 'double precision')"""
    ).fetchall()
    assert floats == []


def test_every_timestamp_column_has_a_time_zone(demo: Demo) -> None:
    naive = demo.execute(
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'"""
    ).fetchall()
    assert naive == []


@pytest.mark.parametrize(
    "stored",
    [
        "{}", "[]", "null", "5", '"text"', '[{"low_stock_threshold": 9}]', '{"low_stock_threshold": -1}',
        '{"low_stock_threshold": "9"}', '{"low_stock_threshold": true}', '{"low_stock_threshold": 9.5}',
        '{"low_stock_threshold": 1e400}', '{"low_stock_threshold": 1000000}', '{"low_stock_threshold": null}',
        '{"low_stock_threshold": [9]}', '{"gift_messages": true}', '{"brand_colour": "#12"}',
        '{"share_url": "http://shop.example/{slug}"}', '{"share_url": "https://shop.example:8080/{slug}"}',
        '{"share_url": "https://shop.example/{slug}/{slug}"}', '{"share_url": ["https://shop.example/{slug}"]}',
    ],
)  # fmt: skip
async def test_stored_setting_that_is_not_valid_counts_as_its_default(
    resources: Resources, demo: Demo, stored: str
) -> None:
    demo.execute("UPDATE shops SET settings = %s WHERE id = 1", [stored])
    demo.execute("UPDATE registry_items SET tracked = true, inventory_quantity = 7")
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = 1")]
    async with resources.db.repeatable_read() as session:
        assert await shops.find_settings(session, 1) == ShopSettings()
        assert len(await shops.find_active(session)) == 3
    rows = await resources.db.fetch(registry_payloads.find(1, slugs))
    bodies = [each.body for each in registry_payloads.read(rows, resources.shopify_origin).values()]
    default = resources.shopify_origin.format(shop="maple-and-pine.myshopify.com")
    assert {orjson.loads(body)["share_url"].partition("/apps/")[0] for body in bodies} == {default}
    items = b"".join(bodies).decode()
    assert ('"stock":"in_stock"' in items, '"stock":"low"' in items) == (True, False)


async def test_valid_settings_beside_invalid_ones_are_in_use(resources: Resources, demo: Demo) -> None:
    stored = '{"low_stock_threshold": 8, "cache_quota_bytes": -1, "of_a_newer_release": {}, "brand_colour": "#123456"}'
    demo.execute("UPDATE shops SET settings = %s WHERE id = 1", [stored])
    async with resources.db.repeatable_read() as session:
        settings = await shops.find_settings(session, 1)
    assert settings == ShopSettings(low_stock_threshold=8, brand_colour="#123456")


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("shop_id = 1 AND state = 'sending'", "ix_invitations_find_sending"),
        ("shop_id = 1 AND state = 'pending' AND answer IS NULL AND removed_at IS NULL", "ix_invitations_find_waiting"),
        ("claimed_at >= now()", "ix_invitations_judge_refusals"),
    ],
)
def test_query_about_the_delivery_of_invitations_has_an_index(demo: Demo, condition: str, index: str) -> None:
    demo.execute(
        """INSERT INTO invitations (shop_id, registry_id, recipient, state, claimed_at)
           SELECT shop_id, id, n || '@example.com', 'sent', now() - n * interval '1 minute'
           FROM (SELECT shop_id, id FROM registries LIMIT 1) r, generate_series(1, 5000) n"""
    )
    demo.execute("ANALYZE invitations")
    plan = demo.execute(b"EXPLAIN SELECT recipient FROM invitations WHERE " + condition.encode()).fetchall()
    assert index in str(plan)
