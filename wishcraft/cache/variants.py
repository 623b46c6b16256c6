"""Facts of variants in Redis: their format, and the commands that read and store them.

No reading replaces a newer one, in any order of arrival.
"""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import orjson

from wishcraft.cache import keys, variant_scripts
from wishcraft.cache.client import Server
from wishcraft.cache.lua import Call
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import Quota
from wishcraft.domain.inventory import InventoryPolicy, VariantReading
from wishcraft.domain.times import from_microseconds, to_microseconds
from wishcraft.domain.variants import VariantFacts, VariantImage

FORMAT: Final = 2
"""Facts of another format count as missing: it says which fields a reading has."""
_BEGIN: Final = struct.Struct(">B8s")
_LAYOUT: Final = struct.Struct(">B8sQQI")  # the script STORE_FACTS reads and writes it
_OUTDATED: Final = b"-"
"""In place of a reading: what was known is outdated, and what was read before the same time is not stored."""
MARK_LIFETIME: Final = timedelta(minutes=5)
"""Longer than a query to Shopify takes, waiting for points included. What was read longer ago is not to be stored."""


class VariantCache:
    """The facts of all shops on one server. Every method raises CacheUnavailable when Redis does not answer."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def get(self, shop_id: int, variant_ids: Sequence[int]) -> dict[int, VariantFacts]:
        """The facts of these variants, fresh or not; those that are not there are left out."""
        prefix = keys.of_shop(shop_id).variant_prefix
        packed = await asyncio.gather(*(self._server.batched_reader.get(f"{prefix}{number}") for number in variant_ids))
        found = {number: self._unpack(raw) for number, raw in zip(variant_ids, packed, strict=True) if raw}
        return {number: facts for number, facts in found.items() if facts}

    async def current_era(self) -> bytes:
        """The era to store facts in: ask for it before Shopify."""
        with self._server.guard():
            await self._server.learn_era()
        return self._server.era

    async def store(
        self, shop_id: int, era: bytes, facts: Mapping[int, VariantFacts], quota: Quota
    ) -> dict[int, FillOutcome]:
        """Store these facts, part by part, unless newer ones are there; `era` is as before Shopify was asked.

        Facts without an image keep the one that is there. A shop at its quota stores no further ones.
        """
        shop = keys.of_shop(shop_id)
        calls: list[Call] = [
            {
                "facts": f"{shop.variant_prefix}{number}",
                "variant_index": shop.variant_index,
                "variant_sizes": shop.variant_sizes,
                "index": shop.index,
                "sizes": shop.sizes,
                "era": keys.ERA,
                "variant_id": number,
                "begin": _BEGIN.pack(FORMAT, era),
                "read_at": to_microseconds(each.observed_at),
                "reading": orjson.dumps(asdict(each.reading), default=str) if each.reading else b"",
                "image_read_at": to_microseconds(each.image.observed_at) if each.image else 0,
                "image": (each.image.url if each.image else None) or "",
                "ttl_ms": keys.spread(each.lifetime // keys.MILLISECOND),
                "max_entries": quota.entries,
                "max_bytes": quota.bytes,
                "index_ttl_ms": keys.INDEX_TTL_MS,
                "outdated": _OUTDATED,
            }
            for number, each in facts.items()
        ]
        replies = await self._server.run(variant_scripts.STORE_FACTS, calls)
        return {number: FillOutcome(reply.decode()) for number, reply in zip(facts, replies, strict=True)}

    async def mark_outdated(self, shop_id: int, variants: Mapping[int, datetime]) -> None:
        """Drop what was read of these variants, by id, before these times, and let none of it be stored any more."""
        shop = keys.of_shop(shop_id)
        begin = _BEGIN.pack(FORMAT, await self.current_era())
        calls: list[Call] = [
            {
                "facts": f"{shop.variant_prefix}{number}",
                "variant_index": shop.variant_index,
                "variant_sizes": shop.variant_sizes,
                "variant_id": number,
                "begin": begin,
                "read_at": to_microseconds(time) - 1,
                "mark": _OUTDATED,
                "ttl_ms": MARK_LIFETIME // keys.MILLISECOND,
            }
            for number, time in variants.items()
        ]
        await self._server.run(variant_scripts.MARK_FACTS, calls)

    def _unpack(self, raw: bytes) -> VariantFacts | None:
        """The stored facts; None if their era or format is another."""
        if raw[: _BEGIN.size] != _BEGIN.pack(FORMAT, self._server.era):
            return None
        _, _, read_at, image_read_at, length = _LAYOUT.unpack_from(raw)
        image, reading = raw[_LAYOUT.size : _LAYOUT.size + length], raw[_LAYOUT.size + length :]
        if reading == _OUTDATED:
            return None
        return VariantFacts(
            reading=_decode(reading) if reading else None,
            observed_at=from_microseconds(read_at),
            image=VariantImage(image.decode() or None, from_microseconds(image_read_at)) if image_read_at else None,
        )


def _decode(reading: bytes) -> VariantReading:
    values = orjson.loads(reading)
    was = values["compare_at_price"]
    changed = {
        "price": Decimal(values["price"]),
        "compare_at_price": None if was is None else Decimal(was),
        "inventory_policy": InventoryPolicy(values["inventory_policy"]),
    }
    return VariantReading(**values | changed)
