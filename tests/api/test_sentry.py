"""Sentry: every 5xx is one event with the data to find its cause."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any

import httpx
import pytest
import sentry_sdk
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.responses import StreamingResponse

from api.app import create_app, create_service
from api.auth.dependencies import CallerDep
from benchmarks.web import open_client
from tests.support.aliases import Demo, OpenClient
from tests.support.api import public_slug
from tests.support.http_server import served
from tests.support.sentry_listener import PUBLIC_KEY, SentryListener
from wishcraft.domain.callers import Caller
from wishcraft.observability import sentry as sentry_reports
from wishcraft.observability.context import current_context, log_context
from wishcraft.observability.logs import install_redaction
from wishcraft.settings import Settings


@pytest.fixture
def settings_with_sentry(settings: Settings, sentry: SentryListener) -> Settings:
    """Settings with a Sentry, and this process as an API that reports to it."""
    with_sentry = settings.model_copy(
        update={"sentry_dsn": SecretStr(sentry.dsn), "sentry_traces_sample_rate": 1.0, "release": "abc1234"}
    )
    install_redaction()
    sentry_reports.start_sentry(with_sentry, "api")
    return with_sentry


@pytest.fixture
async def client(settings_with_sentry: Settings, demo: Demo) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API with a route that raises."""
    app = create_app(settings_with_sentry)
    break_on_request(app)
    async with app.router.lifespan_context(app), open_client(app) as client:
        yield client


def break_on_request(app: FastAPI) -> None:
    @app.post("/api/broken/{ref}")
    async def broken(ref: str, sent: dict[str, Any]) -> None:
        raise ValueError(f"{ref} does not go with {sent['text']}")


