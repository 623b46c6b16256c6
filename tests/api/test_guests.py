import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unicodedata import normalize

import httpx
import pytest
from redis.asyncio import Redis

from deployments.sandbox.demo import add_key
from deployments.sandbox.demo_rows import ACCESS_CODE
from tests.support.aliases import Demo, OpenClient
from tests.support.api import WEDDING, Shopper, app_state_of, problem
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.settings import Settings
from wishcraft.store.analytics_events import Event

PATH = "/api/registries"
VIEWED = [{"type": "registry_viewed"}]
VIEW = {"visitor_id": "b7c1d2", "events": VIEWED}

DISK_FULL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON analytics_events EXECUTE FUNCTION refuse();
"""


@pytest.fixture
async def slug(emma: Shopper) -> str:
    """A registry of Emma's that opens with the access code."""
    return await emma.create(visibility="password", access_code=ACCESS_CODE)


async def unlock(shopper: Shopper, slug: str, code: str = ACCESS_CODE) -> httpx.Response:
    """Unlock with the access code."""
    return await shopper.send("POST", f"{PATH}/{slug}/unlock", {"access_code": code})


async def granted(shopper: Shopper, slug: str) -> str:
    """A grant that opens the registry."""
    answer = await unlock(shopper, slug)
    assert answer.status_code == 200, answer.text
    grant: str = answer.json()["grant"]
    return grant


async def test_access_code_returns_a_grant_that_opens_the_registry(guest: Shopper, slug: str) -> None:
    assert problem(await guest.read(slug)) == (403, "access-code-required")
    answer = await unlock(guest, slug)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    grant = answer.json()["grant"]
    for _ in range(2):  # from PostgreSQL, and from Redis
        by_header = await guest.read(slug, x_registry_grant=grant)
        by_query = await guest.send("GET", f"{PATH}/{slug}?grant={grant}")
        assert (by_header.status_code, by_query.status_code) == (200, 200)
        assert by_header.content == by_query.content
        assert by_header.json()["slug"] == slug
        assert by_header.headers["cache-control"] == "private, no-cache"
    assert problem(await guest.read(slug)) == (403, "access-code-required")


async def test_registries_of_the_sandbox_open_with_its_access_code(guest: Shopper, demo: Demo) -> None:
    found = demo.execute(
        """UPDATE registries SET visibility = 'password', status = 'active', access_code_hash = (
               SELECT access_code_hash FROM registries WHERE access_code_hash IS NOT NULL LIMIT 1)
           WHERE shop_id = 1 RETURNING slug"""
    ).fetchone()
    assert found
    assert await granted(guest, found[0])


async def test_grant_opens_no_other_registry_of_its_shop_or_another(
    client: httpx.AsyncClient, signed: Callable[..., str], emma: Shopper, guest: Shopper, slug: str, demo: Demo
) -> None:
    grant = await granted(guest, slug)
    other = await emma.create(visibility="password", access_code=ACCESS_CODE)
    elsewhere = Shopper(client, signed, shop="lumiere-maison.myshopify.com")
    demo.execute(
        """INSERT INTO registries (shop_id, slug, title, event_type, visibility, access_code_hash, customer_id,
                                   customer_email, customer_first_name, customer_last_name)
           SELECT 2, slug, title, event_type, visibility, access_code_hash, customer_id,
                  customer_email, customer_first_name, customer_last_name FROM registries WHERE slug = %s""",
        [slug],
    )
    for shopper, each in ((guest, other), (elsewhere, slug)):
        answer = await shopper.read(each, x_registry_grant=grant)
        assert problem(answer) == (403, "access-code-required")


@pytest.mark.parametrize("grant", ["", "x", "x" * 43, "ü", "x" * 101])
async def test_invalid_grant_is_refused(guest: Shopper, slug: str, grant: str) -> None:
    answer = await guest.send("GET", f"{PATH}/{slug}?grant={grant}")
    assert problem(answer)[0] in {403, 422}


async def test_access_code_opens_however_a_keyboard_composes_its_accents(emma: Shopper, guest: Shopper) -> None:
    composed, decomposed = "cr\u00eape-tulipe", "cre\u0302pe-tulipe"
    for chosen in (composed, f"{decomposed} "):
        slug = await emma.create(visibility="password", access_code=chosen)
        for typed in (composed, decomposed, f" {decomposed}", f"{composed}\u00a0"):
            assert (await unlock(guest, slug, typed)).status_code == 200
    assert problem(await unlock(guest, slug, "crepe-tulipe")) == (403, "wrong-access-code")
    for refused in (f" tulipe{' ' * 10}", f"{composed}{' ' * 400}"):
        body = WEDDING | {"visibility": "password", "access_code": refused}
        assert problem(await emma.send("POST", PATH, body)) == (422, "invalid-request")


