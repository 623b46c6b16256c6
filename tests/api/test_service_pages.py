import re
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from tests.support.aliases import OpenClient
from tests.support.outages import unreachable
from wishcraft.services.health.monitor import Status, overall
from wishcraft.settings import Settings


async def test_health_checks_every_part(client: httpx.AsyncClient) -> None:
    found = (await client.get("/health")).json()
    assert list(found["checks"]) == [
        *("database", "redis", "memory", "environment", "prefect", "scheduler", "webhooks", "mail", "shopify"),
    ]
    healthy = {name for name, check in found["checks"].items() if check["status"] == "healthy"}
    assert healthy == {
        "database",
        "redis",
        "memory",
        "environment",
        "webhooks",
        "mail",
        "shopify",
    }  # there is no Prefect server in this test
    assert found["status"] == "degraded"


async def test_liveness_needs_no_store(settings: Settings, open_client: OpenClient) -> None:
    async with open_client(unreachable(settings, "database_url", "redis_url")) as client:
        assert (await client.get("/health/liveness")).json() == {"status": "alive"}


@pytest.mark.parametrize(
    ("gone", "status", "code"),
    [
        ((), "degraded", 200),
        (("redis_url",), "degraded", 200),
        (("database_url",), "degraded", 200),
        (("database_url", "redis_url"), "unhealthy", 503),
    ],
)
async def test_one_store_is_enough_for_readiness(
    settings: Settings,
    open_client: OpenClient,
    client: httpx.AsyncClient,
    gone: tuple[str, ...],
    status: str,
    code: int,
) -> None:
    assert client.is_closed is False  # the demo shops are there
    async with open_client(unreachable(settings, *gone)) as other:
        answer = await other.get("/health/readiness")
    assert (answer.status_code, answer.json()["status"]) == (code, status)
    unhealthy = {name for name, check in answer.json()["checks"].items() if check["status"] == "unhealthy"}
    assert unhealthy == {name.removesuffix("_url") for name in gone}


def test_overall_health_is_the_worst_part_but_degraded_while_a_store_answers() -> None:
    well = dict.fromkeys(("database", "redis", "memory", "environment", "prefect", "scheduler"), Status.HEALTHY)
    assert overall(well) is Status.HEALTHY
    assert overall(well | {"prefect": Status.UNHEALTHY}) is Status.DEGRADED
    assert overall(well | {"database": Status.UNHEALTHY}) is Status.DEGRADED
    assert overall(well | {"environment": Status.UNHEALTHY}) is Status.UNHEALTHY
    assert overall(well | {"database": Status.UNHEALTHY, "redis": Status.UNHEALTHY}) is Status.UNHEALTHY


async def test_health_shows_no_address_and_no_secret(settings: Settings, open_client: OpenClient) -> None:
    async with open_client(unreachable(settings, "database_url", "redis_url")) as client:
        shown = (await client.get("/health")).text
    assert "127.0.0.1" not in shown
    assert "postgres" not in shown


async def test_reads_are_answered_from_postgresql_while_redis_is_down(
    settings: Settings, open_client: OpenClient, client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    listed = (await client.get("/api/registries", headers=key)).json()["registries"]
    async with open_client(unreachable(settings, "redis_url")) as without_redis:
        answer = await without_redis.get(f"/api/registries/{listed[0]['slug']}", headers=key)
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "bypass")
    assert answer.content == (await client.get(f"/api/registries/{listed[0]['slug']}", headers=key)).content


async def test_miss_without_postgresql_is_answered_503_with_retry_after(
    settings: Settings, open_client: OpenClient, key: dict[str, str]
) -> None:
    async with open_client(unreachable(settings, "database_url")) as client:
        answer = await client.get("/api/registries", headers=key)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["type"] == "urn:wishcraft:problem:unavailable"


async def test_swagger_ui_loads_all_assets_from_the_api(client: httpx.AsyncClient) -> None:
    page = (await client.get("/api/docs/ui")).text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) == 3
    for asset in assets:
        assert asset.startswith("/"), asset
        assert (await client.get(asset)).status_code == 200
    assert "http" not in re.sub(r"https?://www\.w3\.org", "", page).replace("http-equiv", "")


