import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from api.schemas.responses import OwnRegistryAnswer, OwnRegistryList
from tests.support.aliases import Demo, OpenClient
from tests.support.api import WAYS, WEDDING, Shopper, problem
from tests.support.waiting import WAITING, wait_until
from wishcraft.settings import Settings

PATH = "/api/registries"


@pytest.fixture
async def slug(emma: Shopper) -> str:
    """A public registry of Emma's."""
    return await emma.create(description="Thank you.")


def row(demo: Demo, slug: str) -> dict[str, Any]:
    """The registry's columns, except those that every change updates."""
    found = demo.execute("SELECT to_jsonb(r) FROM registries r WHERE slug = %s", [slug]).fetchone()
    assert found
    return {name: value for name, value in found[0].items() if name not in {"version", "updated_at", "search_text"}}


async def test_change_with_the_current_etag_returns_the_new_etag(emma: Shopper, slug: str) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    changed = await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Emma & Hugo"}, if_match=etag)
    assert changed.status_code == 200
    assert OwnRegistryAnswer.model_validate_json(changed.content).title == "Emma & Hugo"
    assert changed.headers["etag"] != etag
    again = await emma.read(slug)
    assert (again.content, again.headers["etag"]) == (changed.content, changed.headers["etag"])
    next_one = await emma.send("PATCH", f"{PATH}/{slug}", {"title": "H & E"}, if_match=changed.headers["etag"])
    assert next_one.status_code == 200


async def test_proxies_may_not_make_the_tag_of_a_next_change_weak(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, slug: str
) -> None:
    """One that compresses a response does so, unless it says `no-transform`."""
    read = await emma.read(slug)
    changed = await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Emma & Hugo"}, if_match=read.headers["etag"])
    unchanged = await emma.read(slug, **{"If-None-Match": changed.headers["etag"]})
    settings = await client.get("/api/admin/settings", headers=key)
    assert [each.status_code for each in (read, changed, unchanged, settings)] == [200, 200, 304, 200]
    assert all("no-transform" in each.headers["cache-control"] for each in (read, changed, unchanged, settings))


async def test_change_with_an_old_etag_is_refused(emma: Shopper, slug: str) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Changed"}, if_match=etag)
    for method, body in (("PATCH", {"title": "Lost"}), ("DELETE", None)):
        answer = await emma.send(method, f"{PATH}/{slug}", body, if_match=etag)
        assert problem(answer) == (412, "changed-since")
    assert (await emma.read(slug)).json()["title"] == "Changed"


async def test_change_without_if_match_is_refused(emma: Shopper, slug: str, demo: Demo) -> None:
    before = row(demo, slug)
    for method, body in (("PATCH", {"title": "Blind"}), ("DELETE", None)):
        answer = await emma.send(method, f"{PATH}/{slug}", body)
        assert problem(answer) == (428, "precondition-required")
    assert row(demo, slug) == before


async def test_if_match_may_be_a_star_or_a_list(emma: Shopper, slug: str) -> None:
    for number, condition in enumerate(("*", '"1-0000000000000000", {}')):
        etag = (await emma.read(slug)).headers["etag"]
        changing = {"title": f"Title {number}"}
        answer = await emma.send("PATCH", f"{PATH}/{slug}", changing, if_match=condition.format(etag))
        assert (answer.status_code, answer.json()["title"]) == (200, f"Title {number}"), condition


@pytest.mark.parametrize("condition", ["", '""', "x", '"1"', "1", "W/{}", '"**"', '"2-0000000000000000"', "*, x"])
async def test_if_match_that_is_no_etag_of_the_registry_fails(emma: Shopper, slug: str, condition: str) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    answer = await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Lost"}, if_match=condition.format(etag))
    assert problem(answer) == (412, "changed-since")


async def test_if_none_match_of_a_change_leaves_its_answer_whole(emma: Shopper, slug: str) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    for condition in ("*", etag):
        same = await emma.send("PATCH", f"{PATH}/{slug}", {}, if_match="*", if_none_match=condition)
        assert (same.status_code, same.json()["slug"]) == (200, slug)
    made = await emma.send("POST", PATH, WEDDING, if_none_match="*")
    assert (made.status_code, made.json()["title"]) == (201, WEDDING["title"])


async def test_one_of_two_concurrent_changes_with_one_etag_succeeds(
    emma: Shopper, slug: str, demo: Demo, settings: Settings
) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as holder:
        holder.execute("SELECT FROM registries WHERE slug = %s FOR UPDATE", [slug])
        changes = [
            asyncio.create_task(emma.send("PATCH", f"{PATH}/{slug}", {"title": title}, if_match=etag))
            for title in ("One", "Two")
        ]
        # Both have begun, and neither has committed.
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (2,))
    answers = await asyncio.gather(*changes)
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    made = next(answer for answer in answers if answer.status_code == 200)
    assert (await emma.read(slug)).content == made.content