async def test_longest_access_code_opens_with_accents_and_spaces_of_their_own(emma: Shopper, guest: Shopper) -> None:
    longest = ("cr\u00eape-tulipe-cano\u00e9-" * 6)[:100]
    slug = await emma.create(visibility="password", access_code=longest)
    assert (await unlock(guest, slug, f"{normalize('NFD', longest)} ")).status_code == 200


async def test_wrong_access_code_is_refused(guest: Shopper, slug: str, demo: Demo) -> None:
    demo.execute("DELETE FROM sessions")
    for code in ("wrong", "", ACCESS_CODE.replace("-", " "), ACCESS_CODE.upper(), "\x00", "🗝" * 100):
        assert problem(await unlock(guest, slug, code)) == (403, "wrong-access-code")
    assert problem(await unlock(guest, slug, "x" * 401)) == (422, "invalid-request")
    assert demo.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


async def test_registry_without_access_code_or_hidden_from_guests_is_not_unlocked(
    emma: Shopper, guest: Shopper, slug: str
) -> None:
    assert problem(await unlock(guest, await emma.create())) == (409, "conflict")
    for each in ("nothing-here", "123", "No_Slug", await emma.create(visibility="private", access_code=ACCESS_CODE)):
        assert problem(await unlock(guest, each)) == (404, "not-found")
    grant = await granted(guest, slug)
    await emma.send("PATCH", f"{PATH}/{slug}", {"status": "paused"}, if_match="*")
    assert problem(await unlock(guest, slug)) == (404, "not-found")
    assert problem(await guest.read(slug, x_registry_grant=grant)) == (404, "not-found")


async def test_only_the_digest_of_a_grant_is_stored(guest: Shopper, slug: str, demo: Demo, redis: Redis) -> None:
    grant = await granted(guest, slug)
    await guest.read(slug, x_registry_grant=grant)
    rows = str(demo.execute("SELECT to_jsonb(s)::text FROM sessions s").fetchall())
    assert hashlib.sha256(grant.encode()).hexdigest() in rows
    assert grant not in rows
    held = [key.decode() async for key in redis.scan_iter("*session*")]
    assert held == [f"wishcraft:{{1}}:session:{hashlib.sha256(grant.encode()).hexdigest()}"]
    assert await redis.get(held[0]) == slug.encode()


async def test_grant_survives_the_loss_of_its_redis_key(guest: Shopper, slug: str, redis: Redis) -> None:
    grant = await granted(guest, slug)
    await redis.flushdb()
    assert (await guest.read(slug, x_registry_grant=grant)).status_code == 200
    assert await redis.exists(f"wishcraft:{{1}}:session:{hashlib.sha256(grant.encode()).hexdigest()}")


async def test_expired_grant_is_refused(guest: Shopper, slug: str, demo: Demo, redis: Redis) -> None:
    grant = await granted(guest, slug)
    left = demo.execute("SELECT expires_at - now() FROM sessions WHERE subject = %s", [slug]).fetchone()
    assert left
    assert 23 * 3600 < left[0].total_seconds() <= 24 * 3600
    assert await redis.ttl(f"wishcraft:{{1}}:session:{hashlib.sha256(grant.encode()).hexdigest()}") <= 600
    demo.execute("UPDATE sessions SET expires_at = now() WHERE subject = %s", [slug])
    await redis.flushdb()
    assert problem(await guest.read(slug, x_registry_grant=grant)) == (403, "access-code-required")


async def test_new_access_code_ends_the_grants_of_the_old_one(emma: Shopper, guest: Shopper, slug: str) -> None:
    old = await granted(guest, slug)
    assert (await guest.read(slug, x_registry_grant=old)).status_code == 200
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Another"}, if_match="*")
    assert (await guest.read(slug, x_registry_grant=old)).status_code == 200
    await emma.send("PATCH", f"{PATH}/{slug}", {"access_code": "another-code"}, if_match="*")
    assert problem(await guest.read(slug, x_registry_grant=old)) == (403, "access-code-required")
    assert problem(await unlock(guest, slug)) == (403, "wrong-access-code")
    new = (await unlock(guest, slug, "another-code")).json()["grant"]
    assert (await guest.read(slug, x_registry_grant=new)).status_code == 200


async def test_access_code_changed_during_an_unlock_ends_that_grant_too(
    emma: Shopper, guest: Shopper, slug: str
) -> None:
    change = emma.send("PATCH", f"{PATH}/{slug}", {"access_code": "another-code"}, if_match="*")
    changed, *tries = await asyncio.gather(change, *(unlock(guest, slug) for _ in range(6)))
    assert changed.status_code == 200
    for answer in tries:
        if answer.status_code == 200:
            read = await guest.read(slug, x_registry_grant=answer.json()["grant"])
            assert problem(read) == (403, "access-code-required")


