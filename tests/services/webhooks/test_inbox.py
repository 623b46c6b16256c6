"""Storage of concurrent webhooks with few statements."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import pytest

from tests.support.aliases import Demo
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache.webhook_queue import Enqueued, QueueEntry, WebhookQueue
from wishcraft.domain.webhooks import TopicPriority
from wishcraft.errors import CacheUnavailable, DatabaseRefused, DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.webhooks import inbox
from wishcraft.services.webhooks.inbox import Inbox, InboxLimits
from wishcraft.store import webhook_inbox
from wishcraft.store.engine import Database
from wishcraft.store.webhook_inbox import Received

PATIENT = InboxLimits(answer_seconds=PATIENCE_SECONDS, enqueue_seconds=PATIENCE_SECONDS)


def webhook(name: str, topic: str = "orders/create", event_id: str | None = None, payload: bytes = b"{}") -> Received:
    return Received("a.myshopify.com", topic, event_id, name, None, None, payload, payload[:8])


class Queue(WebhookQueue):
    """A queue that notes what it is given, and then does something."""

    def __init__(self, then: Callable[[], Awaitable[object]] | None = None) -> None:
        self.entries: list[QueueEntry] = []
        self._then = then

    async def enqueue(self, entries: Iterable[QueueEntry]) -> Enqueued:
        added = list(entries)
        self.entries += added
        if self._then:
            await self._then()
        return Enqueued(len(added), frozenset())


@pytest.fixture(autouse=True)
def empty_inbox(demo: Demo) -> None:
    demo.execute("TRUNCATE webhook_events")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of webhooks in each statement."""
    sizes: list[int] = []

    async def insert(db: Database, webhooks: Sequence[Received]) -> list[int | None]:
        sizes.append(len(webhooks))
        return await webhook_inbox.insert(db, webhooks)

    monkeypatch.setattr(inbox, "insert", insert)
    return sizes


async def receive(box: Inbox, *webhooks: Received) -> list[bool | BaseException]:
    return await asyncio.gather(*(box.receive(each) for each in webhooks), return_exceptions=True)


def stored(demo: Demo) -> int:
    [(rows,)] = demo.execute("SELECT count(*) FROM webhook_events").fetchall()
    return int(rows)


async def test_requests_of_one_turn_share_one_statement(
    resources: Resources, demo: Demo, statements: list[int]
) -> None:
    box = Inbox(resources.db, WebhookQueue(resources.redis), PATIENT)
    assert await receive(box, *(webhook(f"w{each}") for each in range(100))) == [True] * 100
    assert statements == [100]
    assert stored(demo) == 100


async def test_repetitions_within_one_statement_are_stored_once(resources: Resources, demo: Demo) -> None:
    queue = Queue()
    results = await receive(
        Inbox(resources.db, queue, PATIENT),
        webhook("a"),
        webhook("a"),
        webhook("b", event_id="e"),
        webhook("c", event_id="e"),
    )
    assert results == [True, False, True, False]
    assert stored(demo) == len(queue.entries) == 2


async def test_event_with_several_payloads_is_stored_for_each(resources: Resources, demo: Demo) -> None:
    box = Inbox(resources.db, WebhookQueue(resources.redis), PATIENT)
    three = [webhook(f"w{each}", "inventory_levels/update", "e", b'{"at":%d}' % each) for each in range(3)]
    assert await receive(box, *three) == [True] * 3
    again = [each._replace(webhook_id=f"again-{each.webhook_id}") for each in three]
    other = webhook("other", "products/update", "e", three[0].payload)
    assert await receive(box, *again, other) == [False] * 3 + [True]
    assert stored(demo) == 4


async def test_statement_is_bounded_in_rows_and_bytes(resources: Resources, demo: Demo, statements: list[int]) -> None:
    box = Inbox(resources.db, WebhookQueue(resources.redis), replace(PATIENT, max_rows=3, max_bytes=100))
    webhooks = [webhook(f"a{each}", payload=b" " * 60) for each in range(3)] + [
        webhook(f"b{each}") for each in range(5)
    ]
    assert await receive(box, *webhooks) == [True] * 8
    assert statements == [1, 1, 3, 3]
    assert stored(demo) == 8


