"""A wished-for variant in PostgreSQL and in the simulator."""

from dataclasses import dataclass
from typing import Any

from deployments.sandbox.shopify.inventory import Variant
from tests.support.aliases import Demo


@dataclass(frozen=True, slots=True)
class Wished:
    """A tracked variant in stock that active registries wish for, and one of its items."""

    demo: Demo
    item_id: int
    slug: str
    variant: Variant

    def row(self, columns: str) -> tuple[Any, ...]:
        """These columns of the item."""
        query = f"SELECT {columns} FROM registry_items WHERE id = %s"  # noqa: S608  the test's own columns
        found = self.demo.execute(query.encode(), [self.item_id]).fetchone()
        assert found
        return found

    def holders(self) -> set[str]:
        """The slugs of the active registries that wish for the variant."""
        query = """SELECT r.slug FROM registries r JOIN registry_items i ON i.registry_id = r.id
                   WHERE i.variant_id = %s AND r.status = 'active'"""
        return {slug for (slug,) in self.demo.execute(query, [self.variant.variant_id])}


def versions(demo: Demo) -> dict[str, int]:
    """The versions of all registries, by slug."""
    return dict(demo.execute("SELECT slug, version FROM registries").fetchall())
