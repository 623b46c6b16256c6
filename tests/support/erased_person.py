"""A person whom all stores know by unmistakable names, and webhooks about them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson
from psycopg.sql import SQL, Identifier, Placeholder

from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.webhooks import line, order
from wishcraft.resources import Resources
from wishcraft.services.privacy.webhooks import handle_customer_redactions, handle_shop_redactions
from wishcraft.services.webhooks.handler_protocol import Handler
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process

CUSTOMER: Final = 7_770_001_112_223
GUEST_ORDER: Final = 880_011_223_344
EMAIL: Final = "zyxwina.quorblatt@bücher.example"
PHONE: Final = "+49 (30) 5550-199887"
NAMES: Final = ("zyxwina", "quorblatt", "5550-199887", CUSTOMER)
"""Names of the person, in any spelling."""
REGISTRANT: Final = {"first_name": "Zyxwina", "last_name": "Quorblatt", "email": EMAIL}
REDACT: Final = {
    "shop_id": 1,
    "shop_domain": SHOP,
    "customer": {"id": CUSTOMER, "email": EMAIL.title(), "phone": PHONE},
    "orders_to_redact": [GUEST_ORDER],
}
SHOP_REDACT: Final = {"shop_id": 1, "shop_domain": SHOP}
ONE_STEP: Final[Mapping[str, Handler]] = {
    **HANDLERS,
    "customers/redact": partial(handle_customer_redactions, try_seconds=0),
    "shop/redact": partial(handle_shop_redactions, try_seconds=0),
}
"""Handlers whose try of an erasure ends after one step."""


def receive(demo: Demo, topic: str, payload: object, **columns: object) -> int:
    """Put a webhook into the inbox; its id."""
    values = {"shop_domain": SHOP, "topic": topic, "payload": orjson.dumps(payload)} | columns
    statement = SQL("INSERT INTO webhook_events (webhook_id, {}) VALUES (gen_random_uuid()::text, {}) RETURNING id")
    names, places = map(SQL(", ").join, (map(Identifier, values), [Placeholder()] * len(values)))
    row = demo.execute(statement.format(names, places), list(values.values())).fetchone()
    assert row
    return int(row[0])


def ordered(item: str, variant_id: int | None = None, number: int = 9100, **values: Any) -> dict[str, Any]:
    """An order of the person, with all that names them."""
    properties = [
        {"name": "_registry_item", "value": item},
        {"name": "_gift_message", "value": "Love, your Zyxwina"},
        {"name": "_purchaser_name", "value": "Zyxwina Q."},
    ]
    bought = line(number * 10, variant_id, properties=properties)
    person = {
        "email": EMAIL,
        "phone": PHONE,
        "customer": {"id": CUSTOMER, "first_name": "Zyxwina", "last_name": "Quorblatt", "email": EMAIL},
        "billing_address": {"first_name": "Zyxwina", "last_name": "Quorblatt", "address1": "Quorblatt Lane 1"},
        "note": "Call Zyxwina Quorblatt",
    }
    return order([bought], number=number, **(person | values))


async def handle(resources: Resources, demo: Demo, handlers: Mapping[str, Handler] = HANDLERS) -> None:
    """Handle all webhooks that wait, as a consumer does."""
    ids = [row_id for (row_id,) in demo.execute("SELECT id FROM webhook_events WHERE handled_at IS NULL ORDER BY id")]
    for row_id in ids:
        await process(resources, handlers, SHOP, [row_id])


async def redact(
    demo: Demo,
    resources: Resources,
    payload: object = REDACT,
    topic: str = "customers/redact",
    handlers: Mapping[str, Handler] = HANDLERS,
) -> int:
    """Receive and handle a webhook about privacy; its id."""
    row_id = receive(demo, topic, payload)
    await handle(resources, demo, handlers)
    return row_id
