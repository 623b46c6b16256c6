"""Alerts on webhooks: those that wait, those that failed for good, and those without a valid signature."""

import base64
import hmac

import pytest

from tests.support.aliases import Demo
from tests.support.watched_api import Watched
from wishcraft.settings import Settings

UNSIGNED = "A" * 43 + "="
HALF_AN_HOUR = 1800.0


@pytest.fixture(autouse=True)
def _empty_inbox(watched: Watched, demo: Demo) -> None:
    demo.execute("TRUNCATE webhook_events")


def receive(demo: Demo, due: str, outcome: str | None = None) -> None:
    demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, due_at, outcome, handled_at)
           VALUES ('a.shop', gen_random_uuid()::text, 'orders/create', now() + CAST(%s AS interval), %s,
               CASE WHEN %s::text IS NOT NULL THEN now() END)""",
        [due, outcome, outcome],
    )


async def send(watched: Watched, settings: Settings, number: int, *, signed: bool) -> set[int]:
    """Send webhooks; the statuses."""
    body = b"{}"
    secret = settings.shopify_api_secret.get_secret_value().encode()
    signature = base64.b64encode(hmac.digest(secret, body, "sha256")).decode() if signed else UNSIGNED
    statuses = set()
    for each in range(number):
        headers = {
            "X-Shopify-Hmac-Sha256": signature,
            "X-Shopify-Topic": "orders/create",
            "X-Shopify-Shop-Domain": "a-shop.myshopify.com",
            "X-Shopify-Webhook-Id": f"w{each}",
        }
        answer = await watched.client.post("/api/webhooks/shopify", content=body, headers=headers)
        statuses.add(answer.status_code)
    return statuses


async def test_webhooks_that_wait_for_minutes_page_until_they_are_handled(watched: Watched, demo: Demo) -> None:
    receive(demo, "-1 second")
    receive(demo, "20 minutes")
    receive(demo, "-1 hour", "applied")
    assert await watched.scrape() == {}
    receive(demo, "-3 minutes")
    assert await watched.scrape() == {"WebhooksLate": [{"severity": "page"}]}
    demo.execute("UPDATE webhook_events SET handled_at = now(), outcome = 'applied' WHERE due_at < now()")
    assert await watched.scrape() == {}


async def test_dead_letter_makes_a_ticket_until_a_person_decides(watched: Watched, demo: Demo) -> None:
    receive(demo, "-1 hour", "dead")
    for after in (15, 10 * HALF_AN_HOUR):
        assert await watched.scrape(after) == {"WebhookDeadLetters": [{"severity": "ticket"}]}
    demo.execute("UPDATE webhook_events SET outcome = 'discarded'")
    assert await watched.scrape() == {}


async def test_webhooks_with_a_wrong_signature_page_unless_they_are_few_of_many(
    watched: Watched, healthy_settings: Settings
) -> None:
    assert await send(watched, healthy_settings, 1, signed=False) == {401}
    assert await send(watched, healthy_settings, 1, signed=True) == {200}
    assert await watched.scrape() == {}
    # Far from a tenth: Prometheus extrapolates a counter the more, the more this process has counted before.
    assert await send(watched, healthy_settings, 150, signed=True) == {200}
    assert await send(watched, healthy_settings, 5, signed=False) == {401}
    assert await watched.scrape(HALF_AN_HOUR / 3) == {}
    await send(watched, healthy_settings, 60, signed=False)
    assert await watched.scrape(15) == {"WebhooksUnsigned": [{"severity": "page"}]}
    assert await watched.scrape(2 * HALF_AN_HOUR) == {}