CHANGES: dict[str, tuple[object, dict[str, object]]] = {
    "title": ("Other", {"title": "Other"}),
    "description": ("Else", {"description": "Else"}),
    "event_type": ("baby", {"event_type": "baby"}),
    "event_date": (None, {"event_date": None}),
    "event_location": (None, {"event_location": None}),
    "visibility": ("unlisted", {"visibility": "unlisted"}),
    "status": ("paused", {"status": "paused"}),
    "registrant": (
        {"first_name": "Amélie", "last_name": "Roux", "email": "a@example.com"},
        {"customer_first_name": "Amélie", "customer_last_name": "Roux", "customer_email": "a@example.com"},
    ),
    "co_registrants": ([], {"co_registrants": []}),
}


async def test_fields_left_out_of_a_change_keep_their_values(emma: Shopper, slug: str, demo: Demo) -> None:
    for name, (value, columns) in CHANGES.items():
        before = row(demo, slug)
        assert before | columns != before, name
        answer = await emma.send("PATCH", f"{PATH}/{slug}", {name: value}, if_match="*")
        assert answer.status_code == 200, answer.text
        assert row(demo, slug) == before | columns, name
    before = row(demo, slug)
    assert (await emma.send("PATCH", f"{PATH}/{slug}", {}, if_match="*")).status_code == 200
    assert row(demo, slug) == before


async def test_invalid_change_changes_nothing(emma: Shopper, slug: str, demo: Demo) -> None:
    before = row(demo, slug)
    for values in (
        {"title": None}, {"title": " "}, {"status": None}, {"visibility": None}, {"visibility": "password"},
        {"status": "deleted"}, {"slug": "mine"}, {"customer_id": 1}, {"version": 7}, {"description": "\x07"},
    ):  # fmt: skip
        answer = await emma.send("PATCH", f"{PATH}/{slug}", values, if_match="*")
        assert problem(answer) == (422, "invalid-request"), values
    assert row(demo, slug) == before


async def test_only_the_registrant_changes_a_registry(
    emma: Shopper, hugo: Shopper, guest: Shopper, client: httpx.AsyncClient, key: dict[str, str], demo: Demo
) -> None:
    slugs = {
        403: [await emma.create(), await emma.create(visibility="unlisted"),
              await emma.create(visibility="password", access_code="very-secret")],
        404: [await emma.create(visibility="private"), "nothing-here", "123", "No_Slug", "9" * 30],
    }  # fmt: skip
    kinds = {403: "not-allowed", 404: "not-found"}
    before = demo.execute("SELECT * FROM registries ORDER BY id").fetchall()
    for status, each_slug in ((status, slug) for status, found in slugs.items() for slug in found):
        for method, body in (("PATCH", {"title": "Mine"}), ("DELETE", None)):
            path = f"{PATH}/{each_slug}"
            answers = [
                await hugo.send(method, path, body, if_match="*"),
                await guest.send(method, path, body, if_match="*"),
                await client.request(method, path, json=body, headers={**key, "If-Match": "*"}),
            ]
            assert [problem(answer) for answer in answers] == [(status, kinds[status])] * 3, (each_slug, method)
    assert demo.execute("SELECT * FROM registries ORDER BY id").fetchall() == before


