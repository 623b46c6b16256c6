"""A caller of one shop sees and changes nothing of another, with any ids, slugs and keys."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import httpx
import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier
from redis import Redis

from deployments.sandbox.demo import add_key
from deployments.sandbox.demo_rows import ACCESS_CODE
from deployments.sandbox.shopify.inventory import Inventory
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo, OpenClient
from tests.support.api import JSON, SHOP, WEDDING, Shopper, app_state_of
from tests.support.hypothesis_profiles import examples
from wishcraft.domain.registry_lists import ListSort, Position, encode_cursor
from wishcraft.settings import Settings
from wishcraft.store.registry_lists import Search
from wishcraft.store.schema import Base

MARKER: Final = "qx7otherstenantqx7"
OTHERS: Final = ("lumiere-maison.myshopify.com", "sakura-living.myshopify.com")
ROUTES: Final[tuple[tuple[str, str, object], ...]] = (
    ("GET", f"/api/registries?q={MARKER}", None),
    ("GET", "/api/registries?cursor={cursor}", None),
    ("GET", "/api/registries?sort=name&cursor={name_cursor}", None),
    ("GET", "/api/registries?sort=event_date&cursor={date_cursor}", None),
    ("GET", "/api/my-registries?cursor={own_cursor}", None),
    ("POST", "/api/registries", WEDDING),
    ("GET", "/api/registries/{ref}", None),
    ("GET", "/api/registries/{ref}?grant={grant}", None),
    ("GET", "/api/r/{ref}", None),
    ("GET", "/api/r/{ref}?grant={grant}", None),
    ("POST", "/api/r/{ref}", None),
    ("POST", "/api/admin/installation", None),
    ("GET", "/api/registries/{ref}/items?sort=price&given=false", None),
    ("GET", "/api/registries/{ref}/items?grant={grant}", None),
    ("PATCH", "/api/registries/{ref}", {"title": "Taken", "access_code": "another-code", "status": "archived"}),
    ("DELETE", "/api/registries/{ref}", None),
    ("POST", "/api/registries/{ref}/items", {"variant_id": "{variant}"}),
    ("GET", "/api/products?ids={variant}", None),
    ("PATCH", "/api/registries/{ref}/items/{item}", {"quantity": 999, "notes": "Taken"}),
    ("PATCH", "/api/registries/{own}/items/{item}", {"quantity": 999, "notes": "Taken"}),
    ("DELETE", "/api/registries/{ref}/items/{item}", None),
    ("DELETE", "/api/registries/{own}/items/{item}", None),
    ("POST", "/api/registries/{ref}/unlock", {"access_code": ACCESS_CODE}),
    ("GET", "/api/admin/keys", None),
    ("POST", "/api/admin/keys", {"name": "Taken", "scopes": ["read"]}),
    ("POST", "/api/admin/keys/{prefix}/rotate", {"grace_hours": 0}),
    ("DELETE", "/api/admin/keys/{prefix}", None),
    ("GET", "/api/admin/usage", None),
    ("GET", "/api/admin/settings", None),
    ("POST", "/api/admin/suppressions/lift", {"email": "someone@example.com"}),
    ("PATCH", "/api/admin/settings", {"low_stock_threshold": 999_999, "cache_quota_entries": 1}),
    ("GET", "/api/admin/audit", None),
    ("POST", "/api/registries/{ref}/events", {"visitor_id": "x", "events": [{"type": "registry_viewed"}]}),
)
"""Calls that name something of another shop must be refused; others may answer with data of the caller's own shop."""

OF_NO_SHOP: Final = re.compile(
    r"/(health.*|metrics|admin/jobs|api/docs.*|files/\{run\}/\{name\})|/api/(webhooks|mail-events)/.*"
    r"|/api/(unsubscribe|invitations)/\{token\}(/decline|/undo)?"
)
"""Paths without a caller; in the last, the token names the shop, and in a signed webhook Shopify."""
OWNERS: Final[Mapping[str, tuple[str, object]]] = {"shops": ("id", 1), "webhook_events": ("shop_domain", SHOP)}
"""Where the first shop is in tables without `shop_id`."""


