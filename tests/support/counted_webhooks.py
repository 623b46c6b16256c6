"""Webhooks in the inbox whose effects are counted: each adds a row to the table `effects`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import orjson
from sqlalchemy import text

from tests.support.aliases import Demo
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid, ShopifyUnavailable
from wishcraft.resources import Resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.consume import Consumer
from wishcraft.services.webhooks.handler_protocol import Effect, Handler, Message
from wishcraft.store.shops import ShopRef

MAPLE: Final = "maple-and-pine.myshopify.com"
SAKURA: Final = "sakura-living.myshopify.com"
NOW: Final = timedelta(0)


async def count_effects(_resources: Resources, _shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """A handler whose effect is one row for each webhook; `fails` in the payload says how it fails."""
    failures = {each.payload["fails"] for each in messages if "fails" in each.payload}
    for failure in failures - {"shopify"}:
        raise {"payload": PayloadInvalid, "bug": ZeroDivisionError}[failure]("Ada")
    failed = {each.id: ShopifyUnavailable("Ada") for each in messages if "fails" in each.payload}

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        ids = [each.id for each in messages if each.id not in failed]
        await write.session.execute(text("INSERT INTO effects SELECT unnest(CAST(:ids AS bigint[]))"), {"ids": ids})
        return {}

    return Effect(frozenset(), apply, failed=failed)


COUNTING: Mapping[str, Handler] = {"orders/create": count_effects, "products/update": count_effects}


def receive(
    demo: Demo, number: int = 1, shop: str = MAPLE, topic: str = "orders/create", **payload: object
) -> list[int]:
    """Put webhooks into the inbox; their ids."""
    rows = demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, payload)
           SELECT %s, gen_random_uuid()::text, %s, %s FROM generate_series(1, %s) RETURNING id""",
        [shop, topic, orjson.dumps(payload), number],
    )
    return [row_id for (row_id,) in rows]


async def handle(consumer: Consumer) -> int:
    """Take once, and handle what was taken; its number."""
    taken = await consumer.take(NOW)
    await consumer.finish()
    return taken


def outcomes(demo: Demo) -> dict[int, str | None]:
    return dict(demo.execute("SELECT id, outcome FROM webhook_events ORDER BY id").fetchall())


def applied(demo: Demo) -> list[int]:
    return [row_id for (row_id,) in demo.execute("SELECT id FROM effects ORDER BY id")]
