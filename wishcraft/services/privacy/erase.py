"""Erases a person, or a shop, from PostgreSQL, Redis and the files. Every interrupted step can be repeated."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.cache.erasure import delete_request_counters, delete_shop_keys
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.domain.people import Person, find_mentions, has_sign
from wishcraft.domain.webhooks import COMPLIANCE_TOPICS, MERGE, REDACT_SHOP
from wishcraft.errors import CacheUnavailable, PayloadInvalid, RegistriesChanged
from wishcraft.resources import Resources
from wishcraft.services.registries.lifecycle import remove
from wishcraft.services.registries.write import RegistryWrite, registry_write
from wishcraft.shopify.customer_payloads import Merge, read_merge
from wishcraft.shopify.privacy_payloads import without_people
from wishcraft.store import customers, people, registries, shop_erasure, webhook_payloads
from wishcraft.store.audit_log import Actor
from wishcraft.store.people import NamedIn
from wishcraft.store.shops import ShopRef
from wishcraft.store.webhook_payloads import StoredPayload

NO_LIMIT: Final = datetime.max.replace(tzinfo=UTC)
"""As `before`: no limit."""
_REGISTRIES: Final = 100
"""Deleted at once, with their items."""
_ROWS: Final = 5_000
_LATE: Final = 1_000
"""Ids that other transactions have taken, at most, before one that is committed before them."""


class Erasure:
    """The erasure of people of one shop: look up, search the payloads, then apply in a write with `registry_ids`."""

    def __init__(
        self,
        resources: Resources,
        shop: ShopRef,
        people: Sequence[Person],
        before: datetime = NO_LIMIT,
        signs: Sequence[frozenset[bytes] | None] = (None,),
        webhooks: Collection[int] = (),
    ) -> None:
        """Only what was there before this moment is erased. Without `signs` of all people, each payload is parsed.

        `webhooks` are the ids of the redactions, which remember how far `search` has come.
        """
        self._resources = resources
        self._shop = shop
        self.people = list(people)
        """After `look_up`: with the ids of customers who were merged into them."""
        self._before = before
        self._signs = signs
        self._webhooks = webhooks
        self._slugs: set[str] = set()
        self.registry_ids: frozenset[int] = frozenset()

    async def look_up(self) -> None:
        """Find the registries that are about the people, and the ids that were merged into theirs."""
        async with self._resources.db.autocommit() as session:
            merges = await webhook_payloads.find_unhandled(session, self._shop.domain, [MERGE])
            waiting = [merge for each in merges if (merge := _merge_of(each.payload))]
            self.people = [await self._with_merged(session, person, waiting) for person in self.people]
            for person in self.people:
                found = await people.find_registries(session, self._shop.id, person, self._before)
                self.registry_ids |= {each.id for each in found}
                self._slugs |= {each.slug for each in found if each.is_owner}

    async def search(self) -> AsyncGenerator[None]:
        """Erase the payloads that are about the people; each step is committed.

        None is done twice but for the last ids before each beginning and end: ids are not committed in their order.
        """
        is_theirs = self._filter()
        async with self._resources.db.autocommit() as session:
            last = await webhook_payloads.find_searched(session, self._webhooks)
        await self._search_late(is_theirs, last)
        while found := await self._search_some(is_theirs, last):
            last = found
            yield
        await self._search_late(is_theirs, last)

    async def _search_late(self, is_theirs: Callable[[bytes], bool], up_to: int) -> None:
        """Search what may have been committed after the search had passed its id."""
        last: int | None = max(up_to - _LATE, 0)
        while last is not None and last < up_to:
            last = await self._search_some(is_theirs, last, up_to)

    async def _search_some(self, is_theirs: Callable[[bytes], bool], after: int, up_to: int = LARGEST_ID) -> int | None:
        """Search the next payloads after this id; up to which id, None if there are none."""
        db = self._resources.db
        async with db.autocommit() as session:
            batch = await webhook_payloads.find_payloads(session, self._shop.domain, self._before, after, up_to)
        if not batch:
            return None
        last = batch[-1].id
        erased = await asyncio.to_thread(self._erased, batch, is_theirs)
        async with db.transaction() as session:
            await webhook_payloads.erase_payloads(session, erased)
            await webhook_payloads.record_searched(session, self._webhooks, last)
        return last

    def _erased(self, stored: Sequence[StoredPayload], is_theirs: Callable[[bytes], bool]) -> dict[int, bytes | None]:
        """The reduced payloads, by id.

        One that is already reduced is left out: it still matches by order and would be replaced forever.
        """
        theirs = [each for each in stored if is_theirs(_to_compare(each))]
        left = {each.id: without_people(each.topic, read_payload(each.payload), self._slugs) for each in theirs}
        return {each.id: left[each.id] for each in theirs if left[each.id] != each.payload}

    async def delete_files(self) -> None:
        """Delete the files about the people: those that were handed over for them, and others that mention them.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        runs = {run for person in self.people for run in runs_of(self._shop, person)}

        def is_theirs(run: str, content: bytes) -> bool:
            return run in runs or self._mentions_them(content)

        await asyncio.to_thread(self._resources.files.delete_runs, f"{shop_key(self._shop)}-", is_theirs)

    async def delete_cached(self) -> None:
        """After the commit: delete what Redis has of the people besides registries.

        Raises:
            CacheUnavailable: Redis does not answer; it expires within minutes.
        """
        for person in self.people:
            await delete_request_counters(self._resources.redis, self._shop.id, person.customers)

    async def apply(self, write: RegistryWrite) -> list[dict[str, int]]:
        """Erase the people from the tables, after `search`; what was changed about each, by kind.

        Raises:
            RegistriesChanged: Further registries name them since the look-up.
        """
        await customers.hold_merges(write.session, self._shop.id)
        return [await self._erase(write, person) for person in self.people]

    async def _with_merged(self, session: AsyncSession, person: Person, waiting: Sequence[Merge]) -> Person:
        """The person with the ids of customers who were merged into them, also by webhooks that wait."""
        known, ids = frozenset[int](), person.customers
        while ids != known:
            known = ids
            ids |= await customers.find_merged(session, self._shop.id, list(known))
            ids |= {merge.deleted for merge in waiting if merge.kept in known}
        return person._replace(customers=ids)

    def _filter(self) -> Callable[[bytes], bool]:
        """Whether a payload is about the people."""
        if None in self._signs:
            return self._mentions_them
        signs = {each.encode() for each in self._slugs}.union(*filter(None, self._signs))
        numbers = {str(each).encode() for person in self.people for each in person.customers | person.orders}
        return lambda payload: has_sign(payload, signs, numbers) and self._mentions_them(payload)

    def _mentions_them(self, content: bytes) -> bool:
        mentions = find_mentions(read_payload(content), self._shop.id)
        return any(mentions.are_of(person, self._slugs) for person in self.people)

    async def _erase(self, write: RegistryWrite, person: Person) -> dict[str, int]:
        shop_id = self._shop.id
        found = await people.find_registries(write.session, shop_id, person, self._before)
        if not {each.id for each in found} <= write.locked.keys():
            # To wait for them now could be a deadlock: a writer locks its registries before all else.
            raise RegistriesChanged("Further registries name the person")
        mine = [each for each in found if each.is_owner]
        named = [each for each in found if not each.is_owner]
        counts = await people.erase(write.session, shop_id, person, self._before)
        for each in mine:
            await remove(write, each.id, counted_for=None)
            write.changed(each.id)
        for each in named:
            await registries.update_columns(write.session, shop_id, each.id, _without(each))
            write.changed(each.id)
        return {"registries": len(mine), "named in": len(named), **counts}


