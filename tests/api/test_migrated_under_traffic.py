"""Requests while a migration changes the types of columns: no connection keeps a statement that fails for it."""

from collections.abc import Callable, Iterator

import pytest

from deployments.sandbox.shopify.inventory import Variant
from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper
from tests.support.items import PATH, add

MIGRATED = {
    ("registries", "version"): ("integer", "bigint"),
    ("registries", "slug"): ("varchar", "text"),
    ("registry_items", "notes"): ("varchar", "text"),
    ("idempotency_keys", "created"): ("varchar", "text"),
}
"""The new type of each column, and the old one."""


@pytest.fixture
def migrate(demo: Demo) -> Iterator[Callable[[], None]]:
    """Changes the types, which are changed back at the end."""

    def change(version: int) -> None:
        for (table, column), types in MIGRATED.items():
            demo.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {types[version]}".encode())

    yield lambda: change(0)
    change(1)


async def test_requests_go_on_while_a_migration_changes_types(
    emma: Shopper, guest: Shopper, slug: str, variants: list[Variant], migrate: Callable[[], None]
) -> None:
    async def use(number: int) -> list[int]:
        """Each kind of request that runs prepared statements."""
        key = {"idempotency_key": f"key-{number}"}
        created = await emma.send("POST", PATH, WEDDING, **key)
        repeated = await emma.send("POST", PATH, WEDDING, **key)
        assert repeated.headers["location"] == created.headers["location"]
        item = await add(emma, slug, variants[number], idempotency_key=f"item-{number}")
        changed = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", {"quantity": 4}, if_match="*")
        own = created.headers["location"].rpartition("/")[2]
        renamed = await emma.send("PATCH", f"{PATH}/{own}", {"title": f"Number {number}"}, if_match="*")
        read, listed = await guest.read(own), await guest.send("GET", PATH)
        deleted = await emma.send("DELETE", f"{PATH}/{own}", if_match="*")
        return [each.status_code for each in (created, repeated, changed, renamed, read, listed, deleted)]

    before = await use(0)
    migrate()
    assert await use(1) == before == [201, 201, 200, 200, 200, 200, 204]


@pytest.mark.parametrize("kind", ["creation", "change", "read", "list"])
async def test_first_request_after_a_migration_is_answered(
    emma: Shopper, guest: Shopper, slug: str, variants: list[Variant], migrate: Callable[[], None], kind: str
) -> None:
    item = await add(emma, slug, variants[0])

    async def send(number: int) -> int:
        match kind:
            case "creation":
                return (await emma.send("POST", PATH, WEDDING)).status_code
            case "change":
                path, body = f"{PATH}/{slug}/items/{item.id}", {"quantity": number}
                return (await emma.send("PATCH", path, body, if_match="*")).status_code
            case "read":
                return (await emma.read(slug)).status_code
            case _:
                return (await guest.send("GET", PATH, sort="title", limit=str(number))).status_code

    before = await send(3)
    migrate()
    assert await send(4) == before
    assert before < 300
