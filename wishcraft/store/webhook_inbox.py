"""The inbox of webhooks: insertion of many in one statement, and what the consumer finds and records."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import orjson
import psycopg
from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.webhooks import HIGH_TOPICS, TopicPriority, WebhookOutcome
from wishcraft.errors import DatabaseRefused, in_words
from wishcraft.store.engine import Database
from wishcraft.store.registries import WriteSession
from wishcraft.store.schema import WebhookEvent
from wishcraft.store.statements import Statement

KEPT_FAILURES: Final = 10
"""How many failures of a webhook its row keeps."""
MAX_COUNTED: Final = 100_000
"""The most rows that a count of the inbox looks at."""
_INSERT: Final = Statement(
    text("""
INSERT INTO webhook_events (shop_domain, topic, event_id, webhook_id, triggered_at, api_version, payload, signature)
SELECT * FROM unnest(
    CAST(:shop_domain AS text[]), CAST(:topic AS text[]), CAST(:event_id AS text[]), CAST(:webhook_id AS text[]),
    CAST(:triggered_at AS timestamptz[]), CAST(:api_version AS text[]), CAST(:payload AS bytea[]),
    CAST(:signature AS bytea[])
)
ON CONFLICT DO NOTHING RETURNING shop_domain, webhook_id, id
""")
)
_COLUMNS: Final = (
    WebhookEvent.id, WebhookEvent.shop_domain, WebhookEvent.topic, WebhookEvent.triggered_at, WebhookEvent.received_at,
    WebhookEvent.payload, WebhookEvent.attempts,
)  # fmt: skip
_DUE: Final = (WebhookEvent.id, WebhookEvent.shop_domain, WebhookEvent.topic, WebhookEvent.due_at)
_FIND_DUE_FAIRLY: Final = """
WITH RECURSIVE shops AS (
    SELECT min(shop_domain) AS shop_domain FROM webhook_events WHERE handled_at IS NULL
    UNION ALL
    SELECT (
        SELECT min(w.shop_domain) FROM webhook_events w WHERE w.handled_at IS NULL AND w.shop_domain > s.shop_domain
    ) FROM shops s WHERE s.shop_domain IS NOT NULL
)
SELECT d.id, d.shop_domain, d.topic, d.due_at FROM shops s CROSS JOIN LATERAL (
    SELECT w.id, w.shop_domain, w.topic, w.due_at, row_number() OVER (ORDER BY w.due_at, w.id) AS place
    FROM webhook_events w
    WHERE w.shop_domain = s.shop_domain AND w.handled_at IS NULL AND w.due_at <= now() AND {is_of_priority}
    ORDER BY w.due_at, w.id LIMIT :of_a_shop
) d ORDER BY d.place, d.due_at, d.id LIMIT :most
"""
_FIND_FAIRLY: Final = {
    TopicPriority.HIGH: text(_FIND_DUE_FAIRLY.format(is_of_priority="w.topic = ANY(:high_topics)")),
    TopicPriority.LOW: text(_FIND_DUE_FAIRLY.format(is_of_priority="w.topic <> ALL(:high_topics)")),
}
_FAIL: Final = text("""
UPDATE webhook_events w SET attempts = w.attempts + f.tries,
    due_at = coalesce(f.due_at, w.due_at),
    handled_at = CASE WHEN f.due_at IS NULL THEN now() END,
    outcome = CASE WHEN f.due_at IS NULL THEN 'dead' END,
    failures = jsonb_path_query_array(
        w.failures || jsonb_build_array(jsonb_build_object('at', now(), 'reason', f.reason)), :last_failures
    )
FROM jsonb_to_recordset(CAST(:failures AS jsonb)) AS f (id bigint, reason text, due_at timestamptz, tries int)
WHERE w.id = f.id AND w.handled_at IS NULL
""")
_LAST_FAILURES: Final = f"$[last - {KEPT_FAILURES - 1} to last]"
_STATE: Final = text("""
SELECT
    (SELECT count(*) FROM (SELECT FROM webhook_events WHERE handled_at IS NULL LIMIT :most) w),
    (SELECT coalesce(extract(epoch FROM now() - min(due_at)), 0)
     FROM webhook_events WHERE handled_at IS NULL AND due_at <= now()),
    (SELECT count(*) FROM (SELECT FROM webhook_events WHERE outcome = 'dead' LIMIT :most) d)