async def test_unhandled_error_is_one_event_with_stack_route_release_and_request(
    client: httpx.AsyncClient, sentry: SentryListener
) -> None:
    answer = await client.post("/api/broken/one", json={"text": "anything"}, headers={"X-Request-Id": "request-0001"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "request-0001")
    sentry_reports.flush()
    [event] = sentry.of_type("event")
    assert sentry.errors() == [("ValueError", "one does not go with [redacted]")]
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "broken"
    assert event["tags"] == {
        "program": "api",
        "request_id": "request-0001",
        "method": "POST",
        "route": "/api/broken/{ref}",
    }
    assert event["transaction"] == "POST /api/broken/{ref}"
    assert (event["release"], event["environment"]) == ("abc1234", "development")


def test_no_record_is_made_of_messages_that_the_sdk_hides(settings_with_sentry: Settings) -> None:
    assert not logging.getLogger("sentry_sdk.errors").isEnabledFor(logging.ERROR)


async def test_requests_are_traced_by_route_template(client: httpx.AsyncClient, sentry: SentryListener) -> None:
    for probe in ("/health", "/health/liveness", "/health/readiness", "/metrics"):
        await client.get(probe)  # probes are not traced
    await client.get("/api/unsubscribe/" + "x" * 96)
    await client.get("/nowhere/emma@example.com")
    sentry_reports.flush()
    assert [each["transaction"] for each in sentry.of_type("transaction")] == [
        "GET /api/unsubscribe/{token}",
        "GET unmatched",
    ]


@pytest.fixture
def always_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw is below every rate that is not 0."""
    monkeypatch.setattr(sentry_reports, "random", lambda: 0.0)
    monkeypatch.setattr("api.fast_path.random", lambda: 0.0)


@pytest.fixture
def dsn_alone(settings: Settings, sentry: SentryListener) -> Settings:
    """Settings with SENTRY_DSN and no other of Sentry's, and this process as an API with them."""
    with_dsn = settings.model_copy(update={"sentry_dsn": SecretStr(sentry.dsn)})
    sentry_reports.start_sentry(with_dsn, "api")
    return with_dsn


@pytest.mark.usefixtures("always_sampled")
async def test_with_a_dsn_alone_a_request_sends_a_trace(
    dsn_alone: Settings, sentry: SentryListener, open_client: OpenClient, key: dict[str, str]
) -> None:
    async with open_client(dsn_alone) as client:
        await client.get("/api/registries", headers=key)
    [trace] = await sentry.wait_for("transaction")
    assert trace["transaction"] == "GET /api/registries"
    [sampling] = sentry.sampling
    assert sampling["public_key"] == PUBLIC_KEY
    assert sampling["release"] == f"wishcraft@{version('wishcraft')}"
    assert sampling["transaction"] == "GET /api/registries"
    assert sampling["sample_rate"] == "0.02"


@pytest.mark.usefixtures("always_sampled")
async def test_trace_has_a_profile_if_processes_are_profiled(
    settings: Settings, sentry: SentryListener, open_client: OpenClient, key: dict[str, str]
) -> None:
    update = {"sentry_dsn": SecretStr(sentry.dsn), "sentry_profiles_sample_rate": 1.0}
    profiled = settings.model_copy(update=update)
    sentry_reports.start_sentry(profiled, "api")
    async with open_client(profiled) as client:
        await client.get("/api/registries", headers=key)
    [trace] = await sentry.wait_for("transaction")
    [profile, *_] = await sentry.wait_for("profile_chunk")
    assert trace["contexts"]["profile"]["profiler_id"] == profile["profiler_id"]
    assert profile["profile"]["samples"]


async def test_a_rate_of_0_sends_no_trace(
    settings: Settings, sentry: SentryListener, open_client: OpenClient, key: dict[str, str]
) -> None:
    update = {"sentry_dsn": SecretStr(sentry.dsn), "sentry_traces_sample_rate": 0.0}
    sentry_reports.start_sentry(settings.model_copy(update=update), "api")
    async with open_client(settings.model_copy(update=update)) as client:
        for _ in range(2):  # a miss, then a hit
            await client.get("/api/registries/rosewood", headers=key)
    sentry_reports.flush()
    assert sentry.items == []


@pytest.mark.usefixtures("always_sampled")
async def test_a_hit_is_traced_a_hundredth_as_often_and_for_its_user(
    dsn_alone: Settings, sentry: SentryListener, open_client: OpenClient, demo: Demo, signed: Callable[..., str]
) -> None:
    slug, query = public_slug(demo), signed()
    async with open_client(dsn_alone) as client:
        answers = [await client.get(f"/api/registries/{slug}?{query}") for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
    miss, hit = await sentry.wait_for("transaction", 2)
    assert miss["transaction"] == hit["transaction"] == "GET /api/registries/{ref}"
    assert [each["sample_rate"] for each in sentry.sampling] == ["0.02", str(0.02 / sentry_reports.HITS_PER_TRACE)]
    assert miss["user"] == hit["user"]
    assert "127.0.0.1" not in str(hit["user"])


async def test_events_carry_a_pseudonym_of_the_customer_and_nothing_else(
    client: httpx.AsyncClient, sentry: SentryListener, demo: Demo, signed: Callable[..., str], key: dict[str, str]
) -> None:
    app = client._transport.app  # type: ignore[attr-defined]

    @app.post("/api/identified")  # type: ignore[untyped-decorator]
    async def identified(caller: CallerDep) -> None:
        sentry_sdk.set_tag("caller", caller.name.partition(":")[0])
        raise ValueError("of whom?")

    other_shop = "lumiere-maison.myshopify.com"
    for query, headers in [
        (signed(customer_id=7001), {}),
        ("", key | {"X-Customer-Id": "7001"}),
        (signed(customer_id=7002), {}),
        (signed(other_shop, customer_id=7001), {}),
        (signed(), {}),
        ("", key),
    ]:
        await client.post(f"/api/identified?{query}", headers=headers)
    sentry_reports.flush()
    events = sentry.of_type("event")
    assert [event["tags"]["caller"] for event in events] == ["customer", "key", "customer", "customer", "guest", "key"]
    users = [event.get("user") for event in events]
    assert users[0] == users[1]
    assert users[5] is None
    assert len({str(user) for user in users[1:]}) == 5
    assert all(list(user) == ["id"] and len(user["id"]) == 32 for user in users[:5] if user)


@pytest.mark.parametrize(
    ("secret", "is_same"), [("the client secret", True), ("another client secret", False)], ids=["same", "other"]
)
def test_a_pseudonym_is_the_same_in_all_processes_with_the_same_secret(
    settings: Settings, sentry: SentryListener, secret: str, is_same: bool
) -> None:
    update = {"sentry_dsn": SecretStr(sentry.dsn), "shopify_api_secret": SecretStr(secret)}
    sentry_reports.start_sentry(settings.model_copy(update=update), "api")
    with sentry_reports.isolated():
        sentry_reports.set_user(Caller(1, "customer:1:42", 42))
        sentry_reports.capture_message("for the customer")
    sentry_reports.flush()
    [event] = sentry.of_type("event")
    assert (event["user"] == {"id": "ce8aca9a534502ef04d6834866a641b3"}) is is_same


@pytest.mark.parametrize(("seconds", "reports_of_each_route"), [(60.0, [1, 1]), (0.0, [3, 2])])
async def test_database_errors_are_all_logged_but_reported_once_a_second_per_route(
    settings_with_sentry: Settings,
    sentry: SentryListener,
    open_client: OpenClient,
    key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    reports_of_each_route: list[int],
) -> None:
    monkeypatch.setattr("api.problems.REPORT_AGAIN_SECONDS", seconds)
    unreachable = settings_with_sentry.model_copy(
        update={"database_url": "postgresql+psycopg://u:hunter22secret@127.0.0.1:1/x"}
    )
    async with open_client(unreachable) as client:
        paths = ["/api/registries"] * 3 + ["/api/my-registries"] * 2
        answers = [await client.get(path, headers=key | {"X-Customer-Id": "1"}) for path in paths]
    sentry_reports.flush()
    assert {each.status_code for each in answers} == {503}
    assert len([each for each in caplog.records if "The database did not answer" in each.getMessage()]) == len(paths)
    routes = [event["tags"]["route"] for event in sentry.of_type("event")]
    assert [routes.count(route) for route in ("/api/registries", "/api/my-registries")] == reports_of_each_route
    assert {kind for kind, _ in sentry.errors()} == {"DatabaseUnavailable"}


async def test_breadcrumbs_of_one_request_are_not_in_the_event_of_another(
    client: httpx.AsyncClient, sentry: SentryListener
) -> None:
    with sentry_reports.isolated():
        logging.getLogger("wishcraft").warning("of another request")
    await client.post("/api/broken/one", json={"text": "anything"})
    sentry_reports.flush()
    [event] = sentry.of_type("event")
    assert "of another request" not in str(event["breadcrumbs"])


@pytest.mark.parametrize(
    ("url", "is_traced"),
    [
        ("http://prefect.internal:4200/api/health", True),
        ("https://registry.example/api/x", True),
        ("http://prefect.internal:42001/api", False),
        ("https://registry.example.evil.com/", False),
        ("https://maple-and-pine.myshopify.com/admin/api", False),
    ],
)
async def test_trace_headers_are_sent_to_own_hosts_only(
    settings: Settings, sentry: SentryListener, url: str, is_traced: bool
) -> None:
    update = {
        "sentry_dsn": SecretStr(sentry.dsn), "sentry_traces_sample_rate": 1.0,
        "prefect_api_url": "http://prefect.internal:4200/api", "public_url": "https://registry.example",
    }  # fmt: skip
    sentry_reports.start_sentry(settings.model_copy(update=update), "api")
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    with sentry_reports.traced("test", lambda: "test"):
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            await http.get(url)
    assert ("sentry-trace" in seen[0]) is is_traced
    assert (f"sentry-release=wishcraft%40{version('wishcraft')}" in seen[0].get("baggage", "")) is is_traced


async def test_sentry_is_inactive_without_a_dsn(settings: Settings) -> None:
    sentry_reports.start_sentry(settings, "api")
    assert not sentry_sdk.get_client().is_active()


async def test_log_context_ends_with_its_request() -> None:
    with log_context(request_id="a"), log_context(shop="b"):
        pass
    assert current_context() == {}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"text": "sunflower"}).encode("utf-16"),
        b'{"text": "sunflower", "x": NaN}',
        rb'{"text": "sunflower", "x": "\ud800"}',
    ],
)
async def test_body_that_only_python_parses_as_json_is_redacted_too(
    client: httpx.AsyncClient, sentry: SentryListener, body: bytes
) -> None:
    await client.post("/api/broken/one", content=body, headers={"Content-Type": "application/json"})
    sentry_reports.flush()
    assert "sunflower" not in sentry.raw.decode()


async def test_stripped_text_is_redacted_too(client: httpx.AsyncClient, sentry: SentryListener) -> None:
    app = client._transport.app  # type: ignore[attr-defined]

    @app.post("/api/stripped")  # type: ignore[untyped-decorator]
    async def stripped(sent: dict[str, Any]) -> None:
        raise ValueError(f"{sent['text'].strip()} makes no sense")

    await client.post("/api/stripped", json={"text": " sunflower "})
    sentry_reports.flush()
    assert "sunflower" not in sentry.raw.decode()


async def test_cut_off_response_is_reported_once(
    settings_with_sentry: Settings, sentry: SentryListener, demo: Demo
) -> None:
    app = create_app(settings_with_sentry)

    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        raise ValueError("cut")

    app.get("/api/cut")(lambda: StreamingResponse(parts()))
    with served(create_service(app)) as address, pytest.raises(httpx.RemoteProtocolError):
        async with httpx.AsyncClient(base_url=address) as client:
            await client.get("/api/cut")
    sentry_reports.flush()
    assert [kind for kind, _ in sentry.errors()] == ["ValueError"]
