"""Webhooks of the simulator: signed, repeated, out of order, and sent again with the original payload."""

import asyncio
import json
import random
from collections import Counter
from typing import Any

import httpx
import pytest
from shopify_app import ShopifyApp

from deployments.sandbox.shopify.webhooks import RETRY_SECONDS, Habits, WebhookSender
from wishcraft.shopify.webhooks import digest_of, is_signed, parse_headers, shopify_headers

SECRET = "hush"
SHOP = "maple-and-pine.myshopify.com"


class Receiver:
    """An app that answers with these statuses in turn, then 200; it notes requests, and how long the sender slept."""

    def __init__(self, *statuses: int, hangs: bool = False) -> None:
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self._statuses = list(statuses)
        self._hangs = hangs

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._hangs:
            await asyncio.Event().wait()
        return httpx.Response(self._statuses.pop(0) if self._statuses else 200)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        for _ in range(round(seconds * 100)):  # longer for longer pauses, so that later webhooks overtake
            await asyncio.sleep(0)

    def sender(self, seed: int = 1, **habits: Any) -> WebhookSender:
        http = httpx.AsyncClient(base_url="http://app.example", transport=httpx.MockTransport(self._answer))
        chosen = Habits(**{"delayed": 0, "repeated": 0, **habits})
        return WebhookSender(SECRET, lambda: 1_790_000_000.0, random.Random(seed), chosen, http, self._sleep)  # noqa: S311  repeatable


def ids(requests: list[httpx.Request]) -> list[str]:
    return [each.headers["X-Shopify-Webhook-Id"] for each in requests]


async def test_webhook_is_signed_and_has_shopifys_headers() -> None:
    receiver = Receiver()
    sender = receiver.sender()
    sender.publish(SHOP, "orders/create", {"id": 1, "name": "Größe ✓", "note": None}, "#1")
    await sender.drain()
    [request] = receiver.requests
    asked: Any = {
        "method": "POST",
        "url": str(request.url),
        "headers": dict(request.headers),
        "body": request.content.decode(),
    }
    assert ShopifyApp(client_id="id", client_secret=SECRET).verify_webhook_req(asked).ok
    headers = shopify_headers(request.headers.raw)
    digest = digest_of(headers)
    assert digest
    assert is_signed(request.content, digest, [SECRET])
    parsed = parse_headers(headers)
    assert (parsed.shop_domain, parsed.topic, parsed.api_version) == (SHOP, "orders/create", "2026-10")
    assert parsed.triggered_at
    assert parsed.triggered_at.timestamp() == 1_790_000_000
    assert parsed.event_id
    assert parsed.event_id != parsed.webhook_id
    assert (request.url.path, request.content) == (
        "/api/webhooks/shopify",
        '{"id":1,"name":"Größe ✓","note":null}'.encode(),
    )


async def test_refused_webhook_is_sent_again_for_four_hours_with_the_same_payload_and_id() -> None:
    receiver = Receiver(*[503] * 9)
    sender = receiver.sender(compression=60)
    sender.publish(SHOP, "orders/create", {"id": 1}, "#1")
    await sender.drain()
    assert len(receiver.requests) == 9
    assert len({(each.content, *sorted(each.headers.items())) for each in receiver.requests}) == 1
    assert receiver.slept == [seconds / 60 for seconds in RETRY_SECONDS]
    assert sum(RETRY_SECONDS) == 4 * 3600
    [delivery] = sender.overview(10)["deliveries"]
    assert (delivery["state"], delivery["tries"], delivery["answer"]) == ("given up", 9, "503")
    assert sender.totals.given_up == 1


@pytest.mark.parametrize(("statuses", "tries"), [((301, 200), 2), ((500, 401, 204), 3), ((201,), 1)])
async def test_only_an_answer_of_the_two_hundreds_accepts_a_webhook(statuses: tuple[int, ...], tries: int) -> None:
    receiver = Receiver(*statuses)
    sender = receiver.sender()
    sender.publish(SHOP, "orders/create", {"id": 1}, "#1")
    await sender.drain()
    assert len(receiver.requests) == tries
    assert (sender.totals.accepted, sender.totals.tried_again) == (1, tries - 1)


async def test_answer_that_does_not_come_in_time_is_a_failure() -> None:
    receiver = Receiver(hangs=True)
    sender = receiver.sender()
    sender.answer_seconds = 0.001
    sender.publish(SHOP, "orders/create", {"id": 1}, "#1")
    await sender.drain()
    assert len(receiver.requests) <= 9
    [delivery] = sender.overview(10)["deliveries"]
    assert (delivery["state"], delivery["tries"], delivery["answer"]) == ("given up", 9, "timeout error")


async def test_webhooks_are_repeated_and_overtake_each_other_the_same_for_a_seed() -> None:
    arrivals = []
    for _ in range(2):
        receiver = Receiver()
        sender = receiver.sender(seed=7, delayed=0.5, longest_delay=2, repeated=0.3)
        for number in range(40):
            sender.publish(SHOP, "orders/updated", {"id": number}, f"#{number}")
        await sender.drain()
        arrivals.append([int(json.loads(each.content)["id"]) for each in receiver.requests])
        assert set(arrivals[-1]) == set(range(40))
        assert list(dict.fromkeys(arrivals[-1])) != list(range(40))
        by_id = Counter(ids(receiver.requests))
        assert len(by_id) == 40
        assert set(by_id.values()) == {1, 2}
        assert sender.totals.repeated == len(arrivals[-1]) - 40
    assert sorted(arrivals[0]) == sorted(arrivals[1])


async def test_lost_webhooks_and_those_beyond_the_limit_are_never_sent() -> None:
    receiver = Receiver()
    sender = receiver.sender()
    sender.max_pending = 3
    for number in range(5):
        sender.publish(SHOP, "orders/updated", {"id": number}, f"#{number}")
    sender.habits = Habits(lost=1, delayed=0, repeated=0)
    sender.publish(SHOP, "orders/updated", {"id": 9}, "#9")
    await sender.drain()
    assert len(receiver.requests) == 3
    assert (sender.totals.lost, sender.totals.accepted, sender.totals.pending) == (3, 3, 0)
    assert sender.overview(1)["deliveries"][0]["state"] == "lost"


async def test_closed_sender_leaves_no_task_behind() -> None:
    receiver = Receiver(hangs=True)
    sender = receiver.sender()
    sender.publish(SHOP, "orders/updated", {"id": 1}, "#1")
    await asyncio.sleep(0)
    await sender.close()
    assert sender.totals.pending == 0
    await sender.drain()