class World(NamedTuple):
    """The callers of the first shop, by kind, and the other shops' identifiers."""

    callers: Mapping[str, Callable[..., Any]]
    known: Mapping[str, list[str]]
    client: httpx.AsyncClient


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No rate limit."""
    return settings.model_copy(update={"rate_limit_per_minute": 10**9})


def plant(demo: Demo) -> None:
    """Put a marker into every readable column of the other shops."""
    demo.execute(
        f"""UPDATE registries SET title = '{MARKER} ' || title, description = '{MARKER}', event_location = '{MARKER}',
            slug = '{MARKER}-' || slug, customer_first_name = '{MARKER}', customer_last_name = '{MARKER}',
            customer_email = '{MARKER}@example.com', status = 'active' WHERE shop_id <> 1"""  # noqa: S608  ours
    )
    demo.execute(
        f"""UPDATE registry_items SET notes = '{MARKER}', product_title = '{MARKER}', handle = '{MARKER}',
            image = '{MARKER}' WHERE shop_id <> 1"""  # noqa: S608  ours
    )
    demo.execute(
        f"""INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, metadata, user_agent)
            SELECT id, '{MARKER}', '{MARKER}', '{MARKER}', '{MARKER}', '{{"x": "{MARKER}"}}', '{MARKER}' FROM shops
            WHERE id <> 1"""  # noqa: S608  ours
    )
    demo.execute(f"""UPDATE shops SET settings = '{{"brand_colour": "{MARKER}"}}' WHERE id <> 1""")  # noqa: S608  ours
    demo.execute(
        """UPDATE registries r SET visibility = 'password', access_code_hash = (
               SELECT access_code_hash FROM registries WHERE access_code_hash IS NOT NULL LIMIT 1)
           WHERE shop_id <> 1 AND id % 2 = 0"""
    )


def mark_variants(inventory: Inventory) -> list[str]:
    """Put the marker into some of the shop's variants in Shopify; their ids."""
    found = [each for number in inventory.variant_ids()[:20] if (each := inventory.find(number))]
    for variant in found:
        variant.product_title = variant.variant_title = variant.handle = MARKER
    return [str(variant.variant_id) for variant in found]


def column(demo: Demo, query: str) -> list[str]:
    """The query's only column, as text."""
    return [str(value) for (value,) in demo.execute(query).fetchall()]


def checksums(demo: Demo, redis: Redis) -> dict[str, object]:
    """All data of the other shops, in every table and in Redis."""
    sums: dict[str, object] = {}
    for table in Base.metadata.sorted_tables:
        if table.name in {"service_minutes", "locks"}:  # counts of the whole service; names of work
            continue
        owner, first = OWNERS.get(table.name, ("shop_id", 1))
        assert owner in table.columns, f"{table.name} is of no shop"
        query = SQL(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t WHERE {} IS DISTINCT FROM {}"
        )
        parts = (Identifier(table.name), Identifier(owner), first)
        sums[table.name] = demo.execute(query.format(*parts)).fetchone()
    for key in redis.scan_iter("wishcraft:{[^1]*"):
        sums[key.decode()] = redis.dump(key)
    return sums


async def unlock_others(
    client: httpx.AsyncClient, signed: Callable[..., str], demo: Demo, variants: dict[str, list[str]], customer: int
) -> list[str]:
    """Use the API in the other shops, so that Redis has their marked data; the grants of their registries."""
    grants = []
    for domain in OTHERS:
        guest = Shopper(client, signed, shop=domain)
        shop_id = OTHERS.index(domain) + 2
        slug = column(demo, f"SELECT slug FROM registries WHERE shop_id = {shop_id} AND visibility = 'password'")[0]  # noqa: S608  ours
        unlocked = await guest.send("POST", f"/api/registries/{slug}/unlock", {"access_code": ACCESS_CODE})
        grants.append(unlocked.json()["grant"])
        assert MARKER in (await guest.read(slug, x_registry_grant=grants[-1])).text  # its own shop shows the marker
        other = Shopper(client, signed, customer, shop=domain)
        await other.send("POST", "/api/registries", WEDDING | {"title": MARKER}, idempotency_key="taken")
        assert MARKER in (await other.send("GET", f"/api/products?ids={','.join(variants[domain])}")).text
    return grants