""")


class Received(NamedTuple):
    """A webhook as received: a row of the inbox to be."""

    shop_domain: str
    topic: str
    event_id: str | None
    webhook_id: str
    triggered_at: datetime | None
    api_version: str | None
    payload: bytes
    signature: bytes
    """The first bytes of the payload's signature."""


class StoredWebhook(NamedTuple):
    """A webhook that is not handled yet."""

    id: int
    shop_domain: str
    topic: str
    triggered_at: datetime | None
    received_at: datetime
    payload: bytes | None
    attempts: int


class DueWebhook(NamedTuple):
    """A webhook that is due and not handled."""

    id: int
    shop_domain: str
    topic: str
    due_at: datetime


class Failure(NamedTuple):
    """A try that failed."""

    id: int
    reason: str
    """Without personal data."""
    due_at: datetime | None
    """When it is tried again; None makes it a dead letter."""
    tries: int = 1
    """0 if it does not count."""


class InboxState(NamedTuple):
    """Backlog of the inbox."""

    waiting: int
    """Webhooks that are not handled, those that are tried again later included; at most `MAX_COUNTED`."""
    lag_seconds: float
    """For how long the one that is due longest has been due; 0 if none is."""
    dead: int
    """Dead letters; at most `MAX_COUNTED`."""


async def insert(db: Database, webhooks: Sequence[Received]) -> list[int | None]:
    """Store the webhooks in one statement, which is committed; their ids, None for those that were stored before.

    A connection that was lost meanwhile is an error: the statement may have been committed.

    Raises:
        DatabaseUnavailable: None is known to be stored; it may be tried again.
        DatabaseRefused: PostgreSQL refuses a value of one of them, and has stored none.
    """
    # Two transactions with the same webhooks wait for each other's in one order, so that they do not deadlock.
    ordered = sorted(webhooks, key=_place)
    columns = {name: [getattr(each, name) for each in ordered] for name in Received._fields}
    try:
        [rows] = await db.fetch_each([_INSERT(**columns)], only_reads=False)
    except (psycopg.IntegrityError, DatabaseRefused) as error:
        raise DatabaseRefused(in_words(error.__cause__ or error)) from None  # its text quotes the row
    stored = {(domain, webhook_id): row_id for domain, webhook_id, row_id in rows}
    return [stored.pop((each.shop_domain, each.webhook_id), None) for each in webhooks]


def _place(webhook: Received) -> tuple[str, str, str, bytes, str]:
    return webhook.shop_domain, webhook.topic, webhook.event_id or "", webhook.signature, webhook.webhook_id


async def find_due(
    session: AsyncSession,
    most: int,
    after: DueWebhook | None = None,
    without: AbstractSet[tuple[str, TopicPriority]] = frozenset(),
) -> list[DueWebhook]:
    """Webhooks that are due and not handled, the longest due first; those that follow `after`.

    Those of the shops in `without` are left out, for each the ones whose topics have the priority.
    """
    query = select(*_DUE).where(WebhookEvent.handled_at.is_(None), WebhookEvent.due_at <= func.now())
    for priority in {priority for _, priority in without}:
        is_high = WebhookEvent.topic.in_(HIGH_TOPICS)
        shops = [shop for shop, each in without if each is priority]
        query = query.where(
            ~(WebhookEvent.shop_domain.in_(shops) & (is_high if priority is TopicPriority.HIGH else ~is_high))
        )
    if after:
        query = query.where(tuple_(WebhookEvent.due_at, WebhookEvent.id) > (after.due_at, after.id))
    rows = await session.execute(query.order_by(WebhookEvent.due_at, WebhookEvent.id).limit(most))
    return [DueWebhook(*row) for row in rows]