def events(demo: Demo) -> list[tuple[Any, ...]]:
    """The events stored since the demo data; those of one request in no fixed order of ids."""
    return demo.execute(
        """SELECT shop_id, registry_id, type, visitor_id, data FROM analytics_events
           WHERE occurred_at > now() - interval '1 minute' ORDER BY occurred_at, type DESC"""
    ).fetchall()


@pytest.fixture
def item(demo: Demo) -> tuple[int, str, int, int]:
    """A registry's id and slug, and the ids of one of its items and of the item's variant."""
    found = demo.execute(
        """SELECT r.id, r.slug, i.id, i.variant_id FROM registries r JOIN registry_items i ON i.registry_id = r.id
           WHERE r.shop_id = 1 AND r.visibility = 'public' AND r.status = 'active' ORDER BY i.id"""
    ).fetchone()
    assert found
    return found


async def test_guest_events_are_stored_after_the_response(
    client: httpx.AsyncClient, guest: Shopper, demo: Demo, item: tuple[int, str, int, int]
) -> None:
    registry_id, slug, item_id, variant_id = item
    clicked = {"type": "item_clicked", "item_id": item_id}
    body = {"visitor_id": "b7c1d2", "events": [{"type": "registry_viewed"}, clicked]}
    answer = await guest.send("POST", f"{PATH}/{slug}/events", body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "unknown_item_ids": []})
    await app_state_of(client).traffic_recorder.flush()
    assert events(demo) == [
        (1, registry_id, "registry_viewed", "b7c1d2", {}),
        (1, registry_id, "item_clicked", "b7c1d2", {"item_id": item_id, "variant_id": variant_id}),
    ]


async def test_events_need_a_registry_that_the_caller_may_read(
    client: httpx.AsyncClient, emma: Shopper, guest: Shopper, slug: str, demo: Demo
) -> None:
    private = await emma.create(visibility="private")
    assert problem(await guest.send("POST", f"{PATH}/{private}/events", VIEW)) == (404, "not-found")
    assert problem(await guest.send("POST", f"{PATH}/{slug}/events", VIEW)) == (403, "access-code-required")
    grant = (await unlock(guest, slug)).json()["grant"]
    assert (await guest.send("POST", f"{PATH}/{slug}/events", VIEW, x_registry_grant=grant)).status_code == 202
    assert (await emma.send("POST", f"{PATH}/{private}/events", VIEW)).status_code == 202
    await app_state_of(client).traffic_recorder.flush()
    assert len(events(demo)) == 2


async def test_events_of_unknown_registries_are_404_and_of_unknown_items_not_accepted(
    client: httpx.AsyncClient, guest: Shopper, demo: Demo, item: tuple[int, str, int, int]
) -> None:
    others = demo.execute("SELECT id, slug FROM registries WHERE shop_id = 2 ORDER BY id").fetchone()
    others_item = demo.execute("SELECT id FROM registry_items WHERE shop_id = 2 ORDER BY id").fetchone()
    assert others
    assert others_item
    for ref in ("nothing-here", "999", "9" * 30, "No_Slug", "%00", "%ED%A0%80", *others):
        assert problem(await guest.send("POST", f"{PATH}/{ref}/events", VIEW)) == (404, "not-found"), ref
    for number in (1, 2**63 - 1, others_item[0]):
        clicked = {"visitor_id": "b7c1d2", "events": [{"type": "item_clicked", "item_id": number}]}
        for path_of_read in range(2):  # from PostgreSQL, and from Redis
            answer = await guest.send("POST", f"{PATH}/{item[1]}/events", clicked)
            shown = {"accepted": 0, "unknown_item_ids": [number]}
            assert (answer.status_code, answer.json()) == (202, shown), path_of_read
    mixed = {"visitor_id": "b7c1d2", "events": [{"type": "added_to_cart", "item_id": 1}, *VIEWED]}
    answer = await guest.send("POST", f"{PATH}/{item[1]}/events", mixed)
    assert answer.json() == {"accepted": 1, "unknown_item_ids": [1]}
    await app_state_of(client).traffic_recorder.flush()
    assert events(demo) == [(1, item[0], "registry_viewed", "b7c1d2", {})]


