"""A shop that sends many webhooks, and high priority, hold up no others."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import pytest

from tests.support.aliases import Demo
from tests.support.counted_webhooks import COUNTING, MAPLE, NOW, SAKURA, applied, handle, receive
from tests.support.waiting import wait_until
from wishcraft.cache import keys
from wishcraft.cache.webhook_queue import MOST_OF_A_SHOP, QueueEntry, WebhookQueue
from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS
from wishcraft.domain.webhooks import TOPICS, TopicPriority, WebhookOutcome
from wishcraft.errors import CacheUnavailable
from wishcraft.resources import Resources
from wishcraft.services.webhooks.consume import SHOPS_AT_ONCE, Consumer, ConsumerLimits, enqueue_due
from wishcraft.services.webhooks.handler_protocol import Effect, change_nothing
from wishcraft.services.webhooks.process import process
from wishcraft.store import webhook_inbox

FLOOD = 30_000
pytestmark = pytest.mark.usefixtures("effects")


def entries(ids: list[int], shop: str = MAPLE, priority: TopicPriority = TopicPriority.HIGH) -> list[QueueEntry]:
    return [QueueEntry(row_id, shop, priority) for row_id in ids]


async def test_order_of_one_shop_is_handled_while_another_has_tens_of_thousands_queued(
    resources: Resources, demo: Demo
) -> None:
    receive(demo, FLOOD)
    changed = receive(demo, topic="products/update")
    consumer = Consumer(resources, COUNTING, "a")
    swept = await consumer.sweep()
    assert (swept.added, swept.full) == (MOST_OF_A_SHOP + 1, {(MAPLE, TopicPriority.HIGH)})
    ids = receive(demo, shop=SAKURA)
    await WebhookQueue(resources.redis).enqueue(entries(ids, SAKURA))
    await handle(consumer)
    assert {*ids, *changed} < set(applied(demo))
    assert len(applied(demo)) == MOST_OF_A_SHOP + 2


async def test_shop_that_sent_more_than_the_queue_takes_is_handled_to_the_end(resources: Resources, demo: Demo) -> None:
    ids = receive(demo, MOST_OF_A_SHOP + 20) + receive(demo, 20, topic="products/update")
    limits = ConsumerLimits(gather_seconds=0, sweep_seconds=3_600)  # what is left must not wait for the next sweep
    consumer = Consumer(resources, COUNTING, "a", limits=limits)
    running = asyncio.create_task(consumer.run())
    await wait_until(lambda: len(applied(demo)) == len(ids))
    consumer.stop()
    await running
    assert applied(demo) == ids
    assert await WebhookQueue(resources.redis).length() == 0
    assert await resources.redis.redis.exists(f"{keys.QUEUED}{TopicPriority.HIGH}:shops") == 0


async def test_low_priority_gets_a_share_and_what_it_does_not_need_is_left_to_the_high_one(
    resources: Resources, demo: Demo
) -> None:
    high, low = receive(demo, 20), receive(demo, 3, topic="products/update")
    queue = WebhookQueue(resources.redis)
    await queue.enqueue([*entries(high), *entries(low, priority=TopicPriority.LOW)])
    taken = [await queue.take("a", 8, NOW) for _ in range(2)]
    assert [[each.id for each in some] for some in taken] == [[*high[:6], *low[:2]], [*high[6:12], low[2], high[12]]]


async def test_high_priority_does_not_wait_for_what_waits_for_shopify(resources: Resources, demo: Demo) -> None:
    released = asyncio.Event()

    async def hang(*_: object) -> Effect:
        await released.wait()
        return Effect(frozenset(), change_nothing)

    handlers = {**COUNTING, "products/update": hang}
    consumer = Consumer(resources, handlers, "a", process=partial(process, handler_seconds=600))
    queue = WebhookQueue(resources.redis)
    try:
        await queue.enqueue(entries(receive(demo, topic="products/update"), priority=TopicPriority.LOW))
        assert await consumer.take(NOW) == 1
        ids = receive(demo)
        await queue.enqueue(entries(ids))
        assert await consumer.take(NOW) == 1
        await wait_until(lambda: applied(demo) == ids)
    finally:
        released.set()
        await consumer.finish()


WINDOW = 2 * SHOPS_AT_ONCE


class WaitingShops:
    """Handles webhooks of `MAPLE` at once, and those of other shops when it is released; `handled` has their ids."""

    def __init__(self, resources: Resources) -> None:
        self.released, self.handled = asyncio.Event(), list[int]()
        limits = ConsumerLimits(window=WINDOW, take_over_idle=NOW)
        self.consumer = Consumer(resources, COUNTING, "a", limits=limits, process=self._process)

    async def _process(self, *args: Any) -> Mapping[WebhookOutcome | None, int]:
        _, _, shop, ids = args
        if shop != MAPLE:
            await self.released.wait()
        self.handled.extend(ids)
        return {}

    async def finish(self) -> None:
        self.released.set()
        await self.consumer.finish()


@pytest.fixture
async def waiting(resources: Resources) -> AsyncIterator[WaitingShops]:
    waiting = WaitingShops(resources)
    yield waiting
    await waiting.finish()


async def fill_with_low(queue: WebhookQueue) -> None:
    for number in range(WINDOW):
        await queue.enqueue(entries([number], f"shop-{number}.myshopify.com", TopicPriority.LOW))


async def test_high_priority_does_not_wait_for_any_number_of_shops_that_wait_for_shopify(
    resources: Resources, waiting: WaitingShops
) -> None:
    queue = WebhookQueue(resources.redis)
    await fill_with_low(queue)
    await waiting.consumer.take(NOW)
    await queue.enqueue(entries([WINDOW]))
    await waiting.consumer.take(NOW)
    await wait_until(lambda: waiting.handled == [WINDOW])
    await waiting.finish()
    while await handle(waiting.consumer):
        pass
    assert sorted(waiting.handled) == list(range(WINDOW + 1))


async def test_low_priority_that_is_taken_over_leaves_places_to_the_high_one(
    resources: Resources, waiting: WaitingShops
) -> None:
    queue = WebhookQueue(resources.redis)
    await fill_with_low(queue)
    assert len(await queue.take("dead", WINDOW, NOW)) == WINDOW
    await waiting.consumer.sweep()
    await queue.enqueue(entries([WINDOW]))
    assert await waiting.consumer.take(NOW) == 1
    await wait_until(lambda: waiting.handled == [WINDOW])
    await waiting.finish()
    await waiting.consumer.sweep()
    await waiting.finish()
    assert sorted(waiting.handled) == list(range(WINDOW + 1))


async def test_high_priority_does_not_wait_for_shopify_without_redis(
    waiting: WaitingShops, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **_options: object) -> None:
        raise CacheUnavailable("no answer")

    monkeypatch.setattr(WebhookQueue, "take", fail)
    for number in range(WINDOW):
        receive(demo, shop=f"shop-{number}.myshopify.com", topic="products/update")
    receive(demo, waiting.consumer.limits.per_shop, topic="products/update")
    await waiting.consumer.take(NOW)
    [order_id] = receive(demo)
    await waiting.consumer.take(NOW)
    await wait_until(lambda: order_id in waiting.handled)


async def test_shops_that_are_full_are_left_out_for_topics_of_that_priority_alone(
    resources: Resources, demo: Demo
) -> None:
    high = receive(demo, 2) + receive(demo, topic=MAIL_EVENTS)
    others = receive(demo, topic="products/update") + receive(demo, shop=SAKURA)
    async with resources.db.autocommit() as session:
        found = await webhook_inbox.find_due(session, 9, without={(MAPLE, TopicPriority.HIGH)})
        assert [each.id for each in found] == others
        found = await webhook_inbox.find_due(session, 9, without={(MAPLE, each) for each in TopicPriority})
        assert [each.id for each in found] == others[1:]
        found = await webhook_inbox.find_due(session, 9, without={(MAPLE, TopicPriority.LOW)})
    assert [each.id for each in found] == [*high, others[1]]
    assert TOPICS["products/update"] is TopicPriority.LOW


async def test_mail_events_are_left_out_as_topics_of_high_priority(resources: Resources, demo: Demo) -> None:
    ids = receive(demo, topic=MAIL_EVENTS)
    async with resources.db.autocommit() as session:
        found = await webhook_inbox.find_due(session, 9, without={(MAPLE, TopicPriority.LOW)})
        assert [each.id for each in found] == ids
        assert await webhook_inbox.find_due(session, 9, without={(MAPLE, TopicPriority.HIGH)}) == []


async def test_numbers_that_an_empty_stream_left_behind_keep_no_webhook_out(resources: Resources, demo: Demo) -> None:
    """A consumer of a former version acknowledges without counting, for instance."""
    receive(demo)
    await resources.redis.redis.hset(f"{keys.QUEUED}{TopicPriority.HIGH}:shops", MAPLE, "1000000")
    assert await enqueue_due(resources) == (1, frozenset())


async def test_inbox_gives_each_shop_its_turn_however_many_another_has(resources: Resources, demo: Demo) -> None:
    first, *_ = receive(demo, 50_001)
    others = receive(demo, 2, shop=SAKURA)
    async with resources.db.autocommit() as session:
        due = await webhook_inbox.find_due_fairly(session, TopicPriority.HIGH, 3, 2)
    assert [each.id for each in due[:2]] == [first, others[0]]
    assert len(due) == 3


async def test_inbox_gives_nothing_that_is_handled_or_due_later(resources: Resources, demo: Demo) -> None:
    handled, later, due = receive(demo, 3)
    demo.execute("UPDATE webhook_events SET handled_at = now(), outcome = 'ignored' WHERE id = %s", [handled])
    demo.execute("UPDATE webhook_events SET due_at = now() + interval '1 hour' WHERE id = %s", [later])
    async with resources.db.autocommit() as session:
        found = await webhook_inbox.find_due_fairly(session, TopicPriority.HIGH, 9, 9)
        assert [each.id for each in found] == [due]
        demo.execute("UPDATE webhook_events SET handled_at = now(), outcome = 'ignored'")
        assert await webhook_inbox.find_due_fairly(session, TopicPriority.HIGH, 9, 9) == []
