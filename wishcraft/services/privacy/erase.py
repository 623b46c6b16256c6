"""Erases a person, or a shop, from PostgreSQL, Redis and the files. Whatever is interrupted can be repeated."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.cache.erasure import forget_customers, forget_shop
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.batches import batches
from wishcraft.domain.people import Person, find_mentions, has_sign
from wishcraft.resources import Resources
from wishcraft.services.registries.lifecycle import remove
from wishcraft.services.registries.write import RegistryWrite, registry_write
from wishcraft.shopify.privacy_payloads import nameless
from wishcraft.store import customers, people, registries, shop_erasure, webhook_inbox
from wishcraft.store.audit_log import Actor
from wishcraft.store.people import NamedIn
from wishcraft.store.shops import ShopRef
from wishcraft.store.webhook_inbox import StoredPayload

EVER: Final = datetime.max.replace(tzinfo=UTC)
"""As `before`: whatever is there."""
_PAYLOADS: Final = 25
"""Read at once: each may have 4 MiB."""
_MAX_SIGNS: Final = 200
_REGISTRIES: Final = 500
_ROWS: Final = 5_000


class Erasure:
    """The erasure of people of one shop: look up, then apply in a write that has locked `registry_ids`."""

    def __init__(
        self,
        resources: Resources,
        shop: ShopRef,
        people: Sequence[Person],
        before: datetime = EVER,
        signs: Sequence[frozenset[bytes] | None] = (None,),
    ) -> None:
        """Only what was there before this moment is erased. Without `signs` of all people, each payload is parsed."""
        self._resources = resources
        self._shop = shop
        self.people = list(people)
        """After `look_up`: with the ids of customers who were merged into them."""
        self._before = before
        self._signs = signs
        self._payloads: dict[int, bytes | None] = {}
        self.registry_ids: frozenset[int] = frozenset()

    async def look_up(self) -> None:
        """Find the payloads and registries that are about the people, and the ids that were merged into theirs."""
        slugs: set[str] = set()
        async with self._resources.db.autocommit() as session:
            self.people = [await self._with_merged(session, person) for person in self.people]
            for person in self.people:
                found = await people.find_registries(session, self._shop.id, person, self._before)
                self.registry_ids |= {each.id for each in found}
                slugs |= {each.slug for each in found if each.is_owner}

        signs = self._all_signs(slugs)

        def is_theirs(stored: StoredPayload) -> bool:
            if signs is not None and not has_sign(stored.payload, signs):
                return False
            mentions = find_mentions(read_payload(stored.payload), self._shop.id)
            return any(mentions.are_of(person, slugs) for person in self.people)

        await self._find_payloads(is_theirs)

    async def delete_files(self) -> None:
        """Delete the files about the people.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        for person in self.people:
            for prefix in runs_of(self._shop, person):
                await asyncio.to_thread(self._resources.files.delete_runs, prefix)

    async def forget(self) -> None:
        """After the commit: delete what Redis has of the people besides registries.

        Raises:
            CacheUnavailable: Redis does not answer; it expires within minutes.
        """
        for person in self.people:
            await forget_customers(self._resources.redis, self._shop.id, person.customers)

    async def apply(self, write: RegistryWrite) -> list[dict[str, int]]:
        """Erase the people; what was changed about each, by kind."""
        await webhook_inbox.erase_payloads(write.session, self._payloads)
        return [await self._erase(write, person) for person in self.people]

    async def _with_merged(self, session: AsyncSession, person: Person) -> Person:
        merged = await customers.find_merged(session, self._shop.id, list(person.customers))
        return person._replace(customers=person.customers | merged)

    async def _find_payloads(self, is_theirs: Callable[[StoredPayload], bool]) -> None:
        async with self._resources.db.autocommit() as session:
            ids = await webhook_inbox.find_payloads(session, self._shop.domain, self._before)
        for some in batches(ids, _PAYLOADS):
            async with self._resources.db.autocommit() as session:
                batch = await webhook_inbox.read_payloads(session, some)
            for each in await asyncio.to_thread(lambda stored: list(filter(is_theirs, stored)), batch):
                self._payloads[each.id] = nameless(each.topic, read_payload(each.payload))

    def _all_signs(self, slugs: Collection[str]) -> set[bytes] | None:
        """What `has_sign` is to look for; None if that is not known, or too much."""
        numbers = {number for person in self.people for number in person.customers | person.orders}
        if None in self._signs or len(numbers) > _MAX_SIGNS:
            return None
        return {str(each).encode() for each in (*numbers, *slugs)}.union(*filter(None, self._signs))

    async def _erase(self, write: RegistryWrite, person: Person) -> dict[str, int]:
        shop_id = self._shop.id
        found = await people.find_registries(write.session, shop_id, person, self._before)
        if late := sorted({each.id for each in found} - write.locked.keys()):
            write.locked |= await registries.lock(write.session, shop_id, late)
        mine = [each for each in found if each.is_owner]
        named = [each for each in found if not each.is_owner]
        slugs = [each.slug for each in mine]
        counts = await people.erase(write.session, shop_id, person, self._before, slugs)
        for each in mine:
            await remove(write, each.id, counted_for=None)
            await write.changed(each.id)
        for each in named:
            await registries.update_columns(write.session, shop_id, each.id, _without(each))
            await write.changed(each.id)
        return {"registries": len(mine), "named in": len(named), **counts}


