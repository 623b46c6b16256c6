import time
from collections.abc import Callable

import httpx
import pytest

from api.schemas.responses import RegistryAnswer, RegistryList
from deployments.sandbox.demo import add_key
from tests.support.aliases import Demo
from tests.support.api import problem

Query = Callable[..., str]


def one(demo: Demo, where: str, shop_id: int = 1) -> tuple[str, int]:
    found = demo.execute(
        f"SELECT slug, customer_id FROM registries WHERE shop_id = %s AND {where} ORDER BY id",  # noqa: S608  ours
        [shop_id],
    ).fetchone()
    assert found
    return found[0], found[1]


@pytest.fixture
def slug(demo: Demo) -> str:
    """A public, active registry of the shop."""
    return one(demo, "visibility = 'public' AND status = 'active'")[0]


async def test_registry_is_read_through_the_cache(client: httpx.AsyncClient, key: dict[str, str], slug: str) -> None:
    first = await client.get(f"/api/registries/{slug}", headers=key)
    second = await client.get(f"/api/registries/{slug}", headers=key)
    assert (first.status_code, first.headers["x-cache"]) == (200, "miss")
    assert (second.status_code, second.headers["x-cache"]) == (200, "hit")
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]


async def test_every_registry_matches_the_response_schema(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo
) -> None:
    slugs = demo.execute(
        "SELECT slug FROM registries WHERE shop_id = 1 AND status = 'active' AND visibility IN ('public', 'unlisted')"
    ).fetchall()
    assert slugs
    for (each,) in slugs:
        answer = await client.get(f"/api/registries/{each}", headers=key)
        shown = RegistryAnswer.model_validate_json(answer.content)
        assert shown.slug == each
        assert shown.items


async def test_unchanged_registry_is_answered_304(client: httpx.AsyncClient, key: dict[str, str], slug: str) -> None:
    etag = (await client.get(f"/api/registries/{slug}", headers=key)).headers["etag"]
    again = await client.get(f"/api/registries/{slug}", headers={**key, "If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("key_shown", [None, "", "wc_nonsense", "wc_000000000000_" + "0" * 64])
async def test_request_without_valid_credentials_is_unauthorized(
    client: httpx.AsyncClient, slug: str, key_shown: str | None
) -> None:
    headers = {} if key_shown is None else {"X-API-Key": key_shown}
    for path in (f"/api/registries/{slug}", "/api/registries"):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:wishcraft:problem:unauthorized"


@pytest.mark.parametrize("ended", ["revoked_at = now()", "expires_at = now()"])
async def test_revoked_or_expired_key_is_unauthorized(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo, ended: str
) -> None:
    demo.execute(f"UPDATE api_keys SET {ended}")  # noqa: S608  ours
    assert (await client.get("/api/registries", headers=key)).status_code == 401


async def test_key_of_an_uninstalled_shop_is_unauthorized(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    assert (await client.get("/api/registries", headers=key)).status_code == 401


async def test_only_the_hash_of_a_key_is_stored(key: dict[str, str], demo: Demo) -> None:
    secret = key["X-API-Key"].rpartition("_")[2]
    stored = demo.execute("SELECT to_jsonb(k)::text FROM api_keys k").fetchall()
    assert len(stored) == 1
    assert secret not in stored[0][0]


async def test_registry_of_another_shop_is_not_found(client: httpx.AsyncClient, slug: str, demo: Demo) -> None:
    others = {"X-API-Key": add_key(demo, 2).key}
    answer = await client.get(f"/api/registries/{slug}", headers=others)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:wishcraft:problem:not-found")


async def test_signature_authenticates_for_its_own_shop(client: httpx.AsyncClient, signed: Query, slug: str) -> None:
    assert (await client.get(f"/api/registries/{slug}?{signed()}")).status_code == 200
    assert (await client.get(f"/api/registries/{slug}?{signed('lumiere-maison.myshopify.com')}")).status_code == 404


async def test_changed_or_old_signature_or_one_of_an_unknown_shop_is_unauthorized(
    client: httpx.AsyncClient, signed: Query
) -> None:
    changed = signed().replace("shop=maple", "shop=lumiere")
    for query, kind, reason in (
        (changed, "unauthorized", "invalid or too old"),
        (signed(at=time.time() - 3600), "unauthorized", "invalid or too old"),
        (signed("nobody.myshopify.com"), "shop-not-installed", "has not installed the app"),
    ):
        answer = await client.get(f"/api/registries?{query}")
        assert problem(answer) == (401, kind)
        assert reason in answer.json()["detail"]


async def test_private_registry_is_found_by_its_registrant_only(
    client: httpx.AsyncClient, key: dict[str, str], signed: Query, demo: Demo, slug: str
) -> None:
    owner = one(demo, f"slug = '{slug}'")[1]
    demo.execute("UPDATE registries SET visibility = 'private' WHERE slug = %s", [slug])
    path = f"/api/registries/{slug}"
    assert (await client.get(path, headers=key)).status_code == 404
    assert (await client.get(f"{path}?{signed()}")).status_code == 404
    assert (await client.get(f"{path}?{signed(customer_id=owner + 1)}")).status_code == 404
    assert (await client.get(f"{path}?{signed(customer_id=owner)}")).status_code == 200


@pytest.mark.parametrize("status", ["paused", "archived"])
async def test_paused_or_archived_registry_is_not_found(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo, slug: str, status: str
) -> None:
    demo.execute("UPDATE registries SET status = %s WHERE slug = %s", [status, slug])
    assert (await client.get(f"/api/registries/{slug}", headers=key)).status_code == 404


async def test_password_protected_registry_requires_its_access_code(
    client: httpx.AsyncClient, key: dict[str, str], signed: Query, demo: Demo, slug: str
) -> None:
    owner = one(demo, f"slug = '{slug}'")[1]
    demo.execute("UPDATE registries SET visibility = 'password' WHERE slug = %s", [slug])
    answer = await client.get(f"/api/registries/{slug}", headers=key)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:wishcraft:problem:access-code-required")
    assert (await client.get(f"/api/registries/{slug}?{signed(customer_id=owner)}")).status_code == 200


async def test_missing_resource_is_answered_with_a_problem(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    for path in ("/api/registries/nothing-here", "/api/nothing", "/api/registries/%00"):
        answer = await client.get(path, headers=key)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_list_has_only_public_active_registries(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo
) -> None:
    expected = demo.execute(
        "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active' ORDER BY id DESC"
    ).fetchall()
    answer = RegistryList.model_validate_json((await client.get("/api/registries", headers=key)).content)
    assert [each.slug for each in answer.registries] == [slug for (slug,) in expected]
    assert answer.next_cursor is None


async def test_pages_have_no_gap_and_no_repeat(client: httpx.AsyncClient, key: dict[str, str], demo: Demo) -> None:
    demo.execute("UPDATE registries SET visibility = 'public', status = 'active' WHERE shop_id = 1")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/api/registries", params={"limit": 3, **cursor}, headers=key)).json()
        seen += [each["slug"] for each in page["registries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == len(set(seen)) == 4


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=-1"])
async def test_invalid_list_parameter_is_refused_with_its_name(
    client: httpx.AsyncClient, key: dict[str, str], query: str
) -> None:
    answer = await client.get(f"/api/registries?{query}", headers=key)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:wishcraft:problem:invalid-request")
    assert query.partition("=")[0] in answer.json()["detail"]
