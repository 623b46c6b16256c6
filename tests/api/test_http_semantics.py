"""HTTP as RFC 9110 has it, on every route: HEAD, Allow, no redirects, repeated headers."""

from collections.abc import Callable

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from tests.support.aliases import Demo
from tests.support.api import Shopper, problem, public_slug
from wishcraft.settings import Settings

VOLATILE = {"ratelimit", "date", "x-cache"}


def methods_by_path(settings: Settings) -> dict[str, set[str]]:
    """The methods of each path, with the demo data's ids in the place of its parameters."""
    found: dict[str, set[str]] = {}
    for path, item in create_app(settings).openapi()["paths"].items():
        found[path] = {method.upper() for method in item}
    return found


def fill(path: str, slug: str) -> str:
    values = {
        "ref": slug,
        "item_id": "1",
        "prefix": "000000000000",
        "key_id": "1",
        "token": "t",
        "run": "r",
        "name": "f",
    }
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, path
    return path


async def test_head_is_get_without_a_body(
    client: httpx.AsyncClient, settings: Settings, demo: Demo, key: dict[str, str]
) -> None:
    slug = public_slug(demo)
    paths = [fill(path, slug) for path, methods in methods_by_path(settings).items() if "GET" in methods]
    assert len(paths) >= 8
    await client.get(f"/api/registries/{slug}", headers=key)
    for path in paths:
        get = await client.get(path, headers=key)
        head = await client.head(path, headers=key)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert get.headers.keys() - VOLATILE == head.headers.keys() - VOLATILE, path
        assert head.headers["content-length"] == get.headers["content-length"] or path.startswith(
            ("/health", "/metrics")
        )


async def test_allow_names_all_methods_of_the_path(
    client: httpx.AsyncClient, settings: Settings, demo: Demo, key: dict[str, str]
) -> None:
    slug = public_slug(demo)
    for path, methods in methods_by_path(settings).items():
        refused = await client.put(fill(path, slug), headers=key)
        expected = methods | ({"HEAD"} if "GET" in methods else set())
        assert refused.status_code == 405, path
        assert set(refused.headers["allow"].split(", ")) == expected, path


async def test_no_cache_in_front_keeps_what_a_caller_got(
    client: httpx.AsyncClient, settings: Settings, demo: Demo, key: dict[str, str]
) -> None:
    """All callers share the URL of a path: their credentials are in headers that no cache looks at."""
    slug = public_slug(demo)
    paths = [fill(path, slug) for path, methods in methods_by_path(settings).items() if "GET" in methods]
    for path in (*paths, "/api/registries/none-of-ours", "/api/none", "/metrics", "/api/docs"):
        for method in ("GET", "PUT"):
            for headers in (key, {}):
                answer = await client.request(method, path, headers=headers)
                assert answer.headers.get("cache-control", "").startswith(("private", "no-store")), (method, path)
                assert len(answer.headers.get_list("cache-control")) == 1, path


async def test_assets_of_the_documentation_may_be_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/docs/assets/swagger-ui.css")
    assert answer.headers["etag"]
    assert "cache-control" not in answer.headers


async def test_unknown_path_and_method_say_what_to_do(client: httpx.AsyncClient) -> None:
    for path in ("/docs-of-another", "/api", "/api/registries/", "/api/docs/assets/none.css"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such path. /api/docs has all paths.")
    refused = await client.put("/api/registries")
    assert "Allow" in refused.json()["detail"]


async def test_assets_of_the_documentation_name_their_methods(client: httpx.AsyncClient) -> None:
    refused = await client.post("/api/docs/assets/swagger-ui.css")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_no_path_is_redirected_for_its_slash(
    client: httpx.AsyncClient, settings: Settings, demo: Demo, signed: Callable[..., str]
) -> None:
    routes = [route for route in create_app(settings).routes if isinstance(route, APIRoute)]
    assert not [route.path for route in routes if route.path.endswith("/")]
    for path in methods_by_path(settings):
        answer = await client.get(
            f"{fill(path, public_slug(demo))}/?{signed(customer_id=5)}", headers={"Host": "evil.example"}
        )
        assert answer.status_code == 404, path
        assert "location" not in answer.headers
        assert "evil" not in answer.text


@pytest.mark.parametrize("through_route", [False, True])
async def test_if_none_match_may_be_repeated_and_a_star(
    client: httpx.AsyncClient, demo: Demo, key: dict[str, str], *, through_route: bool
) -> None:
    path = f"/api/registries/{public_slug(demo)}"
    headers = list((key | ({"Origin": "https://x"} if through_route else {})).items())
    etag = (await client.get(path, headers=headers)).headers["etag"]
    for lines in ([etag, '"a"'], ['"a"', etag], [f"W/{etag}"], ["*"], [f'"a", {etag}']):
        answer = await client.get(path, headers=[*headers, *(("If-None-Match", line) for line in lines)])
        assert (answer.status_code, answer.content) == (304, b""), lines
    for lines in (['"a"'], ['"a"', '"b"']):
        assert (
            await client.get(path, headers=[*headers, *(("If-None-Match", line) for line in lines)])
        ).status_code == 200


async def test_if_match_may_be_repeated_and_is_compared_strongly(
    client: httpx.AsyncClient, emma: Shopper, signed: Callable[..., str]
) -> None:
    slug = await emma.create()
    etag = (await emma.read(slug)).headers["etag"]
    path = f"/api/registries/{slug}?{signed(customer_id=emma.customer_id)}"
    for refused in ([f"W/{etag}"], ['"a"', f"W/{etag}"], [f"x{etag}"], [etag, "garbage"]):
        answer = await client.patch(path, json={"title": "New"}, headers=[("If-Match", line) for line in refused])
        assert problem(answer) == (412, "changed-since"), refused
    for accepted in (['"a"', etag], ["*"]):
        answer = await client.patch(path, json={"title": "New"}, headers=[("If-Match", line) for line in accepted])
        assert answer.status_code == 200, accepted
        etag = answer.headers["etag"]
