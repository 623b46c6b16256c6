"""Dead letters of webhooks: what people see of them, and what they decide."""

from collections.abc import Sequence
from typing import Literal

from wishcraft.resources import Resources
from wishcraft.services.webhooks.consume import enqueue_due
from wishcraft.store import audit_log, shops, webhook_events
from wishcraft.store.audit_log import Actor
from wishcraft.store.webhook_events import DeadLetter

Decision = Literal["replay", "discard"]


async def find_dead_letters(resources: Resources, shop: str | None, most: int) -> tuple[list[DeadLetter], int]:
    """The oldest dead letters, of the shop with this domain or of all, and how many there are."""
    async with resources.db.repeatable_read() as session:
        return await webhook_events.find_dead(session, shop, most)


async def decide(resources: Resources, actor: str, ids: Sequence[int], decision: Decision) -> list[DeadLetter]:
    """Handle these dead letters anew, or discard them; those of them that were dead letters.

    Each decision about a shop that is known is in its audit log.
    """
    async with resources.db.transaction() as session:
        letters = await webhook_events.lock_dead(session, ids)
        await webhook_events.end_dead(session, [letter.id for letter in letters], replay=decision == "replay")
        known = await shops.find_ids(session, {letter.shop_domain for letter in letters})
        for letter in letters:
            if letter.shop_domain in known:
                who = Actor(known[letter.shop_domain], actor)
                details = {"topic": letter.topic}
                await audit_log.record(session, who, f"webhook.{decision}", "webhook", str(letter.id), details)
    if decision == "replay":
        await enqueue_due(resources)
    return letters
