"""The handler of the webhooks about products: titles, prices, policies, and whether a product is sold."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

from wishcraft.domain.batches import batches
from wishcraft.domain.inventory import VariantReading, VariantUpdate
from wishcraft.domain.webhooks import EventTime, WebhookOutcome
from wishcraft.errors import ShopifyRefused, ShopifyThrottled, ShopifyUnavailable, TransientError
from wishcraft.resources import Resources
from wishcraft.services.inventory.webhook_changes import (
    apply_observations,
    mark_outdated,
    read_event_time,
    registries_of,
)
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message, wait_for_shopify
from wishcraft.shopify.nodes import MAX_IDS
from wishcraft.shopify.product_payloads import read_deleted_product, read_product
from wishcraft.shopify.variants import read_variants
from wishcraft.store import item_readings, product_versions
from wishcraft.store.item_readings import Observation, observe
from wishcraft.store.product_versions import ProductVersion
from wishcraft.store.shops import ShopRef

DELETED: Final = "products/delete"
_LAST_FINGERPRINT: Final = 2**63 - 1
_log: Final = logging.getLogger(__name__)


class ProductUpdate(NamedTuple):
    """The newest webhook of a batch about one product."""

    message_id: int
    product_id: int
    time: EventTime
    variants: Mapping[int, VariantUpdate] | None
    """The first 100; None if the product was deleted."""

    @property
    def fingerprint(self) -> int:
        """A number of 64 bits that follows from the variants; the largest for a deletion."""
        if self.variants is None:
            return _LAST_FINGERPRINT
        said = repr(sorted(self.variants.items(), key=lambda each: each[0])).encode()
        return int.from_bytes(blake2b(said, digest_size=8).digest(), signed=True)

    def is_newer(self, other: "ProductUpdate") -> bool:
        """Whether it is the later event.

        Equal times are decided by the fingerprint, so the order of arrival does not matter.
        """
        return self.time > other.time or (self.time == other.time and self.fingerprint > other.fingerprint)


async def handle_products(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Handle `products/update` and `products/delete`: titles, prices, policies, and whether a product is sold.

    A wished-for variant that a payload lacks is read by id: it is beyond the first 100, or deleted. If it cannot be
    read now, its product's webhook fails, and no other.

    Raises:
        PayloadInvalid: As `read_product`.
    """
    updates, ignored = _read_products(messages)
    async with resources.db.autocommit() as session:
        found = await item_readings.find_of_products(session, shop.id, updates)
    wished = {variant.variant_id: variant for variant in found}
    outdated = {number: each.time.observed_at for each in updates.values() for number in each.variants or ()}
    outdated |= {number: updates[variant.product_id].time.observed_at for number, variant in wished.items()}
    await mark_outdated(resources, shop.id, outdated)
    missing = {
        number: updates[variant.product_id].time.observed_at
        for number, variant in wished.items()
        if (listed := updates[variant.product_id].variants) is not None and number not in listed
    }
    observations, failed = dict[int, Observation](), dict[int, TransientError]()
    try:
        read = await wait_for_shopify(_read_missing(resources, shop, missing))
        observations = {each.variant_id: each for each in read}
    except (ShopifyUnavailable, ShopifyThrottled) as error:
        unknown = {wished[number].product_id for number in missing}
        failed = {updates.pop(product_id).message_id: error for product_id in unknown}
        found = [each for each in found if each.product_id in updates]
        wished = {variant.variant_id: variant for variant in found}
    for number, variant in wished.items():
        product_update = updates[variant.product_id]
        if product_update.variants is None:
            observations[number] = observe(number, None, product_update.time.observed_at)
        elif facts := product_update.variants.get(number):
            values = {"deleted": False, **asdict(facts)}
            observations[number] = Observation(number, product_update.time.observed_at, values)
    products = {variant.product_id for variant in found}

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        versions = [ProductVersion(number, updates[number].time, updates[number].fingerprint) for number in products]
        saved = await product_versions.save(write.session, shop.id, versions) if versions else set()
        applied = [each for number, each in observations.items() if wished[number].product_id in saved]
        await apply_observations(write, shop.id, applied)
        if whole := [each for each in applied if each.is_whole]:
            await item_readings.record_readings(write.session, shop.id, write.locked, whole)
        past = [each.message_id for number, each in updates.items() if number not in saved]
        return dict.fromkeys([*ignored, *past], WebhookOutcome.IGNORED)

    return Effect(registries_of(found), apply, failed=failed)


def _read_products(messages: Sequence[Message]) -> tuple[dict[int, ProductUpdate], list[int]]:
    """The newest webhook of each product, by its id; and the ids of the other messages."""
    updates: dict[int, ProductUpdate] = {}
    ignored: list[int] = []
    for message in messages:
        if message.topic == DELETED:
            number = read_deleted_product(message.payload)
            each = ProductUpdate(message.id, number, read_event_time(message, None), None)
        else:
            product = read_product(message.payload)
            time = read_event_time(message, product.updated_at)
            each = ProductUpdate(message.id, product.product_id, time, product.variants)
        known = updates.get(each.product_id)
        if known is None or each.is_newer(known):
            updates[each.product_id] = each
            ignored += [known.message_id] if known else []
        else:
            ignored.append(message.id)
    return updates, ignored


async def _read_missing(resources: Resources, shop: ShopRef, missing: Mapping[int, datetime]) -> list[Observation]:
    """These variants, read now from Shopify. No reading is dated before the webhook that caused it (`missing`)."""
    observations: list[Observation] = []
    for ids in batches(sorted(missing), MAX_IDS):
        asked_at = datetime.now(UTC)
        try:
            readings: Mapping[int, VariantReading | None] = await read_variants(resources.shopify, shop.domain, ids)
        except ShopifyRefused as error:
            _log.warning(
                "%s: variants that a product's webhook lacks are left to the next sync: %s", shop.domain, error
            )
            return observations
        observations += [
            observe(number, reading, max(asked_at, missing[number])) for number, reading in readings.items()
        ]
    return observations
