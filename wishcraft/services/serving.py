"""A registry's answer, from the cache or through it. Every byte that a guest sees of a registry is made here."""

from collections.abc import Sequence

import orjson

from wishcraft.cache.registries import Answer
from wishcraft.domain.answers import RegistryFacts, Sums, compose_answer
from wishcraft.domain.documents import Document
from wishcraft.domain.registries import gate
from wishcraft.resources import Resources
from wishcraft.store import answers
from wishcraft.store.engine import Database


async def read_registry(resources: Resources, shop_id: int, slug: str) -> Answer:
    """The shop's registry with this slug: from Redis if it is there, else from PostgreSQL, which then fills Redis."""

    async def load() -> Document | None:
        return (await load_documents(resources.db, shop_id, [slug])).get(slug)

    return await resources.cache.read(shop_id, slug, load)


async def load_documents(db: Database, shop_id: int, slugs: Sequence[str]) -> dict[str, Document]:
    """The answers as PostgreSQL has them now, by slug, in two queries; slugs that name nothing are left out."""
    async with db.snapshot() as session:
        found = await answers.find_parts(session, shop_id, slugs)
    return {registry.slug: _document(registry, items, sums) for registry, items, sums in found}


def _document(registry: RegistryFacts, items: str, sums: Sums) -> Document:
    return Document(
        version=registry.version,
        gate=gate(registry.visibility, registry.status),
        owner=registry.owner or 0,
        body=orjson.dumps(compose_answer(registry, orjson.Fragment(items), sums)),
    )
