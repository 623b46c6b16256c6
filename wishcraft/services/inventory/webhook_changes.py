"""Shared code of the webhooks about products and about stock: their times, and the changes of items."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from wishcraft.domain.webhooks import MAX_AHEAD, EventTime, event_time
from wishcraft.errors import CacheUnavailable, PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.store import item_readings
from wishcraft.store.item_readings import Observation, WishedVariant

_log: Final = logging.getLogger(__name__)


def read_event_time(message: Message, updated_at: datetime | None) -> EventTime:
    """The time of the event: that in the payload, and Shopify's of the webhook.

    Raises:
        PayloadInvalid: There is none, or it is in the future.
    """
    time = event_time(updated_at, message.triggered_at)
    if time is None:
        raise PayloadInvalid("There is no updated_at, and no X-Shopify-Triggered-At.")
    if time.updated_at > message.received_at + MAX_AHEAD:
        raise PayloadInvalid("Its time is in the future.")
    return time


async def mark_outdated(resources: Resources, shop_id: int, variants: Mapping[int, datetime]) -> None:
    """Drop what Redis has of these variants. Before the commit: from then on, no look-up finds what is older."""
    try:
        if variants:
            await resources.variants.mark_outdated(shop_id, variants)
    except CacheUnavailable as error:
        _log.info("Outdated facts of variants were not dropped, they expire by themselves: %s", error)


def registries_of(found: Iterable[WishedVariant]) -> frozenset[int]:
    """The registries that have one of these variants."""
    return frozenset(registry_id for variant in found for registry_id in variant.registry_ids)


async def apply_observations(write: RegistryWrite, shop_id: int, observations: Sequence[Observation]) -> None:
    """Store what was observed of the items' variants; registries that show a change get a new version."""
    if observations:
        changed = await item_readings.apply_observations(write.session, shop_id, write.locked, observations)
        for registry_id in {each.registry_id for each in changed if each.is_visible}:
            write.changed(registry_id)
