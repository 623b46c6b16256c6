"""The journal of erasures: what was erased, by numbers and hashes, so that a restored backup can be erased again.

Each entry is a file of `FILES_URL`, apart from PostgreSQL, written before the erasure commits.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from wishcraft.domain.people import Person
from wishcraft.errors import ConfigurationError
from wishcraft.files import ERASURES, FileStore
from wishcraft.resources import Resources
from wishcraft.services.privacy.erase import Erasure, delete_late_keys, delete_shop, erase_shop, hold_shop
from wishcraft.services.registries.write import registry_write
from wishcraft.store import shop_erasure, shops
from wishcraft.store.audit_log import Actor, record
from wishcraft.store.shops import ShopRef

ACTOR: Final = "replay-erasures"


class JournalEntry(NamedTuple):
    """An erasure, as its file in the journal records it."""

    name: str
    """Of its file: entries follow each other in the order of their names."""
    topic: str
    shop: str
    """The shop's domain."""
    shop_id: int
    at: datetime
    person: Person | None
    """None if the whole shop was erased."""


async def add(files: FileStore, entries: Iterable[JournalEntry]) -> None:
    """Add entries. One that was added before is replaced.

    Raises:
        ConfigurationError: The disk refuses it.
    """
    for entry in entries:
        await asyncio.to_thread(files.write, ERASURES, entry.name, _encode(entry))


def entry_name(received_at: datetime, webhook_id: int) -> str:
    """The name of the entry of a webhook: unique also if a restored database gives out its ids again."""
    return f"{received_at:%Y%m%dT%H%M%S%f}-{webhook_id}.json"


async def remove(files: FileStore, names: Iterable[str]) -> None:
    """Remove the entries of these names, as far as there are any: what they were to erase stays.

    Raises:
        ConfigurationError: The disk refuses it.
    """
    await asyncio.to_thread(files.delete_from, ERASURES, names)


async def find_person(files: FileStore, name: str) -> Person | None:
    """The erased person of the entry with this name; None without one.

    Raises:
        ConfigurationError: The file is not an entry, or cannot be read.
    """
    content = await asyncio.to_thread(files.read, ERASURES, name)
    return None if content is None else _decode(name, content).person


async def read(files: FileStore) -> list[JournalEntry]:
    """All entries, the oldest first.

    Raises:
        ConfigurationError: A file is not an entry.
    """
    found = await asyncio.to_thread(lambda: list(files.read_all(ERASURES)))
    return [_decode(name, content) for name, content in found]


async def replay(resources: Resources, entry: JournalEntry, *, dry_run: bool) -> dict[str, int]:
    """Erase again what was erased then and is there now; nothing that was added since.

    Returns:
        What was erased, by kind. A dry run: what would be, the registries alone.

    Raises:
        TransientError: A store does not answer, or registries have changed since the look-up.
    """
    async with resources.db.autocommit() as session:
        found = await shops.find_installed(session, entry.shop)
    if found is None or found.shop.id != entry.shop_id:  # erased as a whole, or not in the backup
        return {}
    shop = found.shop
    if entry.person is None:
        return await _replay_shop(resources, shop, entry, dry_run=dry_run)
    erasure = Erasure(resources, shop, [entry.person], entry.at)
    await erasure.look_up()
    if dry_run:
        return {"registries": len(erasure.registry_ids)}
    async for _ in erasure.search():
        pass
    await erasure.delete_files()
    actor = Actor(shop.id, ACTOR)
    async with registry_write(resources, actor, sorted(erasure.registry_ids), on_cache_down="refuse") as write:
        [counts] = await erasure.apply(write)
        if any(counts.values()):
            await record(write.session, actor, entry.topic, "erasure", entry.name, counts)
    return counts


async def _replay_shop(resources: Resources, shop: ShopRef, entry: JournalEntry, *, dry_run: bool) -> dict[str, int]:
    async with resources.db.autocommit() as session:
        if await shop_erasure.was_reinstalled(session, shop.id, entry.at):
            return {}
    if not dry_run:
        async with resources.db.transaction() as session:
            await shop_erasure.end_installation(session, shop.id, entry.at)
        async for _ in erase_shop(resources, shop, before=entry.at):
            pass
        actor = Actor(shop.id, ACTOR)
        async with registry_write(resources, actor, on_cache_down="refuse") as write:
            if not await hold_shop(write):
                return {}
            await record(write.session, actor, entry.topic, "erasure", entry.name)
            await delete_shop(write)
        await delete_late_keys(resources, shop)
    return {"shops": 1}


def _encode(entry: JournalEntry) -> bytes:
    content: dict[str, Any] = {"topic": entry.topic, "shop": entry.shop, "shop_id": entry.shop_id, "at": entry.at}
    if person := entry.person:
        content |= {
            "customers": sorted(person.customers),
            "orders": sorted(person.orders),
            "contacts": sorted(contact.hex() for contact in person.contacts),
        }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _decode(name: str, content: bytes) -> JournalEntry:
    try:
        found = orjson.loads(content)
        person = None
        if "customers" in found:
            contacts = frozenset(map(bytes.fromhex, found["contacts"]))
            person = Person(frozenset(found["customers"]), frozenset(found["orders"]), contacts)
        at = datetime.fromisoformat(found["at"])
        return JournalEntry(name, found["topic"], found["shop"], int(found["shop_id"]), at, person)
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"FILES_URL: {ERASURES}/{name} is not an entry of the journal of erasures") from None