async def test_openapi_document_is_made_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone may ask for it, as often as they like."""
    app, made = create_app(settings), list[object]()
    make = app.openapi

    def count() -> dict[str, Any]:
        made.append(make())
        return make()

    monkeypatch.setattr(app, "openapi", count)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answers = [await client.get("/api/docs") for _ in range(3)]
    assert [answer.json() for answer in answers] == [make()] * 3
    assert len(made) == 1


async def test_openapi_documents_credentials_and_problems(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/docs")).json()
    assert set(document["components"]["securitySchemes"]) == {
        "ApiKey",
        "AppProxy",
        "ShopifyIdToken",
        "OperationsPassword",
    }
    read = document["paths"]["/api/registries/{ref}"]["get"]
    assert set(read["responses"]) == {"200", "304", "401", "403", "404", "422", "429", "503"}
    assert read["security"]
    assert list(read["responses"]["404"]["content"]) == ["application/problem+json"]
    examples = read["responses"]["404"]["content"]["application/problem+json"]["examples"]
    assert examples["not-found"]["value"]["type"] == "urn:wishcraft:problem:not-found"
    assert "Problem" in document["components"]["schemas"]


async def test_openapi_offers_a_customer_and_any_version_for_writes_alone(client: httpx.AsyncClient) -> None:
    of_a_registry = (await client.get("/api/docs")).json()["paths"]["/api/registries/{ref}"]
    for method, offered in (("get", {}), ("patch", {"X-Customer-Id": 7_000_010_000_000, "If-Match": "*"})):
        headers = [each for each in of_a_registry[method]["parameters"] if each["in"] == "header"]
        assert {each["name"]: each["example"] for each in headers if "example" in each} == offered


async def test_cors_allows_only_the_configured_origins(
    settings: Settings, open_client: OpenClient, client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    slug = (await client.get("/api/registries", headers=key)).json()["registries"][0]["slug"]
    theirs = {"Origin": "https://headless.example"}
    asking = {**theirs, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}
    allowed = settings.model_copy(update={"cors_origins": "https://headless.example, https://other.example"})
    async with open_client(allowed) as other:
        for _ in range(2):  # the second time is a hit, which the fast path must not answer
            answer = await other.get(f"/api/registries/{slug}", headers={**key, **theirs})
            assert answer.headers["access-control-allow-origin"] == "https://headless.example"
            assert "ETag" in answer.headers["access-control-expose-headers"]
        preflight = await other.options(f"/api/registries/{slug}", headers=asking)
        assert (preflight.status_code, "PATCH" in preflight.headers["access-control-allow-methods"]) == (200, True)
        stranger = await other.get(f"/api/registries/{slug}", headers={**key, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-origin" not in (await client.get("/api/registries", headers={**key, **theirs})).headers


async def test_pages_of_an_allowed_origin_can_read_every_refusal(
    settings: Settings, open_client: OpenClient, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {**key, "Origin": "https://headless.example", "Content-Type": "application/json"}
    async with open_client(settings.model_copy(update={"cors_origins": "https://headless.example"})) as client:
        too_large = await client.post("/api/registries", content=b"x" * 100_000, headers=headers)
        not_allowed = await client.put("/api/registries", headers=headers)

        async def fail(*_: object) -> None:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr("wishcraft.store.registry_lists.list_public", fail)
            bug = await client.get("/api/registries", headers=headers)
        with monkeypatch.context() as patch:
            patch.setattr("api.middleware.request.MAX_SECONDS", 0)
            late = await client.get("/api/registries", headers=headers)
    answers = [too_large, not_allowed, bug, late]
    assert [answer.status_code for answer in answers] == [413, 405, 500, 503]
    assert {answer.headers.get("access-control-allow-origin") for answer in answers} == {"https://headless.example"}
    assert all("X-Request-Id" in answer.headers["access-control-expose-headers"] for answer in answers)


async def test_metrics_require_the_token(
    settings: Settings, open_client: OpenClient, client: httpx.AsyncClient
) -> None:
    assert (await client.get("/metrics")).status_code == 200
    async with open_client(settings.model_copy(update={"environment": "production"})) as other:
        assert (await other.get("/metrics")).status_code == 404
    async with open_client(settings.model_copy(update={"metrics_token": SecretStr("let-me-in")})) as other:
        assert (await other.get("/metrics")).status_code == 401
        assert (await other.get("/metrics", headers={"Authorization": "Bearer let-me-out"})).status_code == 401
        answer = await other.get("/metrics", headers={"Authorization": "Bearer let-me-in"})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    async with open_client(unreachable(settings, "redis_url")) as other:
        assert "wishcraft_redis_up 0.0" in (await other.get("/metrics")).text


async def test_every_response_has_nosniff_and_pages_forbid_framing(client: httpx.AsyncClient) -> None:
    for path in (
        "/api/registries",
        "/health",
        "/api/docs",
        "/api/docs/ui",
        "/api/unsubscribe/x",
        "/api/invitations/x",
        "/nothing",
    ):
        assert (await client.get(path)).headers["x-content-type-options"] == "nosniff", path
    for path in ("/api/docs/ui", "/api/unsubscribe/x", "/api/invitations/x"):
        policy = (await client.get(path)).headers["content-security-policy"]
        assert "default-src" in policy, path


async def test_admin_jobs_redirects_to_prefect(client: httpx.AsyncClient, settings: Settings) -> None:
    answer = await client.get("/admin/jobs")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{settings.prefect_ui_url}/v2/deployments")