async def create_own(client: httpx.AsyncClient, shopper: Shopper) -> str:
    """Create a registry of the first shop; its slug."""
    own = await shopper.create()
    await app_state_of(client).traffic_recorder.flush()
    return own


@pytest.fixture
def world(
    runner: asyncio.Runner,
    settings: Settings,
    open_client: OpenClient,
    demo: Demo,
    signed: Callable[..., str],
    token: Callable[..., dict[str, str]],
    simulator: Simulator,
) -> Iterator[World]:
    """An API, its callers, and the marked data of the other shops."""
    if not column(demo, "SELECT 1 FROM registries WHERE access_code_hash IS NOT NULL"):
        pytest.fail("the demo data has no access code to take over")
    plant(demo)
    context = open_client(settings)
    client = runner.run(context.__aenter__())
    variants = {domain: mark_variants(simulator.shops[domain].inventory) for domain in OTHERS}
    customers = column(demo, "SELECT customer_id FROM registries WHERE shop_id <> 1 ORDER BY id")
    key = {"X-API-Key": add_key(demo, 1).key}
    prefixes = [add_key(demo, shop_id).prefix for shop_id in (2, 3)]
    shopper = Shopper(client, signed, int(customers[0]))
    merchant = token(exp=int(time.time()) + 3600)

    def by_headers(headers: dict[str, str]) -> Callable[..., Any]:
        async def send(method: str, path: str, body: object, **more: str) -> httpx.Response:
            sent = JSON | headers | {name.replace("_", "-"): value for name, value in more.items()}
            return await client.request(method, path, json=body, headers=sent)

        return send

    grants = runner.run(unlock_others(client, signed, demo, variants, int(customers[0])))
    own = runner.run(create_own(client, shopper))
    ids = [int(each) for each in column(demo, "SELECT id FROM registries ORDER BY id")]
    yield World(
        callers={
            "guest": Shopper(client, signed).send,
            "customer": shopper.send,
            "server": by_headers(key | {"X-Customer-Id": customers[0]}),
            "merchant": by_headers(merchant | {"X-Customer-Id": customers[0]}),
        },
        known={
            "ref": column(demo, "SELECT slug FROM registries WHERE shop_id <> 1 UNION"
                                " SELECT id::text FROM registries WHERE shop_id <> 1 ORDER BY 1"),
            "item": column(demo, "SELECT id FROM registry_items WHERE shop_id <> 1 ORDER BY id"),
            "variant": [number for numbers in variants.values() for number in numbers],
            "cursor": [encode_cursor(ListSort.NEWEST, Search(), Position(None, each + 1)) for each in ids],
            "name_cursor": [encode_cursor(ListSort.NAME, Search(), Position("", each - 1)) for each in ids],
            "date_cursor": [encode_cursor(ListSort.EVENT_DATE, Search(), Position(None, each - 1)) for each in ids],
            "own_cursor": [encode_cursor(ListSort.NEWEST, ("own", None), Position(None, each + 1)) for each in ids],
            "prefix": prefixes,
            "grant": grants,
            "own": [own],
        },
        client=client,
    )  # fmt: skip
    runner.run(context.__aexit__(None, None, None))


def fill(template: object, values: Mapping[str, str]) -> Any:
    """The path template with its parameters filled in."""
    if isinstance(template, dict):
        return {name: fill(value, values) for name, value in template.items()}
    if isinstance(template, str):
        return template.format(**values)
    return template