async def test_server_changes_a_registry_for_its_registrant(
    emma: Shopper, client: httpx.AsyncClient, key: dict[str, str], slug: str
) -> None:
    headers = {**key, "X-Customer-Id": f"gid://shopify/Customer/{emma.customer_id}", "If-Match": "*"}
    registry_id = (await emma.read(slug)).json()["id"]
    answer = await client.patch(f"{PATH}/{registry_id}", json={"title": "By id"}, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (200, "By id")
    for wrong in ("0", "-1", str(2**53 + 1), f"gid://shopify/Order/{emma.customer_id}"):
        refused = await client.patch(f"{PATH}/{registry_id}", json={}, headers=headers | {"X-Customer-Id": wrong})
        assert refused.status_code == 422, wrong


async def test_guests_and_other_customers_find_no_registry_by_its_id(
    emma: Shopper,
    hugo: Shopper,
    guest: Shopper,
    client: httpx.AsyncClient,
    key: dict[str, str],
    token: Callable[..., dict[str, str]],
    slug: str,
) -> None:
    registry_id = (await emma.read(slug)).json()["id"]
    trusted = [key, token()]
    for read_before in (False, True):  # a process remembers ids
        for stranger in (hugo, guest):
            for method, path, body in (
                ("GET", "", None),
                ("PATCH", "", {"title": "Mine"}),
                ("DELETE", "", None),
                ("POST", "/items", {"variant_id": 1}),
                ("POST", "/unlock", {"access_code": "tulip-canoe-amber"}),
                ("POST", "/events", {"visitor_id": "b7c1d2", "events": [{"type": "registry_viewed"}]}),
            ):
                answer = await stranger.send(method, f"{PATH}/{registry_id}{path}", body, if_match="*")
                assert problem(answer) == (404, "not-found"), (method, path, read_before)
        assert (await emma.send("GET", f"{PATH}/{registry_id}")).status_code == 200
        for headers in trusted:
            assert (await client.get(f"{PATH}/{registry_id}", headers=headers)).status_code == 200


async def test_change_that_waits_too_long_for_another_says_so(emma: Shopper, slug: str, settings: Settings) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as holder:
        holder.execute("SELECT FROM registries WHERE slug = %s FOR UPDATE", [slug])
        answer = await emma.send("PATCH", f"{PATH}/{slug}", {"title": "New"}, if_match="*")
    assert problem(answer) == (503, "unavailable")
    assert "Another request is changing the same data" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("trusted", "address"),
    [("", "127.0.0.1"), ("127.0.0.1", "198.51.100.1"), ("127.0.0.1,shopify", "203.0.113.5"),
     ("127.0.0.1,198.51.100.0/24", "203.0.113.5")],
)  # fmt: skip
async def test_audit_log_has_the_address_of_the_browser_behind_trusted_proxies(
    settings: Settings,
    open_client: OpenClient,
    signed: Callable[..., str],
    slug: str,
    demo: Demo,
    trusted: str,
    address: str,
) -> None:
    headers = {"if_match": "*", "x_forwarded_for": "6.6.6.6, 203.0.113.5:51234, 198.51.100.1"}
    async with open_client(settings.model_copy(update={"trusted_proxies": trusted})) as client:
        emma = Shopper(client, signed, 7_100_000_000_001)
        assert (await emma.send("PATCH", f"{PATH}/{slug}", {"title": "New"}, **headers)).status_code == 200
    found = demo.execute(
        "SELECT host(ip) FROM audit_logs WHERE action = 'registry.changed' AND ip IS NOT NULL"
    ).fetchall()
    assert found == [(address,)]


async def test_archived_registry_is_the_registrants_only_and_can_be_restored(
    emma: Shopper, guest: Shopper, slug: str
) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    assert (await guest.read(slug)).status_code == 200
    own = await emma.send("PATCH", f"{PATH}/{slug}", {"status": "archived"}, if_match=etag)
    assert (own.status_code, own.json()["status"]) == (200, "archived")
    assert problem(await guest.read(slug)) == (404, "not-found")
    assert (await emma.read(slug)).content == own.content
    listed = OwnRegistryList.model_validate_json((await emma.send("GET", "/api/my-registries")).content)
    assert [(each.slug, each.status) for each in listed.registries] == [(slug, "archived")]
    back = await emma.send("PATCH", f"{PATH}/{slug}", {"status": "active"}, if_match=own.headers["etag"])
    assert (back.status_code, back.json()["status"]) == (200, "active")
    assert (await guest.read(slug)).json().items() <= back.json().items()


async def test_audit_log_records_who_changed_what_and_from_where(emma: Shopper, slug: str, demo: Demo) -> None:
    demo.execute("DELETE FROM audit_logs")
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Other"}, if_match="*", user_agent="x" * 300)
    await emma.send("PATCH", f"{PATH}/{slug}", {"status": "archived"}, if_match="*", user_agent="a browser")
    await emma.send("DELETE", f"{PATH}/{slug}", if_match='"1-0000000000000000"')  # refused: not in the audit log
    found = demo.execute(
        """SELECT a.shop_id, a.actor, a.action, a.resource, a.resource_id = r.id::text, host(a.ip), a.user_agent
           FROM audit_logs a, registries r WHERE r.slug = %s ORDER BY a.id""",
        [slug],
    ).fetchall()
    actor = f"customer:1:{emma.customer_id}"
    assert found == [
        (1, actor, "registry.changed", "registry", True, "127.0.0.1", "x" * 200),
        (1, actor, "registry.archived", "registry", True, "127.0.0.1", "a browser"),
    ]


async def test_next_read_shows_a_change_on_every_path(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, slug: str
) -> None:
    for number in range(3):
        for headers in WAYS:
            assert (await client.get(f"{PATH}/{slug}", headers=key | headers)).status_code == 200
        changed = await emma.send("PATCH", f"{PATH}/{slug}", {"title": f"Title {number}"}, if_match="*")
        for headers in WAYS:
            answer = await client.get(f"{PATH}/{slug}", headers=key | headers)
            assert answer.json().items() <= changed.json().items()
            assert answer.headers["etag"].partition("-")[0] == changed.headers["etag"].partition("-")[0]
            assert answer.headers["x-cache"] == "hit"
    await emma.send("PATCH", f"{PATH}/{slug}", {"visibility": "private"}, if_match="*")
    for headers in WAYS:
        assert (await client.get(f"{PATH}/{slug}", headers=key | headers)).status_code == 404
