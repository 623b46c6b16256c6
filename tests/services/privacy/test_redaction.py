"""Redaction leaves no trace of a person or a shop, anywhere, and takes nothing from others."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, public_slug
from tests.support.erased_person import (
    CUSTOMER,
    GUEST_ORDER,
    NAMES,
    REDACT,
    REGISTRANT,
    SHOP_REDACT,
    handle,
    ordered,
    receive,
    redact,
)
from tests.support.residual_data import traces_in_postgresql, traces_in_redis
from tests.support.webhooks import apply
from wishcraft.domain.addresses import address_hash
from wishcraft.errors import CacheUnavailable, ShopifyForbidden, ShopifyUnavailable
from wishcraft.resources import Resources
from wishcraft.services.privacy import erase
from wishcraft.services.privacy.webhooks import handle_customer_redactions, handle_shop_redactions
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings
from wishcraft.store.audit_log import Actor
from wishcraft.store.schema import ShopSettings
from wishcraft.store.shops import ShopRef


def others(demo: Demo) -> list[tuple[Any, ...]]:
    """The rows of other people."""
    return demo.execute(
        """SELECT 'r', id, title, customer_email, 0 FROM registries
               WHERE customer_id <> %(id)s AND title <> 'Hugo'
           UNION ALL SELECT 'p', id, purchaser_name, purchaser_email, quantity FROM purchases
               WHERE purchaser_name NOT LIKE 'Zyxwina%%'
           UNION ALL SELECT 'i', id, recipient, NULL, 0 FROM invitations WHERE recipient NOT LIKE 'zyxwina%%'
           ORDER BY 1, 2""",
        {"id": CUSTOMER},
    ).fetchall()


def files_with(folder: Path, *names: object) -> list[str]:
    """The files that have one of these in their name or content."""
    needles = [str(name).lower().encode() for name in names]
    return [
        str(file)
        for file in folder.rglob("*")
        if any(needle in str(file).lower().encode() or needle in read(file) for needle in needles)
    ]


def read(file: Path) -> bytes:
    return file.read_bytes().lower() if file.is_file() else b""


async def test_redaction_leaves_no_trace_of_a_customer_in_any_store(
    demo: Demo, resources: Resources, redis: Redis, planted: str, settings: Settings, shop: ShopRef,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    hidden = address_hash(shop.id, "zyxwina.quorblatt@xn--bcher-kva.example")
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'unsubscribe')", [hidden])
    filled = {"registries", "registry_items", "invitations", "reminders", "purchases", "unmatched_lines",
              "idempotency_keys", "audit_logs", "sessions", "webhook_events"}  # fmt: skip
    assert filled <= traces_in_postgresql(demo, planted, *NAMES)
    assert len(await traces_in_redis(redis, planted, *NAMES)) >= 4
    caplog.set_level(logging.DEBUG)
    before, kept = others(demo), demo.execute("SELECT sum(quantity) FROM purchases").fetchone()
    row_id = await redact(demo, resources)
    assert traces_in_postgresql(demo, planted, *NAMES) == set()
    assert await traces_in_redis(redis, planted, *NAMES) == []
    assert files_with(Path(settings.files_url.removeprefix("file://")), planted, *NAMES[:3]) == []
    assert not [name for name in map(str, (planted, *NAMES)) if name in caplog.text.lower()]
    assert others(demo) == before
    assert demo.execute("SELECT sum(quantity) - 1 FROM purchases").fetchone() == kept  # with the order that waited
    assert demo.execute("SELECT address_hash FROM email_suppressions").fetchall() == [(hidden,)]
    [entry] = demo.execute(
        "SELECT actor, resource, resource_id, metadata, ip FROM audit_logs WHERE resource = 'webhook'"
    )
    assert entry[:3] == ("webhook", "webhook", str(row_id))
    assert (entry[3]["registries"], entry[3]["named in"], entry[3]["purchases"], entry[4]) == (1, 1, 3, None)
    assert demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone() == ("applied",)


async def test_others_registry_that_named_the_customer_is_shown_without_them(
    demo: Demo, resources: Resources, guest: Shopper, planted: str
) -> None:
    row = demo.execute("SELECT slug, version FROM registries WHERE title = 'Hugo'").fetchone()
    assert row
    await redact(demo, resources)
    shown = await guest.read(row[0])
    assert (shown.headers["x-cache"], "Zyxwina" in shown.text) == ("hit", False)
    assert demo.execute("SELECT version, co_registrants FROM registries WHERE slug = %s", [row[0]]).fetchone() == (
        row[1] + 1, [],
    )  # fmt: skip
    assert (await guest.read(planted)).status_code == 404


async def test_order_that_waits_is_counted_without_its_purchaser(
    demo: Demo, resources: Resources, planted: str
) -> None:
    orders = """
        SELECT order_id, purchaser_id, purchaser_name, purchaser_email, gift_message FROM purchases
        WHERE order_id IN (9100, 9105, %s) ORDER BY order_id
    """
    row_id = receive(demo, "customers/redact", REDACT)
    await process(resources, HANDLERS, SHOP, [row_id])
    await handle(resources, demo)
    nothing = (None, None, None, None)
    assert demo.execute(orders, [GUEST_ORDER]).fetchall() == [
        (9100, *nothing), (9105, *nothing), (GUEST_ORDER, *nothing)
    ]  # fmt: skip
    assert traces_in_postgresql(demo, *NAMES) == set()


async def test_dead_letter_of_an_order_can_be_replayed_without_its_purchaser(
    demo: Demo, resources: Resources, planted: str
) -> None:
    await redact(demo, resources)
    replayed = "UPDATE webhook_events SET outcome = NULL, handled_at = NULL WHERE outcome = 'dead'"
    assert demo.execute(replayed).rowcount == 1  # that of a redaction is discarded
    await handle(resources, demo)
    [row] = demo.execute("SELECT purchaser_name, quantity FROM purchases WHERE order_id = 9104").fetchall()
    assert row == (None, 1)


async def test_order_that_another_consumer_has_read_already_is_not_applied_with_its_names(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    row_id = receive(demo, "orders/create", ordered(item[0], variant_id=item[1]))
    reached, redacted = asyncio.Event(), asyncio.Event()

    async def wait_for_the_redaction(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Any:
        effect = await HANDLERS["orders/create"](resources, shop, messages)
        reached.set()
        await redacted.wait()
        return effect

    slow = asyncio.create_task(process(resources, {"orders/create": wait_for_the_redaction}, SHOP, [row_id]))
    await reached.wait()
    await process(resources, HANDLERS, SHOP, [receive(demo, "customers/redact", REDACT)])
    redacted.set()
    assert await slow == {}
    assert demo.execute("SELECT count(*) FROM purchases WHERE order_id = 9100").fetchone() == (0,)
    await handle(resources, demo)
    assert demo.execute("SELECT count(*) FROM purchases WHERE order_id = 9100").fetchone() == (1,)
    assert traces_in_postgresql(demo, *NAMES) == set()


@pytest.mark.parametrize("by", ["id", "email", "phone", "orders"])
async def test_each_of_id_address_telephone_and_order_is_enough(
    demo: Demo, resources: Resources, item: tuple[str, int], by: str
) -> None:
    receive(demo, "orders/create", ordered(item[0], variant_id=item[1]))
    await handle(resources, demo)
    customer: dict[str, Any] = {"id": None, "email": None, "phone": None}
    if by == "orders":
        payload = REDACT | {"customer": customer, "orders_to_redact": [9100]}
    else:
        payload = REDACT | {"customer": customer | {by: REDACT["customer"][by]}, "orders_to_redact": []}  # type: ignore[index]
    await redact(demo, resources, payload)
    expected = {"purchases"} if by == "phone" else set()  # no table has telephone numbers
    assert traces_in_postgresql(demo, *NAMES) == expected


async def test_customer_who_was_merged_into_the_redacted_one_is_erased_too(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    former = CUSTOMER + 1
    demo.execute("UPDATE registries SET customer_id = %s WHERE shop_id = 1 AND slug = %s", [former, public_slug(demo)])
    demo.execute("INSERT INTO merged_customers VALUES (1, %s, %s)", [former, CUSTOMER])
    customer = {"id": former, "first_name": "Zyxwina", "last_name": "Quorblatt"}
    without_people: dict[str, Any] = {"email": None, "phone": None, "billing_address": None}
    receive(demo, "orders/create", ordered(item[0], item[1], customer=customer, **without_people))
    await handle(resources, demo)
    assert {"registries", "purchases", "webhook_events"} <= traces_in_postgresql(demo, CUSTOMER, former, *NAMES)
    await redact(demo, resources)
    assert traces_in_postgresql(demo, CUSTOMER, former, *NAMES) == set()


async def test_contact_address_in_anothers_registry_is_removed_and_the_registry_stays(
    demo: Demo, resources: Resources, hugo: Shopper
) -> None:
    slug = await hugo.create(title="Hugo", registrant=REGISTRANT | {"first_name": "Hugo", "last_name": "L"})
    await redact(demo, resources)
    assert demo.execute("SELECT customer_email FROM registries WHERE slug = %s", [slug]).fetchone() == ("",)
    assert traces_in_postgresql(demo, *NAMES) == set()


async def test_redaction_can_be_repeated(demo: Demo, resources: Resources, planted: str) -> None:
    await redact(demo, resources)
    before = others(demo)
    row_id = await redact(demo, resources)
    assert others(demo) == before
    assert demo.execute("SELECT metadata FROM audit_logs WHERE resource_id = %s", [str(row_id)]).fetchall() == [({},)]


@pytest.mark.parametrize(
    "payload",
    [
        {"shop_domain": "sakura-living.myshopify.com"}, {"customer": None}, {"customer": {}, "orders_to_redact": []},
        {"customer": {"id": "1"}}, {"orders_to_redact": ["x"]}, {"orders_to_redact": {"a": 1}},
    ],
)  # fmt: skip
async def test_payload_that_names_no_customer_or_another_shop_is_a_dead_letter(
    demo: Demo, resources: Resources, payload: dict[str, Any]
) -> None:
    before = others(demo)
    row_id = await redact(demo, resources, REDACT | payload)
    assert demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone() == ("dead",)
    assert others(demo) == before


def message(demo: Demo, topic: str, payload: dict[str, Any], **columns: object) -> Message:
    row_id = receive(demo, topic, payload, **columns)
    return Message(row_id, topic, None, datetime.now(UTC), payload)


async def apply_redaction(resources: Resources, shop: ShopRef, message: Message) -> Any:
    handler = handle_shop_redactions if message.topic == "shop/redact" else handle_customer_redactions
    return (await apply(resources, shop, handler, [message]))[message.id]


async def test_redaction_of_a_shop_leaves_nothing_but_who_redacted_it(
    demo: Demo, resources: Resources, redis: Redis, shop: ShopRef, planted: str
) -> None:
    second = demo.execute("SELECT count(*), sum(version) FROM registries WHERE shop_id = 2").fetchone()
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    assert await apply_redaction(resources, shop, message(demo, "shop/redact", SHOP_REDACT)) == "applied"
    assert traces_in_postgresql(demo, planted, '"shop_id": 1,', *NAMES, "Maple & Pine") == set()
    assert traces_in_postgresql(demo, SHOP) == {"webhook_events"}
    assert demo.execute("SELECT count(*) FROM webhook_events WHERE payload IS NOT NULL").fetchone() == (0,)
    assert [key async for key in redis.scan_iter("wishcraft:{1}:*")] == []
    assert await traces_in_redis(redis, planted, *NAMES) == []
    assert demo.execute("SELECT shop_id, action FROM audit_logs WHERE resource = 'webhook'").fetchall() == [
        (None, "shop/redact")
    ]
    assert demo.execute("SELECT count(*), sum(version) FROM registries WHERE shop_id = 2").fetchone() == second
    active = "SELECT array_agg(id ORDER BY id) FROM shops WHERE status = 'active' AND token_expires_at IS NOT NULL"
    assert demo.execute(active).fetchone() == ([2, 3],)


async def test_interrupted_redaction_of_a_shop_is_completed_by_the_next_try(
    demo: Demo, resources: Resources, redis: Redis, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise CacheUnavailable("Redis does not answer")

    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    row_id = receive(demo, "shop/redact", SHOP_REDACT)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(erase, "delete_shop_keys", refuse)
        await process(resources, HANDLERS, SHOP, [row_id])
    assert demo.execute("SELECT count(*) FROM shops WHERE id = 1").fetchone() == (1,)
    waiting = demo.execute("SELECT attempts, handled_at FROM webhook_events WHERE id = %s", [row_id])
    assert waiting.fetchone() == (0, None)  # an outage of Redis makes no dead letter of it
    shop = ShopRef(1, SHOP, ShopSettings(), "USD")
    again = Message(row_id, "shop/redact", None, datetime.now(UTC), SHOP_REDACT)
    assert await apply_redaction(resources, shop, again) == "applied"
    assert traces_in_postgresql(demo, planted, '"shop_id": 1,', *NAMES) == set()
    assert await traces_in_redis(redis, planted, *NAMES) == []


@pytest.mark.parametrize("installed", ["1 year", "2 days 1 minute", "47 hours", "0"])
async def test_shop_whose_token_works_is_not_erased_whenever_it_installed_the_app(
    demo: Demo, resources: Resources, shop: ShopRef, installed: str
) -> None:
    demo.execute(
        """UPDATE shops SET installed_at = now() - %(age)s::interval,
               uninstalled_at = now() - %(age)s::interval - interval '1 second' WHERE id = 1""",
        {"age": installed},
    )
    before = demo.execute("SELECT count(*) FROM registries").fetchone()
    assert await apply_redaction(resources, shop, message(demo, "shop/redact", SHOP_REDACT)) == "ignored"
    assert demo.execute("SELECT status, access_token_encrypted IS NOT NULL FROM shops WHERE id = 1").fetchone() == (
        "active", True,
    )  # fmt: skip
    assert demo.execute("SELECT count(*) FROM registries").fetchone() == before
    assert demo.execute("SELECT payload FROM webhook_events").fetchall() == [(None,)]


@pytest.mark.parametrize("installed", ["1 year", "0"])
async def test_shop_of_which_the_uninstallation_was_missed_is_erased(
    demo: Demo, resources: Resources, shop: ShopRef, simulator: Simulator, installed: str
) -> None:
    demo.execute("UPDATE shops SET installed_at = now() - %s::interval WHERE id = 1", [installed])
    simulator.credentials.uninstall(SHOP)
    assert await apply_redaction(resources, shop, message(demo, "shop/redact", SHOP_REDACT)) == "applied"
    assert demo.execute("SELECT count(*) FROM shops WHERE id = 1").fetchone() == (0,)


async def test_shop_that_came_back_and_whose_token_fails_is_a_matter_for_a_person(
    demo: Demo, resources: Resources, simulator: Simulator
) -> None:
    demo.execute("UPDATE shops SET uninstalled_at = installed_at - interval '1 second' WHERE id = 1")
    simulator.credentials.uninstall(SHOP)
    row_id = await redact(demo, resources, SHOP_REDACT, "shop/redact")
    [(outcome, failures)] = demo.execute("SELECT outcome, failures FROM webhook_events WHERE id = %s", [row_id])
    assert (outcome, failures[-1]["reason"].endswith("is the app installed?")) == ("dead", True)
    assert demo.execute("SELECT count(*) FROM registries WHERE shop_id = 1").fetchone() == (4,)
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")  # as the runbook says
    demo.execute("UPDATE webhook_events SET outcome = NULL, handled_at = NULL WHERE id = %s", [row_id])
    await handle(resources, demo)
    assert demo.execute("SELECT count(*) FROM shops WHERE id = 1").fetchone() == (0,)


@pytest.mark.parametrize(("error", "expected"), [(ShopifyUnavailable, (None, 0)), (ShopifyForbidden, ("dead", 1))])
async def test_while_shopify_does_not_say_so_no_shop_is_erased(
    demo: Demo,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    expected: tuple[str | None, int],
) -> None:
    async def query(*_: object) -> None:
        raise error("no answer")

    monkeypatch.setattr(resources.shopify, "query", query)
    row_id = await redact(demo, resources, SHOP_REDACT, "shop/redact")
    found = demo.execute("SELECT outcome, attempts FROM webhook_events WHERE id = %s", [row_id]).fetchone()
    assert found == expected
    assert demo.execute("SELECT status FROM shops WHERE id = 1").fetchone() == ("active",)


async def test_erasure_of_a_shop_ends_when_it_installs_the_app_meanwhile(
    demo: Demo, resources: Resources, shop: ShopRef
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    steps = erase.erase_shop(resources, shop)
    await anext(steps)
    demo.execute("UPDATE shops SET status = 'active', installed_at = now() WHERE id = 1")
    demo.execute("INSERT INTO orders (shop_id, order_id) VALUES (1, 1)")
    async for _ in steps:
        pytest.fail("it went on")
    assert demo.execute("SELECT count(*) FROM orders WHERE shop_id = 1").fetchone() == (1,)
    effect = await handle_shop_redactions(resources, shop, [message(demo, "shop/redact", SHOP_REDACT)])
    async with registry_write(resources, Actor(1, "webhook"), on_cache_down="announce") as write:
        assert set((await effect.apply(write)).values()) == {"ignored"}


async def test_webhook_about_a_customer_sent_as_one_of_the_shop_erases_no_shop(
    demo: Demo, resources: Resources
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    row_id = await redact(demo, resources, REDACT, "shop/redact")
    assert demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone() == ("dead",)
    assert demo.execute("SELECT count(*) FROM registries WHERE shop_id = 1").fetchone() == (4,)


async def test_customer_of_a_shop_that_left_is_erased(demo: Demo, resources: Resources, planted: str) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    await redact(demo, resources)
    assert traces_in_postgresql(demo, planted, *NAMES) == set()


async def test_shop_that_left_is_erased(demo: Demo, resources: Resources, planted: str) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    await redact(demo, resources, SHOP_REDACT, "shop/redact")
    assert traces_in_postgresql(demo, planted, '"shop_id": 1,', *NAMES) == set()


async def test_purchases_of_the_person_are_no_longer_part_of_a_browsers_visit(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    demo.execute("DELETE FROM analytics_events WHERE type = 'purchased'")
    attribution, variant = item
    bought = ordered(attribution, variant_id=variant)
    bought["line_items"][0]["properties"].append({"name": "_registry_visitor", "value": "browser-1"})
    bought["line_items"].append(bought["line_items"][0] | {"id": 91_001})
    receive(demo, "orders/create", bought)
    receive(demo, "orders/create", ordered(attribution, variant_id=variant, number=9103))
    await handle(resources, demo)
    visitors = "SELECT visitor_id FROM analytics_events WHERE type = 'purchased' ORDER BY 1"
    assert demo.execute(visitors).fetchall() == [("browser-1",), ("browser-1",), ("order-9103",)]
    await redact(demo, resources)
    after = [visitor for (visitor,) in demo.execute(visitors)]
    assert (len(after), len(set(after) - {"browser-1", "order-9103"})) == (3, 2)  # an order is one visit