async def test_refused_value_fails_its_own_request_alone(resources: Resources, demo: Demo) -> None:
    webhooks = [webhook(f"w{each}") for each in range(9)]
    webhooks[4] = webhook("nul\0")
    results = await receive(Inbox(resources.db, WebhookQueue(resources.redis), PATIENT), *webhooks)
    assert isinstance(results.pop(4), DatabaseRefused)
    assert results == [True] * 8
    assert stored(demo) == 8


@pytest.mark.parametrize("limits", [replace(PATIENT, max_waiting=3), replace(PATIENT, max_waiting_bytes=3 * 10)])
async def test_too_many_waiting_are_refused_and_later_ones_are_not(
    resources: Resources, demo: Demo, limits: InboxLimits
) -> None:
    box = Inbox(resources.db, WebhookQueue(resources.redis), limits)
    results = await receive(box, *(webhook(f"w{each}", payload=b" " * 10) for each in range(5)))
    assert results[:3] == [True] * 3
    assert [type(each) for each in results[3:]] == [DatabaseUnavailable] * 2
    assert await receive(box, webhook("w4")) == [True]
    assert stored(demo) == 4


async def test_what_waited_too_long_is_not_stored_afterwards(
    resources: Resources, demo: Demo, statements: list[int]
) -> None:
    box = Inbox(resources.db, WebhookQueue(resources.redis), InboxLimits(answer_seconds=0.1, max_rows=1))
    with demo.transaction():
        demo.execute("LOCK webhook_events IN ACCESS EXCLUSIVE MODE")
        results = await receive(box, *(webhook(f"w{each}") for each in range(5)))
        assert [type(each) for each in results] == [DatabaseUnavailable] * 5
    await box.close()
    assert statements == [1, 1]


async def test_stored_webhooks_enter_the_queue_by_priority(resources: Resources, demo: Demo) -> None:
    queue = Queue()
    await receive(
        Inbox(resources.db, queue, PATIENT), webhook("a"), webhook("b", "products/update"), webhook("c", "made/up")
    )
    rows = demo.execute("SELECT id, webhook_id FROM webhook_events").fetchall()
    names: dict[int, str] = dict(rows)
    assert [(names[each.id], each.shop_domain, each.priority) for each in queue.entries] == [
        ("a", "a.myshopify.com", TopicPriority.HIGH),
        ("b", "a.myshopify.com", TopicPriority.LOW),
        ("c", "a.myshopify.com", TopicPriority.LOW),
    ]


async def refuse() -> None:
    raise CacheUnavailable("refused")


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("how", [refuse, hang])
async def test_silent_queue_costs_no_webhook(
    resources: Resources, demo: Demo, how: Callable[[], Awaitable[object]]
) -> None:
    limits = replace(PATIENT, enqueue_seconds=0.05)
    assert await receive(Inbox(resources.db, Queue(how), limits), webhook("a"), webhook("b")) == [True, True]
    assert stored(demo) == 2


async def test_nothing_enters_the_queue_before_its_commit(resources: Resources, demo: Demo) -> None:
    seen: list[int] = []

    async def look() -> None:
        seen.append(stored(demo))

    await receive(Inbox(resources.db, Queue(look), PATIENT), webhook("a"))
    assert seen == [1]


async def test_webhook_waits_for_another_process_that_stores_it(resources: Resources, demo: Demo) -> None:
    first, second = (
        Inbox(resources.db, WebhookQueue(resources.redis), PATIENT),
        Inbox(resources.db, WebhookQueue(resources.redis), PATIENT),
    )
    names = [f"w{each}" for each in range(50)]
    results = await asyncio.gather(
        receive(first, *(webhook(name) for name in names)), receive(second, *(webhook(name) for name in names[::-1]))
    )
    assert [{*pair} for pair in zip(results[0], results[1][::-1], strict=True)] == [{False, True}] * 50
    assert stored(demo) == 50
