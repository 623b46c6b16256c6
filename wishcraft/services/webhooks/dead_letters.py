"""Dead letters of webhooks: what people see of them, and what they decide."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.batches import batches
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable, QueryRefused, UnknownShop
from wishcraft.resources import Resources
from wishcraft.services.webhooks.consume import enqueue_due
from wishcraft.store import audit_log, shops, webhook_dead_letters
from wishcraft.store.audit_log import Actor
from wishcraft.store.webhook_dead_letters import DeadLetter

Decision = Literal["replay", "discard"]
ACTOR: Final = "webhook-dead-letters"
MAX_DECIDED: Final = 10_000
"""Dead letters that one call decides about."""
_BATCH: Final = 500
_NAMED: Final = 10
_ACTIONS: Final[Mapping[Decision, str]] = {"replay": "webhook.replayed", "discard": "webhook.discarded"}


async def find_dead_letters(resources: Resources, shop: str | None, most: int) -> tuple[list[DeadLetter], int]:
    """The oldest dead letters, of the shop with this domain or of all, and how many there are.

    Raises:
        UnknownShop: No shop, installed or not, has this domain, and no dead letter names it.
    """
    async with resources.db.repeatable_read() as session:
        letters, total = await webhook_dead_letters.find_dead(session, shop, most)
        if shop is not None and not letters and not await shops.find_ids(session, [shop]):
            raise UnknownShop(f"no shop has the domain {shop!r}, and there is no dead letter of one")
    return letters, total


async def inspect(resources: Resources, shop: str | None, ids: Sequence[int]) -> list[tuple[DeadLetter, bytes | None]]:
    """These dead letters with their payloads, None for one that was redacted.

    Raises:
        QueryRefused: One is not a dead letter, or of another shop.
    """
    async with resources.db.repeatable_read() as session:
        found = await webhook_dead_letters.find_dead_with_payloads(session, ids, shop)
    _require(ids, [letter for letter, _ in found])
    return found


async def decide(
    resources: Resources, shop: str | None, ids: Sequence[int], decision: Decision, details: Mapping[str, Any]
) -> list[DeadLetter]:
    """Handle these dead letters again, or discard them: all of them, or none.

    Each decision about a shop that is known is in its audit log, with the details.

    Raises:
        QueryRefused: One is not a dead letter, or of another shop, or is to be handled again without a payload.
    """
    async with resources.db.transaction() as session:
        letters = _require(ids, await webhook_dead_letters.lock_dead(session, ids, shop))
        empty = [letter.id for letter in letters if not letter.has_payload]
        if empty and decision == "replay":
            raise QueryRefused(f"nothing was done: these have no payload any more, discard them: {_listed(empty)}")
        await _end(session, letters, decision, details)
    await _hasten(resources, decision)
    return letters


async def decide_all(
    resources: Resources, shop: str | None, decision: Decision, details: Mapping[str, Any]
) -> list[DeadLetter]:
    """As `decide`, for the oldest `MAX_DECIDED` dead letters of the shop or of all; those without a payload stay.

    It works in batches: what was decided before it fails stays decided.
    """
    found, _ = await find_dead_letters(resources, shop, MAX_DECIDED)
    ids = [letter.id for letter in found if letter.has_payload or decision == "discard"]
    decided: list[DeadLetter] = []
    for batch in batches(ids, _BATCH):
        async with resources.db.transaction() as session:
            letters = await webhook_dead_letters.lock_dead(session, batch, shop)
            await _end(session, letters, decision, details)
        decided += letters
    await _hasten(resources, decision)
    return decided


def _require(ids: Sequence[int], letters: list[DeadLetter]) -> list[DeadLetter]:
    if missing := sorted(set(ids) - {letter.id for letter in letters}):
        raise QueryRefused(
            "nothing was done: there are no dead letters with these ids, they were replayed or discarded before, or"
            f" are of another shop: {_listed(missing)}"
        )
    return letters


def _listed(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(map(str, ids[:_NAMED])) + more


async def _end(
    session: AsyncSession, letters: Sequence[DeadLetter], decision: Decision, details: Mapping[str, Any]
) -> None:
    await webhook_dead_letters.end_dead(session, [letter.id for letter in letters], replay=decision == "replay")
    known = await shops.find_ids(session, {letter.shop_domain for letter in letters})
    for letter in letters:
        if letter.shop_domain in known:
            actor, all_details = Actor(known[letter.shop_domain], ACTOR), {"topic": letter.topic, **details}
            await audit_log.record(session, actor, _ACTIONS[decision], "webhook", str(letter.id), all_details)


async def _hasten(resources: Resources, decision: Decision) -> None:
    """Put what is to be handled again into the queue; without it, consumers find it within seconds."""
    if decision == "replay":
        with suppress(CacheUnavailable, DatabaseUnavailable):
            await enqueue_due(resources)
