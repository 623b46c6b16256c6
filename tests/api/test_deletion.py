"""A registrant deletes a registry for good: what is gone, what stays, and who may."""

import asyncio
from collections.abc import Callable
from typing import Final

import httpx
import pytest
from redis.asyncio import Redis

from deployments.sandbox.demo import add_key
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, app_state_of, problem
from tests.support.invitations import confirm_everyone
from tests.support.residual_data import traces_in_postgresql, traces_in_redis
from tests.support.waiting import wait_until
from wishcraft.cache.registries import WAIT_FOR_FILL_SECONDS
from wishcraft.resources import Resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.operations.invariants import check_shop
from wishcraft.store.shops import ShopRef

PATH: Final = "/api/registries"
CODE: Final = "tulip-canoe-amber"
NAMES: Final = ("zephyrine", "quillon", "orsolina")
"""Names of the registry, its registrants and its buyer, in any spelling."""
PROTECTED: Final = {
    "title": "Zephyrine & Quillon",
    "description": "Orsolina knows",
    "event_type": "wedding",
    "event_date": "2027-06-12",
    "event_location": "Quillon Hall",
    "visibility": "password",
    "access_code": CODE,
    "registrant": {"first_name": "Zephyrine", "last_name": "Reed", "email": "zephyrine@example.com"},
    "co_registrants": [{"first_name": "Quillon", "last_name": "Hall", "email": "quillon@example.com"}],
}
NOTES: Final = "For Quillon"
SUMS: Final = """
    SELECT shop_id, created_at::date, status, count(*), sum(quantity), sum(quantity * unit_price)
    FROM analytics.purchases GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@pytest.fixture
def variant_id(simulator: Simulator) -> int:
    """A variant that the shop sells."""
    return simulator.shops[SHOP].inventory.variant_ids()[0]


@pytest.fixture
async def slug(
    emma: Shopper, guest: Shopper, demo: Demo, client: httpx.AsyncClient, variant_id: int, shop: ShopRef
) -> str:
    """A registry of Emma's with all that may hang on one."""
    created = await emma.send("POST", PATH, PROTECTED, idempotency_key="registry")
    slug: str = created.json()["slug"]
    item = {"variant_id": variant_id, "notes": NOTES}
    assert (await emma.send("POST", f"{PATH}/{slug}/items", item, idempotency_key="item")).status_code == 201
    await guest.send("POST", f"{PATH}/{slug}/unlock", {"access_code": "wrong-wrong"})
    unlocked = await guest.send("POST", f"{PATH}/{slug}/unlock", {"access_code": CODE})
    grant = {"x_registry_grant": unlocked.json()["grant"]}
    assert (await guest.read(slug, **grant)).headers["x-cache"] == "hit"
    visit = {"visitor_id": "v", "events": [{"type": "registry_viewed"}]}
    assert (await guest.send("POST", f"{PATH}/{slug}/events", visit, **grant)).status_code == 202
    await app_state_of(client).traffic_recorder.flush()
    confirm_everyone(demo)
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, message_id)
           SELECT shop_id, id, 'week', event_date, 'quillon@example.com', '<1>' FROM registries WHERE slug = %s""",
        [slug],
    )
    demo.execute(
        """INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, quantity,
                                  unit_price, status, purchaser_name, purchaser_email, gift_message)
           SELECT i.shop_id, registry_id, i.id, 77, -n, '#77', n, price, p.status, 'Aunt Orsolina',
               'orsolina@example.com', 'To Zephyrine'
           FROM registry_items i JOIN registries r ON r.id = i.registry_id,
               (VALUES (1, 'confirmed'), (2, 'refunded')) AS p (n, status)
           WHERE r.slug = %s""",
        [slug],
    )
    demo.execute("UPDATE registry_items SET quantity_purchased = 1 WHERE notes = %s", [NOTES])
    counts = await check_shop(app_state_of(client).resources, shop, repair=True, sample=5000)
    assert counts["entries_repaired"] == 1  # Redis did not have the purchase; the audit log has an entry of the repair
    return slug


def id_of(demo: Demo, slug: str) -> int:
    found = demo.execute("SELECT id FROM registries WHERE slug = %s", [slug]).fetchone()
    assert found
    return int(found[0])


async def delete(shopper: Shopper, slug: str, **headers: str) -> httpx.Response:
    return await shopper.send("DELETE", f"{PATH}/{slug}", **({"if_match": "*"} | headers))


async def test_deletion_leaves_nothing_that_names_the_registry(
    emma: Shopper, slug: str, demo: Demo, redis: Redis, client: httpx.AsyncClient
) -> None:
    number = id_of(demo, slug)
    assert {key.split(":")[2] for key in await traces_in_redis(redis, slug)} >= {"entry", "index", "sizes", "session"}
    filled = {"registries", "registry_items", "invitations", "reminders", "purchases", "sessions", "idempotency_keys"}
    assert filled <= traces_in_postgresql(demo, slug, *NAMES)
    answer = await delete(emma, slug)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not {"content-type", "content-length"} & answer.headers.keys()
    await app_state_of(client).traffic_recorder.flush()
    assert await traces_in_redis(redis, slug, number, *NAMES) == []
    await wait_until(lambda: not traces_in_postgresql(demo, slug, *NAMES))  # the API may replay the invalidation now
    assert traces_in_postgresql(demo, f'"registry_id": {number},', f'"resource_id": "{number}"') == {
        "audit_logs",
        "purchases",
    }


async def test_deleted_registry_is_not_found_by_anyone(
    emma: Shopper, guest: Shopper, slug: str, demo: Demo, client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    number = id_of(demo, slug)
    assert (await emma.read(str(number))).status_code == 200
    await delete(emma, slug)
    for answer in (
        await emma.read(slug), await emma.read(str(number)), await guest.read(slug),
        await client.get(f"{PATH}/{number}", headers=key), await delete(emma, slug),
        await emma.send("PATCH", f"{PATH}/{slug}", {"status": "active"}, if_match="*"),
        await guest.send("POST", f"{PATH}/{slug}/unlock", {"access_code": CODE}),
    ):  # fmt: skip
        assert problem(answer) == (404, "not-found")
    assert (await emma.send("GET", "/api/my-registries")).json()["registries"] == []


async def test_purchases_stay_without_names_and_their_sums_remain(emma: Shopper, slug: str, demo: Demo) -> None:
    number, before = id_of(demo, slug), demo.execute(SUMS).fetchall()
    await delete(emma, slug)
    assert demo.execute(SUMS).fetchall() == before
    kept = demo.execute(
        """SELECT item_id, purchaser_name, purchaser_email, gift_message, order_id, quantity
           FROM purchases WHERE registry_id = %s ORDER BY quantity""",
        [number],
    ).fetchall()
    assert kept == [(None, None, None, None, 77, 1), (None, None, None, None, 77, 2)]


async def test_audit_log_records_the_deletion(emma: Shopper, slug: str, demo: Demo) -> None:
    number = id_of(demo, slug)
    await delete(emma, slug, user_agent="a browser")
    query = "SELECT actor, resource, resource_id, host(ip), user_agent FROM audit_logs WHERE action = %s"
    assert demo.execute(query, ["registry.deleted"]).fetchall() == [
        (f"customer:1:{emma.customer_id}", "registry", str(number), "127.0.0.1", "a browser")
    ]


async def test_only_the_registrant_and_servers_acting_for_them_can_delete(
    emma: Shopper, hugo: Shopper, guest: Shopper, slug: str, demo: Demo, client: httpx.AsyncClient, key: dict[str, str],
    token: Callable[..., dict[str, str]],
) -> None:  # fmt: skip
    number, of_emma = id_of(demo, slug), {"X-Customer-Id": str(emma.customer_id)}
    readers = {"X-API-Key": add_key(demo, 1).key}
    demo.execute("UPDATE api_keys SET scopes = '{read}' WHERE prefix = split_part(%s, '_', 2)", [readers["X-API-Key"]])
    for headers in (key, key | {"X-Customer-Id": str(hugo.customer_id)}, readers | of_emma, token()):
        for ref in (slug, number):
            answer = await client.delete(f"{PATH}/{ref}", headers=headers | {"If-Match": "*"})
            assert answer.status_code in {403, 404}, headers
    for shopper in (hugo, guest, Shopper(client, emma._signed, emma.customer_id, "sakura-living.myshopify.com")):
        assert (await delete(shopper, slug)).status_code in {403, 404}
    assert id_of(demo, slug) == number
    by_server = await client.delete(f"{PATH}/{slug}", headers=key | of_emma | {"If-Match": "*"})
    assert by_server.status_code == 204


async def test_deletion_needs_the_current_etag(emma: Shopper, slug: str, demo: Demo) -> None:
    old = (await emma.read(slug)).headers["etag"]
    changed = await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Other"}, if_match=old)
    assert problem(await emma.send("DELETE", f"{PATH}/{slug}")) == (428, "precondition-required")
    assert problem(await delete(emma, slug, if_match=old)) == (412, "changed-since")
    assert id_of(demo, slug)
    assert (await delete(emma, slug, if_match=changed.headers["etag"])).status_code == 204


async def test_concurrent_deletions_delete_once(emma: Shopper, slug: str, demo: Demo) -> None:
    answers = await asyncio.gather(*(delete(emma, slug) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
    assert demo.execute("SELECT count(*) FROM audit_logs WHERE action = 'registry.deleted'").fetchone() == (1,)


async def test_deletion_and_change_with_one_etag_exclude_each_other(
    emma: Shopper, slug: str, redis: Redis, variant_id: int
) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    new_item = {"variant_id": variant_id + 1}
    deleted, changed, added = await asyncio.gather(
        delete(emma, slug, if_match=etag),
        emma.send("PATCH", f"{PATH}/{slug}", {"title": "Other"}, if_match=etag),
        emma.send("POST", f"{PATH}/{slug}/items", new_item, if_match=etag),
    )
    statuses = (deleted.status_code, changed.status_code, added.status_code)
    assert statuses in {(204, 404, 404), (412, 200, 412), (412, 412, 201)}
    assert (await delete(emma, slug)).status_code == (404 if deleted.status_code == 204 else 204)
    assert set(await traces_in_redis(redis, slug)) <= {f"wishcraft:{{1}}:entry:{slug}"}  # the 404 above is cached


async def test_deletions_beside_changes_syncs_and_reads_end_clean(
    client: httpx.AsyncClient, emma: Shopper, guest: Shopper, simulator: Simulator, demo: Demo, resources: Resources,
    shop: ShopRef,
) -> None:  # fmt: skip
    # As in production: a reader whose lease holder is refused the fill waits this long for it.
    app_state_of(client).resources.cache.wait_for_fill_seconds = WAIT_FOR_FILL_SECONDS
    ids = simulator.shops[SHOP].inventory.variant_ids()[:6]
    slugs = [await emma.create(title=f"Number {number}") for number in range(6)]
    for slug, variant in zip(slugs, ids, strict=True):
        await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": variant})
        found = simulator.shops[SHOP].inventory.find(variant)
        assert found
        found.quantity += 1
    answers = [
        *(delete(emma, slug) for slug in slugs),
        *(emma.send("PATCH", f"{PATH}/{slug}", {"title": "Other"}, if_match="*") for slug in slugs),
        *(guest.read(slug) for slug in slugs),
    ]
    _, done = await asyncio.gather(sync_shop(resources, shop), asyncio.gather(*answers))
    assert {answer.status_code for answer in done[:6]} == {204}
    assert {answer.status_code for answer in done[6:]} <= {200, 404}
    assert not [slug for slug in slugs if (await guest.read(slug)).status_code != 404]
    await wait_until(lambda: demo.execute("SELECT count(*) FROM pending_invalidations").fetchone() == (0,))
    counts = await check_shop(resources, shop, repair=False, sample=5000)
    assert {name: count for name, count in counts.items() if name.endswith("_left") and count} == {}


@pytest.mark.parametrize(("path", "key"), [("", "registry"), ("/{slug}/items", "item")])
async def test_repeated_creation_does_not_bring_back_what_was_deleted(
    emma: Shopper, slug: str, demo: Demo, variant_id: int, path: str, key: str
) -> None:
    await delete(emma, slug)
    body = {"variant_id": variant_id, "notes": NOTES} if path else PROTECTED
    again = await emma.send("POST", PATH + path.format(slug=slug), body, idempotency_key=key)
    assert problem(again) == (409, "conflict")
    assert "was deleted" in again.json()["detail"]
    assert demo.execute("SELECT count(*) FROM registries WHERE customer_id = %s", [emma.customer_id]).fetchone() == (0,)


async def test_later_registry_with_the_same_slug_shows_itself_and_opens_to_no_old_grant(
    emma: Shopper, guest: Shopper, slug: str, demo: Demo
) -> None:
    unlocked = await guest.send("POST", f"{PATH}/{slug}/unlock", {"access_code": CODE})
    await delete(emma, slug)
    later = await emma.create(title="Another", visibility="password", access_code="maple-river-stone")
    demo.execute("UPDATE registries SET slug = %s WHERE slug = %s", [slug, later])

    async def is_hit() -> bool:
        shown = await emma.read(slug)
        assert shown.json()["title"] == "Another"
        return shown.headers["x-cache"] == "hit"

    await wait_until(is_hit)  # the API may have seen the deletion as pending for a moment
    old = await guest.read(slug, x_registry_grant=unlocked.json()["grant"])
    assert problem(old) == (403, "access-code-required")