def _without(registry: NamedIn) -> dict[str, Any]:
    """The columns of another customer's registry that had the person."""
    values: dict[str, Any] = {"co_registrants": registry.co_registrants} if registry.names_them else {}
    return values | ({"customer_email": ""} if registry.is_contact else {})


async def erase_shop(
    resources: Resources, shop: ShopRef, kept: Sequence[int] = (), before: datetime = NO_LIMIT
) -> AsyncGenerator[None]:
    """Erase a shop that has not installed the app, but for its row and its webhooks `kept`; each step is committed.

    It ends early if the shop installs the app meanwhile. `delete_shop` deletes the row.

    Raises:
        CacheUnavailable: Redis does not answer; a repetition erases the rest.
        ConfigurationError: A file cannot be deleted.
    """
    erasures = [partial(shop_erasure.delete_rows, table=table, shop_id=shop.id) for table in shop_erasure.TABLES]
    payloads = partial(webhook_payloads.erase_payloads_of_shop, shop_domain=shop.domain, before=before, kept=kept)
    for erase in (*erasures, payloads):
        erased = 1
        while erased:
            async with resources.db.transaction() as session:
                if not await shop_erasure.keep_uninstalled(session, shop.id):
                    return
                erased = await erase(session, most=_ROWS)
            if erased:
                yield
    async for _ in _delete_registries(resources, shop):
        yield
    async with resources.db.transaction() as session:
        if not await shop_erasure.keep_uninstalled(session, shop.id):
            return  # what Redis and the files have of the shop is of the new installation, too
        await delete_shop_keys(resources.redis, shop.id)
        await asyncio.to_thread(resources.files.delete_runs, f"{shop_key(shop)}-")