@pytest.mark.parametrize(
    "body",
    [
        VIEW | {"events": [{"type": "purchased"}]},  # purchases come from Shopify
        VIEW | {"events": []},
        VIEW | {"events": VIEWED * 51},
        VIEW | {"visitor_id": "emma@example.com"},
        VIEW | {"visitor_id": ""},
        VIEW | {"ip": "127.0.0.1"},
        VIEW | {"events": [*VIEWED, {"type": "item_clicked"}]},
        VIEW | {"events": [{"type": "added_to_cart", "item_id": None}]},
        VIEW | {"events": [{"type": "added_to_cart", "item_id": "100000002"}]},
    ],
)
async def test_events_that_are_none_of_a_guest_are_refused(
    client: httpx.AsyncClient, guest: Shopper, demo: Demo, item: tuple[int, str, int, int], body: object
) -> None:
    assert problem(await guest.send("POST", f"{PATH}/{item[1]}/events", body)) == (422, "invalid-request")
    await app_state_of(client).traffic_recorder.flush()
    assert events(demo) == []


async def test_events_are_answered_503_while_too_many_wait(
    client: httpx.AsyncClient,
    guest: Shopper,
    demo: Demo,
    item: tuple[int, str, int, int],
) -> None:
    app_state_of(client).traffic_recorder.max_pending_events = 1
    two = VIEW | {"events": VIEWED * 2}
    answer = await guest.send("POST", f"{PATH}/{item[1]}/events", two)
    assert problem(answer) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert (await guest.send("POST", f"{PATH}/{item[1]}/events", VIEW)).status_code == 202
    await app_state_of(client).traffic_recorder.flush()
    assert len(events(demo)) == 1


async def test_events_of_a_guest_are_limited_by_their_number(
    settings: Settings,
    open_client: OpenClient,
    signed: Callable[..., str],
    key: dict[str, str],
    demo: Demo,
    item: tuple[int, str, int, int],
) -> None:
    path, many = f"{PATH}/{item[1]}/events", VIEW | {"events": VIEWED * 11}
    async with open_client(settings.model_copy(update={"rate_limit_per_minute": 10})) as client:
        guest = Shopper(client, signed)
        answer = await guest.send("POST", path, many)
        assert problem(answer) == (429, "too-many-requests")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert (await guest.send("POST", path, VIEW | {"events": VIEWED * 10})).status_code == 202
        assert (await client.post(path, json=many, headers=key)).status_code == 202
    assert len(events(demo)) == 21


async def test_events_are_kept_while_postgresql_is_read_only(
    settings: Settings, open_client: OpenClient, signed: Callable[..., str], demo: Demo, item: tuple[int, str, int, int]
) -> None:
    async with open_client(settings) as client:
        await Shopper(client, signed).send("POST", f"{PATH}/{item[1]}/events", VIEW)
        recorder = app_state_of(client).traffic_recorder
        demo.execute(DISK_FULL)
        try:
            await recorder.flush()
        finally:
            demo.execute("DROP FUNCTION refuse CASCADE")
        assert events(demo) == []
    assert len(events(demo)) == 1  # shutdown stores waiting events


async def test_events_that_postgresql_rejects_do_not_block_others(
    client: httpx.AsyncClient, guest: Shopper, demo: Demo, item: tuple[int, str, int, int]
) -> None:
    recorder = app_state_of(client).traffic_recorder
    recorder.add_events([Event(1, "\0", AnalyticsType.REGISTRY_VIEWED, datetime.now(UTC), "x", None)])
    await recorder.flush()
    await guest.send("POST", f"{PATH}/{item[1]}/events", VIEW)
    await recorder.flush()
    assert len(events(demo)) == 1


async def test_reads_are_counted_as_views_of_the_day(
    client: httpx.AsyncClient, guest: Shopper, demo: Demo, item: tuple[int, str, int, int]
) -> None:
    demo.execute("DELETE FROM registry_views")
    for _ in range(3):
        await guest.read(item[1])
    await guest.read("nothing-here")
    await app_state_of(client).traffic_recorder.flush()
    assert demo.execute("SELECT registry_id, day = current_date, views FROM registry_views").fetchall() == [
        (item[0], True, 3)
    ]


async def test_last_use_of_a_key_is_recorded(client: httpx.AsyncClient, demo: Demo) -> None:
    used, unused = add_key(demo, 1), add_key(demo, 1)
    assert (await client.get(PATH, headers={"X-API-Key": used.key})).status_code == 200
    await app_state_of(client).traffic_recorder.flush()
    recorded = demo.execute("SELECT prefix, last_used_at > now() - interval '1 minute' FROM api_keys").fetchall()
    assert dict(recorded) == {used.prefix: True, unused.prefix: None}


async def test_server_key_is_not_limited_to_one_guests_unlock_tries(
    slug: str, client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    sent = {"access_code": "wrong-code"}
    answers = [await client.post(f"/api/registries/{slug}/unlock", json=sent, headers=key) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {403}
