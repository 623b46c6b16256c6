"""Receipt of webhooks: the answers to Shopify, and the rows of the inbox."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.large_bodies import MAX_PLACES, PLACES_OF_A_SENDER
from api.middleware.request import LARGEST_BODY
from tests.support.aliases import Demo, OpenClient
from tests.support.api import app_state_of, called_from, problem
from tests.support.outages import postgresql_unavailable
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.support.webhooks import signed_headers
from wishcraft.observability.metrics import PROCESS
from wishcraft.services.webhooks.inbox import InboxLimits
from wishcraft.settings import Settings

URL = "/api/webhooks/shopify"
BODY = b'{"id":1, "total": 1.10,\n "big": 123456789012345678901234567890, "name": "\\u00e9\xc3\xa9", "id":2}'
"""JSON that parsing and writing would change."""
PATIENT = InboxLimits(answer_seconds=PATIENCE_SECONDS)


@pytest.fixture(autouse=True)
def empty_inbox(demo: Demo) -> None:
    demo.execute("TRUNCATE webhook_events")


@pytest.fixture
def post(client: httpx.AsyncClient, settings: Settings) -> Callable[..., Any]:
    """Function that sends a signed webhook."""
    return sender(client, settings.shopify_api_secret.get_secret_value())


def sender(client: httpx.AsyncClient, secret: str) -> Callable[..., Any]:
    app_state_of(client).inbox.limits = PATIENT

    async def post(webhook_id: str = "w1", body: bytes = BODY, **changed: Any) -> httpx.Response:
        headers = signed_headers(secret, body, "orders/create", "unknown-shop.myshopify.com", webhook_id) | {
            "X-Shopify-Event-Id": f"event of {webhook_id}".replace(" ", "-"),
            "X-Shopify-Triggered-At": "2026-11-28T07:00:00.123456789Z",
            "X-Shopify-API-Version": "2026-10",
        }
        headers |= {f"X-Shopify-{name.replace('_', '-')}": value for name, value in changed.items()}
        sent = {name: value for name, value in headers.items() if value is not None}
        return await client.post(URL, content=body, headers=sent)

    return post


def stored(demo: Demo) -> list[str]:
    return [webhook_id for (webhook_id,) in demo.execute("SELECT webhook_id FROM webhook_events ORDER BY webhook_id")]


def counted(topic: str, result: str) -> float:
    return PROCESS.get_sample_value("wishcraft_webhooks_total", {"topic": topic, "result": result}) or 0


async def test_webhook_is_stored_as_received_for_an_unknown_shop_too(post: Callable[..., Any], demo: Demo) -> None:
    before = counted("orders/create", "stored")
    answer = await post()
    assert (answer.status_code, answer.content) == (200, b"")
    [row] = demo.execute(
        """SELECT shop_domain, topic, event_id, triggered_at::text, api_version, payload, handled_at
           FROM webhook_events"""
    ).fetchall()
    assert row == (
        "unknown-shop.myshopify.com", "orders/create", "event-of-w1", "2026-11-28 07:00:00.123456+00", "2026-10",
        BODY, None,
    )  # fmt: skip
    assert counted("orders/create", "stored") == before + 1


async def test_repetition_is_answered_with_200_and_not_stored_again(post: Callable[..., Any], demo: Demo) -> None:
    before = counted("orders/create", "repeated")
    answers = [await post("w1"), await post("w1"), await post("w2", Event_Id="event-of-w1")]
    assert [each.status_code for each in answers] == [200] * 3
    assert stored(demo) == ["w1"]
    assert counted("orders/create", "repeated") == before + 2
    assert (await post("w3", BODY + b" ", Event_Id="event-of-w1")).status_code == 200  # the same event of another thing
    assert stored(demo) == ["w1", "w3"]
    assert (await post("w1", Shop_Domain="other.myshopify.com", Topic="made/up")).status_code == 200
    assert len(stored(demo)) == 3
    assert counted("made/up", "stored") == 0


@pytest.mark.parametrize("signature", [None, "", "x", "A" * 43 + "="])
async def test_bad_signature_is_401_and_stores_nothing(
    post: Callable[..., Any], demo: Demo, signature: str | None
) -> None:
    assert problem(await post(Hmac_Sha256=signature)) == (401, "unauthorized")
    assert stored(demo) == []


async def test_unsigned_flood_is_not_limited_and_limits_no_signed_webhook(
    open_client: OpenClient, settings: Settings
) -> None:
    async with open_client(settings.model_copy(update={"rate_limit_per_minute": 1})) as client:
        post = sender(client, settings.shopify_api_secret.get_secret_value())
        answers = [await post(Hmac_Sha256="A" * 43 + "=") for _ in range(30)]
        answers += [await post(f"w{each}") for each in range(30)]
    assert [each.status_code for each in answers] == [401] * 30 + [200] * 30


@pytest.mark.parametrize(
    "changed",
    [
        {"Topic": None}, {"Shop_Domain": None}, {"Webhook_Id": None}, {"Shop_Domain": "shop.example.com"},
        {"Topic": "x" * 5_000}, {"Webhook_Id": "x" * 5_000}, {"Event_Id": "\u00e9".encode()}, {"API_Version": "a b"},
        {"Webhook_Id": b"a\tb"},
    ],
)  # fmt: skip
async def test_signed_webhook_with_malformed_headers_is_400(
    post: Callable[..., Any], demo: Demo, changed: dict[str, Any]
) -> None:
    assert problem(await post(**changed)) == (400, "bad-request")
    assert stored(demo) == []


async def test_malformed_time_and_missing_event_are_stored_as_null(post: Callable[..., Any], demo: Demo) -> None:
    assert (await post(Triggered_At="yesterday", Event_Id=None)).status_code == 200
    assert demo.execute("SELECT triggered_at, event_id FROM webhook_events").fetchall() == [(None, None)]


async def test_body_of_4_mib_is_stored_and_a_larger_one_refused(post: Callable[..., Any], demo: Demo) -> None:
    largest = b"{" + (bytes(range(256)) * (4 * 4096))[1:]
    assert (await post("w1", largest)).status_code == 200
    assert demo.execute("SELECT payload FROM webhook_events").fetchall() == [(largest,)]
    assert problem(await post("w2", largest + b" ")) == (413, "content-too-large")


async def test_slow_large_bodies_of_one_address_leave_places_to_others(
    open_client: OpenClient, settings: Settings, demo: Demo
) -> None:
    """The senders have no credentials, so their digest is a made-up one."""
    large, arrived, gone = b"{" * (LARGEST_BODY + 1), list[int](), asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        yield large
        arrived.append(1)
        await gone.wait()

    def send(client: httpx.AsyncClient, address: str) -> Awaitable[httpx.Response]:
        headers = {"X-Shopify-Hmac-Sha256": "A" * 43 + "=", "X-Forwarded-For": address}
        return client.post(URL, content=slow_body(), headers=headers)

    async with (
        open_client(settings.model_copy(update={"trusted_proxies": "127.0.0.1"})) as client,
        called_from(client, "127.0.0.1") as direct,  # a client over HTTP waits until it has sent its body
    ):
        app_state_of(client).large_bodies.seconds = PATIENCE_SECONDS
        post = sender(client, settings.shopify_api_secret.get_secret_value())
        slow = [asyncio.ensure_future(send(direct, f"2001:db8::{each}")) for each in range(PLACES_OF_A_SENDER)]
        await wait_until(lambda: len(arrived) == PLACES_OF_A_SENDER)
        crowded = counted("unknown", "crowded")
        refused = await send(direct, "2001:db8::ffff")
        assert counted("unknown", "crowded") == crowded + 1
        assert problem(refused) == (503, "unavailable")
        assert refused.headers["retry-after"] == "5"
        assert (await post("w1", large)).status_code == 200
        slow += [asyncio.ensure_future(send(direct, f"203.0.113.{each}")) for each in range(MAX_PLACES - len(slow))]
        await wait_until(lambda: len(arrived) == MAX_PLACES)
        assert problem(await post("w2", large)) == (503, "unavailable")
        assert (await post("w3", large[:-1])).status_code == 200
        gone.set()
        assert [problem(each) for each in await asyncio.gather(*slow)] == [(401, "unauthorized")] * MAX_PLACES
        assert (await post("w4", large)).status_code == 200
    assert stored(demo) == ["w1", "w3", "w4"]


async def test_large_bodies_without_a_place_are_no_error_to_report(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone can send them: each error would be an event in Sentry."""
    headers = {"X-Shopify-Hmac-Sha256": "A" * 43 + "="}
    with ExitStack() as taken:
        for place in range(MAX_PLACES):
            taken.enter_context(app_state_of(client).large_bodies.slot(f"2001:db8:{place // PLACES_OF_A_SENDER}::"))
        for _ in range(5):
            assert (await client.post(URL, content=b"{" * (LARGEST_BODY + 1), headers=headers)).status_code == 503
    [record] = [record for record in caplog.records if "cannot be served" in record.getMessage()]
    assert (record.levelname, record.exc_text) == ("WARNING", None)


