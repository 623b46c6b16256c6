import random
import re
from datetime import date
from decimal import Decimal

import orjson
import pytest
from psycopg import ClientCursor, sql

from tests.support.aliases import Demo
from wishcraft.domain.registries import ItemStatus, Priority
from wishcraft.domain.registry_payload import registry_payload
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import load_registries
from wishcraft.store import registries, registry_payloads

TEXTS = ("", "plain", 'a "quoted" \\ word', "tab\tand\nline\x01\x1f\x7f", "çé 日本 🎁\u2028", "</script>", "'{}[],:%s")
PRICES = ("0", "0.01", "0.50", "1.50", "2.50", "12.34", "99.995", "12.3455", "0.00005", "99999999999.9999")


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD", "CLF"])
@pytest.mark.parametrize("seed", range(3))
async def test_the_sql_payload_equals_the_domains_byte_for_byte(
    resources: Resources, demo: Demo, seed: int, currency: str
) -> None:
    demo.execute("UPDATE shops SET currency = %s WHERE id = 1", [currency])
    scramble(demo, random.Random(seed))  # noqa: S311  test data
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = 1")]
    documents = await load_registries(resources, 1, slugs)
    async with resources.db.repeatable_read() as session:
        facts = await registries.find_facts(session, 1, slugs, resources.shopify_origin)
    assert {registry.slug for registry, _ in facts} == set(slugs)
    for registry, items in facts:
        assert documents[registry.slug].body == orjson.dumps(registry_payload(registry, items))


def test_generic_plan_computes_the_values_of_the_shop_once(demo: Demo) -> None:
    plan = demo.execute(b"EXPLAIN (GENERIC_PLAN, VERBOSE) " + registry_payloads.find(1, []).statement.sql).fetchall()
    assert "\n".join(line for (line,) in plan).count("::jsonb ->>") == 1


def test_planner_expects_as_many_registries_for_one_slug_as_for_ten(demo: Demo) -> None:
    """A plan for one would cost less than the generic one, so PostgreSQL would plan each query for one again."""
    expected = set[str]()
    for count in (1, 10):
        find, parameters = registry_payloads.find(1, [f"slug-{number}" for number in range(count)])
        query = re.sub(rb"\$(\d)", rb"%(p\1)s", find.sql.replace(b"%", b"%%"))
        values = {f"p{number}": value for number, value in enumerate(parameters, 1)}
        [(line, *_)] = ClientCursor(demo).execute(b"EXPLAIN " + query, values).fetchmany(1)
        expected |= set(re.findall(r"rows=\d+", line))
    assert len(expected) == 1


async def test_unknown_slugs_are_skipped(resources: Resources) -> None:
    assert await load_registries(resources, 1, ["nobody-has-this"]) == {}


def scramble(demo: Demo, rng: random.Random) -> None:
    """Give the shop's registries and items all that their columns can hold."""
    for (registry_id,) in demo.execute("SELECT id FROM registries WHERE shop_id = 1").fetchall():
        change(
            demo, "registries", registry_id,
            title=rng.choice(TEXTS), description=rng.choice(TEXTS), event_date=rng.choice((None, date(2026, 2, 28))),
        )  # fmt: skip
    ids = [item_id for (item_id,) in demo.execute("SELECT id FROM registry_items WHERE shop_id = 1").fetchall()]
    for item_id in ids:
        change(
            demo, "registry_items", item_id,
            handle=rng.choice(TEXTS), product_title=rng.choice(TEXTS), variant_title=rng.choice(TEXTS),
            notes=rng.choice(TEXTS), image=rng.choice((None, *TEXTS)), priority=rng.choice(list(Priority)).value,
            status=rng.choice(list(ItemStatus)).value, price=Decimal(rng.choice(PRICES)),
            compare_at_price=rng.choice((None, Decimal(rng.choice(PRICES)))), tracked=rng.random() < 0.8,
            available=rng.random() < 0.5, inventory_quantity=rng.choice((-3, 0, 1, 4, 5, 6, 99)),
            quantity_wanted=rng.randint(1, 4), quantity_purchased=rng.randint(0, 5), display_order=rng.randint(0, 2),
        )  # fmt: skip
    empty = demo.execute("SELECT min(id) FROM registries WHERE shop_id = 1").fetchone()
    demo.execute("DELETE FROM registry_items WHERE registry_id = %s", empty)


def change(demo: Demo, table: str, row_id: int, **values: object) -> None:
    columns = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
    query = sql.SQL("UPDATE {} SET {} WHERE id = %s").format(sql.Identifier(table), columns)
    demo.execute(query, [*values.values(), row_id])
