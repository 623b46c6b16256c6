from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx
import pytest

from api.schemas.admin import AuditTrail
from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper, problem

AUDIT = "/api/admin/audit"
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture
def merchant(token: Callable[..., dict[str, str]], demo: Demo) -> dict[str, str]:
    """The headers of the merchant of `SHOP`, whose audit log is empty."""
    demo.execute("TRUNCATE audit_logs")
    return token()


def add(demo: Demo, minute: int, shop_id: int = 1, **values: object) -> int:
    """Insert an entry so many minutes after `NOON`; its id."""
    row = {"actor": "key:a", "action": "item.added", "resource": "registry", "resource_id": "7"} | values
    [(entry,)] = demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, created_at, ip)
           VALUES (%s, %s, %s, %s, %s, %s, '203.0.113.9') RETURNING id""",
        [shop_id, *row.values(), NOON + timedelta(minutes=minute)],
    ).fetchall()
    return int(entry)


async def read(client: httpx.AsyncClient, merchant: dict[str, str], **query: object) -> AuditTrail:
    answer = await client.get(f"{AUDIT}?{urlencode(query)}", headers=merchant)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return AuditTrail.model_validate_json(answer.content)


async def ids(client: httpx.AsyncClient, merchant: dict[str, str], **query: object) -> list[int]:
    return [entry.id for entry in (await read(client, merchant, **query)).entries]


async def test_audit_log_names_actor_address_and_what_changed(
    client: httpx.AsyncClient, merchant: dict[str, str], emma: Shopper
) -> None:
    slug = await emma.create()
    await emma.send("PATCH", f"/api/registries/{slug}", {"title": "New", "registrant": PERSON}, if_match="*")
    await emma.send("PATCH", f"/api/registries/{slug}", {"status": "archived"}, if_match="*")
    again = {"status": "archived", "title": "Newer", "access_code": "tulip-canoe-amber"}
    await emma.send("PATCH", f"/api/registries/{slug}", again, if_match="*")
    await emma.send("DELETE", f"/api/registries/{slug}", if_match="*")
    entries = (await read(client, merchant)).entries
    assert [entry.action for entry in entries] == [
        "registry.deleted", "registry.changed", "registry.archived", "registry.changed", "registry.created",
    ]  # fmt: skip
    assert {entry.actor for entry in entries} == {f"customer:1:{emma.customer_id}"}
    assert all(entry.ip and entry.user_agent for entry in entries)
    fields = ["customer_email", "title"]
    changed = [entry.details.get("fields") for entry in entries]
    assert changed == [None, ["access_code", "title"], ["status"], fields, None]
    assert len({(entry.resource, entry.resource_id) for entry in entries}) == 1


async def test_log_names_the_customer_for_whom_a_server_or_an_administrator_acts(
    client: httpx.AsyncClient, merchant: dict[str, str], key: dict[str, str]
) -> None:
    named = {"X-Customer-Id": "4711", "If-Match": "*"}
    for acting in (key | named, merchant | named):
        slug = (await client.post("/api/registries", json=WEDDING, headers=acting)).json()["slug"]
        await client.patch(f"/api/registries/{slug}", json={"title": "New"}, headers=acting)
    entries = (await read(client, merchant)).entries
    assert [entry.details for entry in entries] == [{"fields": ["title"], "customer": 4711}, {"customer": 4711}] * 2
    for query in ({"since": "2026-03-14T00:00:00Z", "until": "2026-03-14T00:00:00Z"},):
        assert problem(await client.get(f"{AUDIT}?{urlencode(query)}", headers=merchant)) == (422, "invalid-request")


async def test_change_without_a_difference_writes_nothing(
    client: httpx.AsyncClient, merchant: dict[str, str], emma: Shopper
) -> None:
    slug = await emma.create()
    before = await emma.read(slug)
    saved = WEDDING | {"status": "active", "visibility": "public"}
    answer = await emma.send("PATCH", f"/api/registries/{slug}", saved, if_match=before.headers["etag"])
    assert (answer.status_code, answer.headers["etag"]) == (200, before.headers["etag"])
    assert answer.json() == before.json()
    assert [entry.action for entry in (await read(client, merchant)).entries] == ["registry.created"]


PERSON = {"first_name": "Emma", "last_name": "Reed", "email": "emma@example.com"}


async def test_filters_select_entries_and_may_be_combined(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo
) -> None:
    first = add(demo, 0)
    second = add(demo, 1, actor="admin:1:42", action="settings.changed", resource="shop", resource_id="1")
    third = add(demo, 2, actor="admin:1:42", resource_id="8")
    add(demo, 3, shop_id=2)
    assert await ids(client, merchant) == [third, second, first]
    assert await ids(client, merchant, actor="admin:1:42") == [third, second]
    assert await ids(client, merchant, action="item.added") == [third, first]
    assert await ids(client, merchant, resource="registry", resource_id="7") == [first]
    assert await ids(client, merchant, actor="admin:1:42", resource="registry") == [third]
    assert await ids(client, merchant, since="2026-03-14T12:01:00Z") == [third, second]
    assert await ids(client, merchant, until="2026-03-14T13:02:00+01:00") == [second, first]
    assert await ids(client, merchant, since="2026-03-14T12:01:00Z", until="2026-03-14T12:02:00Z") == [second]
    assert await ids(client, merchant, actor="key:' OR true --") == []


async def test_pages_follow_each_other_also_between_entries_of_one_moment(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo
) -> None:
    expected = [add(demo, minute // 3) for minute in range(10)][::-1]
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = await read(client, merchant, limit=2, **cursor)
        found += [entry.id for entry in page.entries]
        add(demo, 100)  # what is written meanwhile moves no page
        if page.next_cursor is None:
            break
        cursor = {"cursor": page.next_cursor}
    assert found == expected


INVALID = [
    "since=2026-03-14", "since=1773489600", "since=2026-03-14T12:00:00", "since=0001-01-01T00:00:00Z",
    "since=2026-13-14T12:00:00Z", "until=tomorrow", "limit=0", "limit=101", "cursor=5", "cursor=5-x", "actor=",
    f"actor={'x' * 201}", "resource_id=7", "actr=key", "resource=registry&resource_id=%00",
    "since=2026-03-14T12:00:00Z&until=2026-03-14T13:00:00%2B01:00",
]  # fmt: skip


async def test_invalid_filter_is_refused(client: httpx.AsyncClient, merchant: dict[str, str]) -> None:
    for query in INVALID:
        assert problem(await client.get(f"{AUDIT}?{query}", headers=merchant)) == (422, "invalid-request"), query


async def test_audit_log_is_for_the_administrator_alone(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo, emma: Shopper, token: Callable[..., dict[str, str]]
) -> None:
    entry = add(demo, 0)
    assert problem(await emma.send("GET", AUDIT)) == (403, "not-allowed")
    assert await ids(client, merchant) == [entry]
    assert await ids(client, token(dest="https://lumiere-maison.myshopify.com")) == []


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("", "ix_audit_logs_of_shop"),
        ("AND created_at < now() - interval '1 day'", "ix_audit_logs_of_shop"),
        ("AND actor = 'key:7'", "ix_audit_logs_of_actor"),
        ("AND action = 'action:7'", "ix_audit_logs_of_action"),
        ("AND resource = 'registry' AND resource_id = '7'", "ix_audit_logs_of_resource"),
    ],
)
def test_query_of_the_audit_log_has_an_index(demo: Demo, condition: str, index: str) -> None:
    demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, created_at)
           SELECT 1 + n % 3, 'key:' || n % 500, 'action:' || n % 300, 'registry', (n % 700)::text,
                  now() - n * interval '1 min'
           FROM generate_series(1, 20000) n"""
    )
    demo.execute("ANALYZE audit_logs")
    query = "EXPLAIN SELECT * FROM audit_logs WHERE shop_id = 1 {} ORDER BY created_at DESC, id DESC LIMIT 21"
    plan = demo.execute(query.format(condition).encode()).fetchall()
    assert index in str(plan)