async def _delete_registries(resources: Resources, shop: ShopRef) -> AsyncGenerator[None]:
    while True:
        async with resources.db.autocommit() as session:
            ids = await shop_erasure.find_registries(session, shop.id, _REGISTRIES)
        if not ids:
            return
        async with registry_write(resources, Actor(shop.id, REDACT_SHOP), ids, on_cache_down="refuse") as write:
            if not await shop_erasure.keep_uninstalled(write.session, shop.id):
                return
            await _delete_locked(write, list(write.locked))
        yield


async def hold_shop(write: RegistryWrite) -> bool:
    """Let all that adds rows of the write's shop wait for the end of the write; False if the shop is installed.

    What was added since `erase_shop` is locked first, as each change locks its registry before the shop.
    """
    await _lock_late(write)
    return await shop_erasure.keep_uninstalled(write.session, write.actor.shop_id, alone=True)


async def delete_shop(write: RegistryWrite) -> None:
    """Delete the row of the write's shop, which `hold_shop` holds, and what was added since `erase_shop`.

    Redis forgets the registries; call `delete_late_keys` after the commit.
    """
    shop_id = write.actor.shop_id
    late = await _lock_late(write)
    await _delete_locked(write, [each for each in late if each in write.locked])
    # The other tables' rows go with the shop's; entries of the audit log would stay without it.
    while await shop_erasure.delete_rows(write.session, "audit_logs", shop_id, _ROWS):
        pass
    await shop_erasure.delete_shop(write.session, shop_id)


async def _lock_late(write: RegistryWrite) -> list[int]:
    late = await shop_erasure.find_registries(write.session, write.actor.shop_id)
    await write.lock_more(set(late))
    return late


async def delete_late_keys(resources: Resources, shop: ShopRef) -> None:
    """If the shop is deleted, delete what Redis got of it since `erase_shop`; without Redis, it expires by itself.

    The gauge by which an alert says that complaints pause the shop's mail is deleted, too.
    """
    async with resources.db.autocommit() as session:
        is_deleted = await shop_erasure.find_installation(session, shop.id) is None
    if is_deleted:
        resources.counters.delete("mail_paused", shop=shop.domain)
        with suppress(CacheUnavailable):
            await delete_shop_keys(resources.redis, shop.id)


async def _delete_locked(write: RegistryWrite, registry_ids: Sequence[int]) -> None:
    await registries.delete_many(write.session, write.actor.shop_id, registry_ids)
    for registry_id in registry_ids:
        write.changed(registry_id)


async def work_for(seconds: float, steps: AsyncGenerator[None]) -> bool:
    """Do at least one step, and more for about `seconds`; whether all are done."""
    until = time.monotonic() + seconds
    async with aclosing(steps):
        async for _ in steps:
            if time.monotonic() >= until:
                return False
    return True


def _to_compare(stored: StoredPayload) -> bytes:
    """The payload, of a request about privacy without its telephone number.

    The last digits of a number may be another person's, and a request of theirs must not be lost.
    """
    content = read_payload(stored.payload) if stored.topic in COMPLIANCE_TOPICS else None
    if not isinstance(content, dict) or not isinstance(content.get("customer"), dict):
        return stored.payload
    return orjson.dumps(content | {"customer": content["customer"] | {"phone": None}})


def _merge_of(payload: bytes) -> Merge | None:
    with suppress(PayloadInvalid):
        content = read_payload(payload)
        return read_merge(content) if isinstance(content, dict) else None
    return None


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
    """The names of the runs that may have files about the person. New files go into the first."""
    ids = [address_hash(shop.id, str(each)).hex() for each in sorted(person.customers)]
    contacts = [each.hex() for each in sorted(person.contacts)]
    orders = [address_hash(shop.id, f"order/{each}").hex() for each in sorted(person.orders)]
    return [f"{shop_key(shop)}-{key[:32]}" for key in (*ids, *contacts, *orders)]


def details_of(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts for the audit log: those that are not 0."""
    return {name: count for name, count in counts.items() if count}
