"""Consumers: nothing that is in the inbox is lost or has an effect twice, in any failure."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.aliases import Demo
from tests.support.counted_webhooks import (
    COUNTING,
    MAPLE,
    NOW,
    SAKURA,
    applied,
    count_effects,
    handle,
    outcomes,
    receive,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.support.webhooks import line, order
from wishcraft.cache import keys
from wishcraft.cache.webhook_queue import PendingEntry, QueueEntry, WebhookQueue
from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS
from wishcraft.domain.webhooks import MAX_ATTEMPTS, TOPICS, TopicPriority, WebhookOutcome
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable, ShopifyThrottled, ShopifyUnavailable
from wishcraft.resources import Resources, open_resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.consume import Consumer, ConsumerLimits
from wishcraft.services.webhooks.handler_protocol import Effect, Message
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings
from wishcraft.store import webhook_dead_letters, webhook_inbox
from wishcraft.store.shops import ShopRef

pytestmark = pytest.mark.usefixtures("effects")


async def test_webhooks_are_swept_from_the_inbox_and_handled_once(resources: Resources, demo: Demo) -> None:
    ids = receive(demo, 30) + receive(demo, 3, SAKURA)
    consumer = Consumer(resources, COUNTING, "a")
    assert (await consumer.sweep()).added == 33
    assert (await consumer.sweep()).added == 0  # they are in the queue
    assert await handle(consumer) == 33
    assert applied(demo) == sorted(ids)
    assert set(outcomes(demo).values()) == {"applied"}
    assert await WebhookQueue(resources.redis).length() == 0
    assert await resources.redis.redis.xlen(f"{keys.WEBHOOKS}{TopicPriority.HIGH}") == 0


async def test_webhook_that_is_delivered_again_after_it_was_handled_has_no_effect(
    resources: Resources, demo: Demo
) -> None:
    [row_id] = receive(demo)
    for _ in range(2):
        await WebhookQueue(resources.redis).enqueue([QueueEntry(row_id, MAPLE, TopicPriority.HIGH)])
        await handle(Consumer(resources, COUNTING, "a"))
    assert applied(demo) == [row_id]


async def test_consumers_that_handle_the_same_webhooks_at_once_apply_each_once(
    resources: Resources, settings: Settings, demo: Demo
) -> None:
    ids = receive(demo, 40)
    async with open_resources(settings, redis_timeout=5) as other:
        await asyncio.gather(*(process(each, COUNTING, MAPLE, ids) for each in (resources, other, resources, other)))
        await process(other, COUNTING, MAPLE, ids)
    assert applied(demo) == sorted(ids)


async def test_high_priority_comes_first(resources: Resources, demo: Demo) -> None:
    receive(demo, 3, topic="products/update")
    [order_id] = receive(demo)
    consumer = Consumer(resources, COUNTING, "a", limits=ConsumerLimits(window=2))
    while (await consumer.sweep()).added:
        pass
    queue = WebhookQueue(resources.redis)
    await queue.enqueue([QueueEntry(order_id, MAPLE, TopicPriority.HIGH)])
    await handle(consumer)
    assert order_id in applied(demo)


async def test_what_a_dead_consumer_took_is_taken_over(resources: Resources, demo: Demo) -> None:
    ids = receive(demo, 5)
    consumer, queue = Consumer(resources, COUNTING, "alive"), WebhookQueue(resources.redis)
    await consumer.sweep()
    assert len(await queue.take("dead", 10, NOW)) == 5
    assert await handle(consumer) == 0
    consumer.limits = ConsumerLimits(take_over_idle=NOW, remove_idle=timedelta(milliseconds=-1))
    await consumer.sweep()
    await consumer.finish()
    assert applied(demo) == ids
    assert await queue.length() == 0


async def test_queue_that_redis_lost_is_filled_from_the_inbox(resources: Resources, demo: Demo) -> None:
    consumer = Consumer(resources, COUNTING, "a")
    await consumer.sweep()
    first = receive(demo, 2)
    await consumer.sweep()
    await resources.redis.redis.flushdb()
    assert await handle(consumer) == 0
    second = receive(demo, 2)
    assert (await consumer.sweep()).added == 4
    await handle(consumer)
    assert applied(demo) == first + second


async def test_webhooks_are_handled_without_redis(settings: Settings, demo: Demo) -> None:
    ids = receive(demo, 3)
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    async with open_resources(unreachable, redis_timeout=1) as resources:
        assert await handle(Consumer(resources, COUNTING, "a")) == 3
    assert applied(demo) == ids


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b'{"fails": "payload"}'])
async def test_poison_becomes_a_dead_letter_at_once_and_stops_no_other(
    resources: Resources, demo: Demo, payload: bytes
) -> None:
    ids = receive(demo, 9)
    demo.execute("UPDATE webhook_events SET payload = %s WHERE id = %s", [payload, ids[4]])
    counts = await process(resources, COUNTING, MAPLE, ids)
    assert counts == {WebhookOutcome.APPLIED: 8, WebhookOutcome.DEAD: 1}
    assert applied(demo) == [each for each in ids if each != ids[4]]
    [(failures,)] = demo.execute("SELECT failures FROM webhook_events WHERE outcome = 'dead'").fetchall()
    assert [each.keys() for each in failures] == [{"at", "reason"}]


async def test_webhook_that_waits_for_shopify_becomes_no_dead_letter_for_a_day(
    resources: Resources, demo: Demo
) -> None:
    [row_id] = receive(demo, fails="shopify")
    for _ in range(MAX_ATTEMPTS + 1):
        assert await process(resources, COUNTING, MAPLE, [row_id]) == {None: 1}
    [(attempts, is_later, reason)] = demo.execute(
        "SELECT attempts, due_at > now(), failures -> -1 ->> 'reason' FROM webhook_events"
    ).fetchall()
    assert (attempts, is_later, reason) == (0, True, "Shopify unavailable")
    demo.execute("UPDATE webhook_events SET received_at = now() - interval '25 hours'")
    for _ in range(MAX_ATTEMPTS - 1):
        assert await process(resources, COUNTING, MAPLE, [row_id]) == {None: 1}
    assert await process(resources, COUNTING, MAPLE, [row_id]) == {WebhookOutcome.DEAD: 1}


async def test_failure_is_retried_later_and_ends_as_a_dead_letter_that_can_be_replayed(
    resources: Resources, demo: Demo
) -> None:
    [failing] = receive(demo, fails="bug")
    [other] = receive(demo)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        await process(resources, COUNTING, MAPLE, [failing, other])
        assert applied(demo) == [other]
        [(attempts, is_later, failures, outcome)] = demo.execute(
            "SELECT attempts, due_at > now(), failures, outcome FROM webhook_events WHERE id = %s", [failing]
        ).fetchall()
        assert (attempts, failures[-1]["reason"]) == (attempt, "zero division error")  # without the error's text
        assert outcome == ("dead" if attempt == MAX_ATTEMPTS else None)
        assert is_later
    assert len(failures) <= webhook_inbox.KEPT_FAILURES
    demo.execute("UPDATE webhook_events SET payload = '{}' WHERE id = %s", [failing])
    async with resources.db.transaction() as session:
        assert await webhook_dead_letters.end_dead(session, [failing, other], replay=True) == [failing]
    await process(resources, COUNTING, MAPLE, [failing])
    assert applied(demo) == sorted([failing, other])


async def test_webhooks_of_unknown_and_uninstalled_shops_and_topics_are_ignored(
    resources: Resources, demo: Demo
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE domain = %s", [SAKURA])
    shops = [(MAPLE, "made/up"), (SAKURA, "orders/create"), ("nobody.myshopify.com", "orders/create")]
    for shop, topic in shops:
        ids = receive(demo, shop=shop, topic=topic)
        assert await process(resources, COUNTING, shop, ids) == {WebhookOutcome.IGNORED: 1}
    assert applied(demo) == []


async def test_order_moves_the_registry(resources: Resources, demo: Demo) -> None:
    [(item_id, variant_id, claim)] = demo.execute(
        """SELECT i.id, i.variant_id, i.attribution::text
           FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE i.shop_id = 1 AND r.status = 'active' ORDER BY i.id LIMIT 1"""
    ).fetchall()
    before = demo.execute("SELECT quantity_purchased FROM registry_items WHERE id = %s", [item_id]).fetchone()
    ids = receive(demo, **order([line(91, variant_id, 2, claim)], number=91))
    assert await process(resources, HANDLERS, MAPLE, ids) == {WebhookOutcome.APPLIED: 1}
    after = demo.execute("SELECT quantity_purchased FROM registry_items WHERE id = %s", [item_id]).fetchone()
    assert before
    assert after == (before[0] + 2,)


def test_each_topic_has_a_handler_and_each_handler_a_topic() -> None:
    assert set(HANDLERS) == {*TOPICS, MAIL_EVENTS}


@pytest.mark.parametrize("error", [ShopifyUnavailable("no answer"), ShopifyThrottled("wait"), None])
async def test_shopify_that_does_not_answer_is_asked_once_for_a_batch(
    resources: Resources, demo: Demo, error: Exception | None
) -> None:
    calls: list[int] = []

    async def ask(_resources: Resources, _shop: ShopRef, messages: Sequence[Message]) -> Effect:
        calls.append(len(messages))
        if error is None:  # it takes too long
            await asyncio.Event().wait()
        assert error
        raise error

    ids = receive(demo, 20) + receive(demo, 2, topic="products/update")
    handlers = {"orders/create": ask, "products/update": count_effects}
    counts = await process(resources, handlers, MAPLE, ids, handler_seconds=PATIENCE_SECONDS if error else 0.01)
    assert counts == {None: 20, WebhookOutcome.APPLIED: 2}
    assert calls == [20]
    assert applied(demo) == ids[20:]


async def test_slow_shop_holds_up_no_other(resources: Resources, demo: Demo) -> None:
    others_are_handled = asyncio.Event()

    async def wait(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
        if shop.domain == MAPLE:
            await others_are_handled.wait()
        return await count_effects(resources, shop, messages)

    slow = receive(demo, 5)
    patient = partial(process, handler_seconds=PATIENCE_SECONDS)
    consumer = Consumer(resources, {"orders/create": wait}, "a", limits=ConsumerLimits(per_shop=2), process=patient)
    running = asyncio.create_task(consumer.run())
    others = receive(demo, 20, SAKURA)
    await wait_until(lambda: len(applied(demo)) == len(others))
    assert applied(demo) == others
    others_are_handled.set()
    await wait_until(lambda: len(applied(demo)) == 25)
    consumer.stop()
    await running
    assert applied(demo) == slow + others
    assert await WebhookQueue(resources.redis).length() == 0


async def test_window_of_a_consumer_has_a_limit(resources: Resources, demo: Demo) -> None:
    receive(demo, 5)
    consumer = Consumer(resources, COUNTING, "a", limits=ConsumerLimits(window=3))
    await consumer.sweep()
    assert [await consumer.take(NOW), await consumer.take(NOW)] == [3, 0]
    await consumer.finish()
    assert await handle(consumer) == 2


async def test_webhooks_wait_for_postgresql_and_are_then_handled(resources: Resources, demo: Demo) -> None:
    calls: list[int] = []

    async def fail_first(*args: Any) -> dict[WebhookOutcome | None, int]:
        calls.append(1)
        if len(calls) == 1:
            raise DatabaseUnavailable("no answer")
        return await process(*args)

    ids = receive(demo, 3)
    consumer = Consumer(resources, COUNTING, "a", limits=ConsumerLimits(pause_seconds=0), process=fail_first)
    await consumer.sweep()
    await handle(consumer)
    assert applied(demo) == ids
    assert await WebhookQueue(resources.redis).length() == 0


async def test_queue_that_does_not_answer_is_asked_again_only_by_the_sweep(
    resources: Resources, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    async def fail(_queue: WebhookQueue, consumer: str, *_: object, **_options: object) -> list[PendingEntry]:
        calls.append(consumer)
        raise CacheUnavailable("no answer")

    consumer = Consumer(resources, COUNTING, "a")
    with monkeypatch.context() as patched:
        patched.setattr(WebhookQueue, "take", fail)
        for _ in range(3):
            receive(demo, 2)
            assert await handle(consumer) == 2
    assert calls == ["a"]
    receive(demo, 2)
    await consumer.sweep()
    assert await handle(consumer) == 2
    assert await WebhookQueue(resources.redis).length() == 0
    assert len(applied(demo)) == 8


async def test_query_of_one_webhook_that_times_out_holds_up_no_other(resources: Resources, demo: Demo) -> None:
    async def hang(_resources: Resources, _shop: ShopRef, messages: Sequence[Message]) -> Effect:
        effect = await count_effects(_resources, _shop, messages)

        async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
            if any(message.payload.get("hangs") for message in messages):
                await write.session.execute(text("SET LOCAL statement_timeout = 1"))
                await write.session.execute(text("SELECT pg_sleep(10)"))
            return await effect.apply(write)

        return Effect(frozenset(), apply)

    ids = receive(demo, 4) + receive(demo, hangs=True) + receive(demo, 4)
    assert await process(resources, {"orders/create": hang}, MAPLE, ids) == {WebhookOutcome.APPLIED: 8, None: 1}
    assert applied(demo) == [each for each in ids if each != ids[4]]


async def test_ids_of_a_stream_that_redis_lost_are_queued_again(resources: Resources, demo: Demo) -> None:
    consumer = Consumer(resources, COUNTING, "a")
    ids = receive(demo, 2)
    await consumer.sweep()
    await resources.redis.redis.delete(f"{keys.WEBHOOKS}{TopicPriority.HIGH}")
    await handle(consumer)
    await consumer.sweep()
    await handle(consumer)
    assert applied(demo) == ids


async def test_sweep_fills_the_queue_with_all_that_waits(resources: Resources, demo: Demo) -> None:
    receive(demo, 30)
    assert (await Consumer(resources, COUNTING, "a", limits=ConsumerLimits(window=7)).sweep()).added == 30


async def test_poll_of_the_inbox_takes_some_of_each_shop(resources: Resources, demo: Demo) -> None:
    receive(demo, 30)
    [last] = receive(demo, shop=SAKURA)
    async with resources.db.autocommit() as session:
        due = await webhook_inbox.find_due_fairly(session, TopicPriority.HIGH, 5, 3)
    assert last in {each.id for each in due}
    assert len(due) == 4


async def test_large_bodies_are_handled_in_batches_of_bounded_size(resources: Resources, demo: Demo) -> None:
    sizes: list[int] = []

    async def measure(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
        sizes.append(len(messages))
        return await count_effects(resources, shop, messages)

    ids = receive(demo, 2) + receive(demo, 3, text="x" * 600) + receive(demo, text="x" * 3000) + receive(demo, 2)
    counts = await process(resources, {"orders/create": measure}, MAPLE, list(reversed(ids)), batch_bytes=1500)
    assert counts == {WebhookOutcome.APPLIED: 8}
    assert applied(demo) == ids
    assert sizes == [4, 1, 1, 2]


async def test_webhook_of_another_shop_is_not_handled_as_one_of_this(resources: Resources, demo: Demo) -> None:
    [row_id] = receive(demo, shop=SAKURA)
    assert await process(resources, COUNTING, MAPLE, [row_id]) == {}
    assert applied(demo) == []


async def test_erasures_come_after_what_they_erase_and_requests_for_data_last_and_alone(
    resources: Resources, demo: Demo
) -> None:
    order_of_topics: list[list[str]] = []

    async def record(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
        order_of_topics.append([each.topic for each in messages])
        return await count_effects(resources, shop, messages)

    request, erasure, order = "customers/data_request", "customers/redact", "orders/create"
    topics = (erasure, order, request, order, erasure, request)
    ids = [row_id for topic in topics for row_id in receive(demo, topic=topic)]
    await process(resources, dict.fromkeys(topics, record), MAPLE, ids)
    assert order_of_topics == [[order] * 2, [erasure] * 2, [request], [request]]
    assert applied(demo) == ids
