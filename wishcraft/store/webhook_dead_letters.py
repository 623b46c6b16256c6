"""The dead letters among the webhooks of the inbox: found, and replayed or discarded by people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.store.schema import WebhookEvent

_LETTER: Final = (
    WebhookEvent.id, WebhookEvent.shop_domain, WebhookEvent.topic, WebhookEvent.received_at, WebhookEvent.attempts,
    WebhookEvent.failures, WebhookEvent.payload.is_not(None),
)  # fmt: skip


class DeadLetter(NamedTuple):
    """A webhook that failed for good, without its payload."""

    id: int
    shop_domain: str
    topic: str
    received_at: datetime
    attempts: int
    failures: list[dict[str, Any]]
    has_payload: bool
    """False once it was redacted: then it cannot be handled again."""


async def find_dead(session: AsyncSession, shop_domain: str | None, most: int) -> tuple[list[DeadLetter], int]:
    """The oldest dead letters, of one shop or of all, and how many there are."""
    where = _dead(shop_domain)
    rows = await session.execute(select(*_LETTER).where(*where).order_by(WebhookEvent.id).limit(most))
    total = (await session.execute(select(func.count()).select_from(WebhookEvent).where(*where))).scalar_one()
    return [DeadLetter(*row) for row in rows], int(total)


async def find_decided(session: AsyncSession, ids: Sequence[int], reason: str) -> set[int]:
    """Find which of these webhooks a person has replayed after they were dead letters for this reason."""
    where = (WebhookEvent.id.in_(ids), WebhookEvent.failures.contains([{"reason": reason}]))
    return set(await session.scalars(select(WebhookEvent.id).where(*where)))


async def count_dead(session: AsyncSession, topic: str, since: datetime) -> int:
    """How many webhooks of a topic, of all shops, have become dead letters since then and still are."""
    where = (*_dead(None), WebhookEvent.topic == topic, WebhookEvent.handled_at >= since)
    return (await session.execute(select(func.count()).where(*where))).scalar_one()


async def find_dead_with_payloads(
    session: AsyncSession, ids: Sequence[int], shop_domain: str | None
) -> list[tuple[DeadLetter, bytes | None]]:
    """Find the dead letters among these webhooks, of one shop or of any, with their payloads."""
    query = select(*_LETTER, WebhookEvent.payload).where(WebhookEvent.id.in_(ids), *_dead(shop_domain))
    return [(DeadLetter(*row[:-1]), row[-1]) for row in await session.execute(query.order_by(WebhookEvent.id))]


async def lock_dead(session: AsyncSession, ids: Sequence[int], shop_domain: str | None) -> list[DeadLetter]:
    """Lock those of these webhooks that are dead letters, of one shop or of any."""
    query = select(*_LETTER).where(WebhookEvent.id.in_(ids), *_dead(shop_domain))
    return [DeadLetter(*row) for row in await session.execute(query.order_by(WebhookEvent.id).with_for_update())]


async def end_dead(session: AsyncSession, ids: Sequence[int], *, replay: bool) -> list[int]:
    """Discard these dead letters, or let them be handled again; the ids of those that were dead letters."""
    values: dict[str, Any] = {"outcome": WebhookOutcome.DISCARDED}
    if replay:
        values = {"outcome": None, "handled_at": None, "attempts": 0, "due_at": func.now(), "searched_up_to": None}
    where = (WebhookEvent.id.in_(ids), WebhookEvent.outcome == WebhookOutcome.DEAD)
    return list(await session.scalars(update(WebhookEvent).where(*where).values(**values).returning(WebhookEvent.id)))


def _dead(shop_domain: str | None) -> list[ColumnElement[bool]]:
    dead: list[ColumnElement[bool]] = [WebhookEvent.outcome == WebhookOutcome.DEAD]
    return dead if shop_domain is None else [*dead, WebhookEvent.shop_domain == shop_domain]
