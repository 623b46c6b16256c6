"""Claims of orders keep no slug of a registry that is gone: it has a part of the title, and may name a person."""

from tests.support.aliases import Demo
from tests.support.erased_person import handle, receive, redact
from tests.support.webhooks import line, order
from wishcraft.resources import Resources
from wishcraft.services.registries.lifecycle import remove
from wishcraft.services.registries.write import registry_write
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef


async def test_new_order_that_claims_an_erased_registry_does_not_bring_its_slug_back(
    demo: Demo, resources: Resources, planted: str
) -> None:
    await redact(demo, resources)
    claims = [{"name": "_registry", "value": planted}]
    late = order([line(91500, 1)], number=9150, note_attributes=claims, customer=None, email=None)
    receive(demo, "orders/create", late)
    receive(demo, "orders/create", order([line(91510, 1, claim=planted)], number=9151, customer=None, email=None))
    receive(demo, "orders/updated", late | {"updated_at": "2027-11-28T12:00:00Z"})
    await handle(resources, demo)
    kept = demo.execute("SELECT claim FROM unmatched_lines WHERE order_id IN (9150, 9151)").fetchall()
    assert kept == [("",), ("",)]


async def test_deleted_registry_takes_its_slug_out_of_claims(
    demo: Demo, resources: Resources, shop: ShopRef, planted: str
) -> None:
    claims = "SELECT claim FROM unmatched_lines WHERE order_id = 9103"
    assert demo.execute(claims).fetchall() == [(planted,)]
    row = demo.execute("SELECT id FROM registries WHERE slug = %s", [planted]).fetchone()
    assert row
    async with registry_write(resources, Actor(shop.id, "test"), [row[0]], on_cache_down="refuse") as write:
        await remove(write, row[0], counted_for=None)
        write.changed(row[0])
    assert demo.execute(claims).fetchall() == [("",)]