async def find_due_fairly(
    session: AsyncSession, priority: TopicPriority, most: int, of_a_shop: int
) -> list[DueWebhook]:
    """As `find_due`, but of one priority, and at most `of_a_shop` of each shop.

    The longest due of each comes first, then the second of each, and so on.

    The cost depends on the number of shops, and not on how many webhooks wait.
    """
    parameters = {"most": most, "of_a_shop": of_a_shop, "high_topics": list(HIGH_TOPICS)}
    rows = await session.execute(_FIND_FAIRLY[priority], parameters)
    return [DueWebhook(*row) for row in rows]


async def find_waiting(
    session: AsyncSession, shop_domain: str, ids: Sequence[int], most_bytes: int
) -> list[StoredWebhook]:
    """Find the unhandled ones of these webhooks of the shop, in the order of their receipt.

    The payloads have `most_bytes` at most, or there is one; further webhooks are left out.
    """
    where = (WebhookEvent.id.in_(ids), WebhookEvent.shop_domain == shop_domain, WebhookEvent.handled_at.is_(None))
    size = func.sum(func.coalesce(func.octet_length(WebhookEvent.payload), 0)).over(order_by=WebhookEvent.id)
    sizes = select(WebhookEvent.id, size.label("size")).where(*where).order_by(WebhookEvent.id)
    fitting = [
        row.id for number, row in enumerate(await session.execute(sizes)) if not number or row.size <= most_bytes
    ]
    query = select(*_COLUMNS).where(WebhookEvent.id.in_(fitting), WebhookEvent.handled_at.is_(None))
    return [StoredWebhook(*row) for row in await session.execute(query.order_by(WebhookEvent.id))]


async def lock_waiting(session: WriteSession, ids: Sequence[int]) -> set[int]:
    """Lock those of these webhooks that are not handled and that no other consumer has locked; their ids."""
    query = (
        select(WebhookEvent.id)
        .where(WebhookEvent.id.in_(ids), WebhookEvent.handled_at.is_(None))
        .order_by(WebhookEvent.id)
        .with_for_update(skip_locked=True)
    )
    return set(await session.scalars(query))


async def record_outcomes(session: AsyncSession, outcomes: Mapping[int, WebhookOutcome]) -> None:
    """Note that these webhooks are handled."""
    by_outcome: dict[WebhookOutcome, list[int]] = {}
    for webhook_id, outcome in outcomes.items():
        by_outcome.setdefault(outcome, []).append(webhook_id)
    for outcome, ids in by_outcome.items():
        where = (WebhookEvent.id.in_(ids), WebhookEvent.handled_at.is_(None))
        await session.execute(update(WebhookEvent).where(*where).values(outcome=outcome, handled_at=func.now()))


async def postpone(session: AsyncSession, ids: Collection[int]) -> None:
    """Let these webhooks be due now, after those that have been due before: of each, a part is done."""
    if ids:
        where = (WebhookEvent.id.in_(ids), WebhookEvent.handled_at.is_(None))
        await session.execute(update(WebhookEvent).where(*where).values(due_at=func.now()))


async def lock_if_due(session: AsyncSession, webhook_id: int, retry_after: timedelta) -> bool:
    """Lock the webhook until the end of the transaction, and let it be due again only after `retry_after`.

    False if it is handled, or not due: another consumer has taken it.
    """
    where = (WebhookEvent.id == webhook_id, WebhookEvent.handled_at.is_(None), WebhookEvent.due_at <= func.now())
    statement = update(WebhookEvent).where(*where).values(due_at=func.now() + retry_after).returning(WebhookEvent.id)
    return (await session.execute(statement)).scalar() is not None


async def record_failures(session: AsyncSession, failures: Sequence[Failure]) -> None:
    """Note a failed try of each of these webhooks, with the time of the next one, or as a dead letter."""
    if not failures:
        return
    rows = orjson.dumps([failure._asdict() for failure in failures]).decode()
    await session.execute(_FAIL, {"failures": rows, "last_failures": _LAST_FAILURES})


async def find_state(session: AsyncSession) -> InboxState:
    """Count the backlog. The cost does not grow beyond `MAX_COUNTED` rows."""
    waiting, lag, dead = (await session.execute(_STATE, {"most": MAX_COUNTED})).one()
    return InboxState(waiting, float(lag), dead)