@pytest.mark.hypothesis
@pytest.mark.long
def test_no_caller_sees_or_changes_anything_of_another_shop(
    runner: asyncio.Runner, world: World, demo: Demo, redis_url: str
) -> None:
    redis = Redis.from_url(redis_url)
    for pattern in ("wishcraft:{[^1]*:marks", "wishcraft:{[^1]*:written"):
        for fleeting in redis.scan_iter(pattern):
            redis.delete(fleeting)  # their fields expire during the test; a new one is a change
    before = checksums(demo, redis)
    statuses: dict[tuple[str, str], set[int]] = {}

    @hypothesis.settings(max_examples=examples(quick=2, deep=30), suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def call(kind: str, route: tuple[str, str, object], data: st.DataObject) -> None:
        values = {name: data.draw(st.sampled_from(known), label=name) for name, known in world.known.items()}
        headers = {"if_match": "*", "idempotency_key": "taken", "x_registry_grant": values["grant"]}
        method, path, body = (fill(part, values) for part in route)
        answer = runner.run(world.callers[kind](method, path, body, **headers))
        said = f"{answer.headers} {answer.text}".lower()
        assert MARKER not in said, (kind, method, path)
        statuses.setdefault((kind, f"{method} {route[1]}"), set()).add(answer.status_code)

    for kind in world.callers:
        for route in ROUTES:
            call(kind, route)
    runner.run(app_state_of(world.client).traffic_recorder.flush())
    assert checksums(demo, redis) == before
    redis.close()
    for kind in ("customer", "server", "merchant"):  # another shop's customer may have the same id and the same key
        assert statuses[kind, "POST /api/registries"] == {201}
        assert all(found == {200} for (who, route), found in statuses.items() if who == kind and "_cursor}" in route)
    named = {
        route: found
        for (_, route), found in statuses.items()
        if "cursor}" not in route and set(route.split("{")[1:]) - {"variant}"}
    }
    for name, found in named.items():
        assert found <= {403, 404, 409}, name


async def test_every_route_with_data_of_a_shop_is_tried_with_another_shops_credentials(
    settings: Settings, open_client: OpenClient
) -> None:
    async with open_client(settings) as client:
        paths = (await client.get("/api/docs")).json()["paths"]
    documented = {
        (method.upper(), path)
        for path, operations in paths.items()
        for method in operations
        if method in {"get", "post", "put", "patch", "delete"} and not OF_NO_SHOP.fullmatch(path)
    }
    tried = {
        (method, path.partition("?")[0].replace("{own}", "{ref}").replace("{item}", "{item_id}"))
        for method, path, _ in ROUTES
    }
    assert tried == documented


async def test_same_slug_in_two_shops_names_two_registries(
    settings: Settings, open_client: OpenClient, signed: Callable[..., str], demo: Demo
) -> None:
    async with open_client(settings) as client:
        here, there = (Shopper(client, signed, 4711, shop) for shop in (SHOP, OTHERS[0]))
        slug = await here.create(title="Here")
        demo.execute(
            """INSERT INTO registries (shop_id, slug, title, event_type, visibility, customer_id, customer_email,
                                       customer_first_name, customer_last_name)
               SELECT 2, slug, 'There', event_type, visibility, customer_id, customer_email, 'x', 'x'
               FROM registries WHERE slug = %s""",
            [slug],
        )
        for _ in range(2):  # from PostgreSQL, and from Redis
            assert [(await each.read(slug)).json()["title"] for each in (here, there)] == ["Here", "There"]
        await there.send("PATCH", f"/api/registries/{slug}", {"title": "Changed"}, if_match="*")
        assert [(await each.read(slug)).json()["title"] for each in (here, there)] == ["Here", "Changed"]
        await here.send("DELETE", f"/api/registries/{slug}", if_match="*")
        assert (await Shopper(client, signed, shop=OTHERS[0]).read(slug)).status_code == 200
        assert (await Shopper(client, signed).read(slug)).status_code == 404