def _without(registry: NamedIn) -> dict[str, Any]:
    """The columns of another customer's registry that had the person."""
    values: dict[str, Any] = {"co_registrants": registry.co_registrants} if registry.names_them else {}
    return values | ({"customer_email": ""} if registry.is_contact else {})


async def erase_shop(resources: Resources, shop: ShopRef, kept: Sequence[int] = (), before: datetime = EVER) -> None:
    """Erase a shop but for its row, which `shop_erasure.delete` deletes, and its webhooks `kept`.

    From its begin the shop has not installed the app: no request and no job is served.

    Raises:
        CacheUnavailable: Redis does not answer; a repetition erases the rest.
        ConfigurationError: A file cannot be deleted.
    """
    async with resources.db.transaction() as session:
        await shop_erasure.end_installation(session, shop.id)
    for table in shop_erasure.TABLES:
        await _until_none(resources, partial(shop_erasure.delete_rows, table=table, shop_id=shop.id, most=_ROWS))
    actor = Actor(shop.id, "shop/redact")
    while True:
        async with resources.db.autocommit() as session:
            ids = await shop_erasure.find_registries(session, shop.id, _REGISTRIES)
        if not ids:
            break
        async with registry_write(resources, actor, ids, on_cache_down="refuse") as write:
            await registries.delete_many(write.session, shop.id, list(write.locked))
            for registry_id in write.locked:
                await write.changed(registry_id)
    await erase_payloads_of_shop(resources, shop.domain, kept, before)
    await forget_shop(resources.redis, shop.id)
    await asyncio.to_thread(resources.files.delete_runs, f"{shop_key(shop)}-")


async def erase_payloads_of_shop(
    resources: Resources, shop_domain: str, kept: Sequence[int] = (), before: datetime = EVER
) -> None:
    """Erase all payloads of a shop, known or not, but those of `kept`."""
    erase = partial(webhook_inbox.erase_payloads_of_shop, shop_domain=shop_domain, before=before, kept=kept, most=_ROWS)
    await _until_none(resources, erase)


async def _until_none(resources: Resources, erase: Callable[[AsyncSession], Awaitable[int]]) -> None:
    """Repeat it, each time in a transaction, until it returns 0."""
    while True:
        async with resources.db.transaction() as session:
            erased = await erase(session)
        if not erased:
            return


def read_payload(payload: bytes) -> Any:
    """The payload as JSON; as text if it is none."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")


def shop_key(shop: ShopRef) -> str:
    """Prefix of the names of runs with files about people of the shop: a hash, which names no person."""
    return address_hash(shop.id, shop.domain).hex()[:16]


def runs_of(shop: ShopRef, person: Person) -> list[str]:
    """The names of the runs with files about the person, one for each id; without one, for each contact."""
    keys: Sequence[str] = [address_hash(shop.id, str(each)).hex() for each in sorted(person.customers)]
    keys = keys or [contact.hex() for contact in sorted(person.contacts)]
    return [f"{shop_key(shop)}-{key[:32]}" for key in keys]


def details_of(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts for the audit log: those that are not 0."""
    return {name: count for name, count in counts.items() if count}