async def test_large_body_that_comes_slowly_is_408_and_gives_its_place_back(
    client: httpx.AsyncClient, post: Callable[..., Any]
) -> None:
    async def endless_body() -> AsyncIterator[bytes]:
        yield b"{" * (LARGEST_BODY + 1)
        while True:
            await asyncio.sleep(0)
            yield b"{"

    headers, slow = {"X-Shopify-Hmac-Sha256": "A" * 43 + "="}, counted("unknown", "slow")
    large_bodies = app_state_of(client).large_bodies
    large_bodies.seconds = 0.01
    async with called_from(client, "127.0.0.1") as direct:  # a client over HTTP waits until it has sent its body
        requests = [direct.post(URL, content=endless_body(), headers=headers) for _ in range(PLACES_OF_A_SENDER)]
        answers = [await each for each in requests]
    large_bodies.seconds = PATIENCE_SECONDS
    assert {problem(each) for each in answers} == {(408, "request-timeout")}
    assert answers[0].headers["connection"] == "close"
    assert counted("unknown", "slow") == slow + PLACES_OF_A_SENDER
    assert (await post("w1", b"{" * (LARGEST_BODY + 1))).status_code == 200


async def test_both_client_secrets_are_accepted(open_client: OpenClient, settings: Settings, demo: Demo) -> None:
    rotated = {"shopify_api_secret": SecretStr("new secret"), "shopify_api_secret_previous": SecretStr("old secret")}
    async with open_client(settings.model_copy(update=rotated)) as client:
        statuses = [
            (await sender(client, secret)(secret[:3])).status_code
            for secret in ("new secret", "old secret", settings.shopify_api_secret.get_secret_value())
        ]
    assert statuses == [200, 200, 401]
    assert stored(demo) == ["new", "old"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, URL)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_without_postgresql_the_answer_is_503_and_a_retry_is_stored(
    post: Callable[..., Any], settings: Settings, demo: Demo
) -> None:
    with postgresql_unavailable(settings):
        refused = await post()
    assert problem(refused) == (503, "unavailable")
    assert refused.headers["retry-after"] == "5"
    assert (await post()).status_code == 200
    assert stored(demo) == ["w1"]


async def test_hanging_postgresql_is_503_and_what_it_stores_later_is_a_repetition(
    client: httpx.AsyncClient, post: Callable[..., Any], demo: Demo
) -> None:
    inbox = app_state_of(client).inbox
    inbox.limits = InboxLimits(answer_seconds=0.2)
    with demo.transaction():
        demo.execute("LOCK webhook_events IN ACCESS EXCLUSIVE MODE")
        answers = await asyncio.gather(*(post(f"w{each}") for each in range(3)))
        assert {problem(each) for each in answers} == {(503, "unavailable")}
    inbox.limits = PATIENT
    assert [(await post(f"w{each}")).status_code for each in range(3)] == [200] * 3
    assert stored(demo) == ["w0", "w1", "w2"]


@pytest.mark.parametrize(
    "body",
    [b"eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ", b"path_prefix=/apps/registryshop={}", b' {"id": 1}', b"[]"],
)
async def test_other_texts_that_shopify_signs_with_the_secret_are_no_webhooks(
    post: Callable[..., Any], demo: Demo, body: bytes
) -> None:
    assert problem(await post(body=body)) == (401, "unauthorized")
    assert stored(demo) == []
