"""The handler of `customers/merge`: what named the customer who is gone names the one who was kept."""

from collections.abc import Mapping, Sequence

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import RegistriesChanged
from wishcraft.resources import Resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message
from wishcraft.shopify.customer_payloads import Merge, read_merge
from wishcraft.store import customers, registries
from wishcraft.store.shops import ShopRef


async def handle_merges(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Move registries and purchases to the customers who were kept, in any order of merges and orders.

    Raises:
        PayloadInvalid: As `read_merge`.
        RegistriesChanged: Raised by the effect if one of those who are gone got a registry since the look-up.
    """
    merges = {each.id: read_merge(each.payload) for each in messages}
    gone = {merge.deleted for merge in merges.values() if merge}
    async with resources.db.autocommit() as session:
        registry_ids = await customers.find_registries(session, shop.id, gone)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        await customers.hold_for_merge(write.session, shop.id, gone)
        if not await customers.find_registries(write.session, shop.id, gone) <= write.locked.keys():
            # To wait for them now could be a deadlock: a writer locks its registries before customers.
            raise RegistriesChanged("The customer has other registries than before")
        return {
            message_id: WebhookOutcome.IGNORED
            for message_id, merge in merges.items()
            if merge is None or not await _apply(write, shop.id, merge)
        }

    return Effect(frozenset(registry_ids), apply)


async def _apply(write: RegistryWrite, shop_id: int, merge: Merge) -> bool:
    """Apply the merge; False if it says that a customer became the same."""
    known = await customers.find_kept(write.session, shop_id, [merge.kept])
    kept = known.get(merge.kept, merge.kept)
    if kept == merge.deleted:
        return False
    await customers.keep(write.session, shop_id, merge.deleted, kept)
    ids = await customers.find_registries(write.session, shop_id, [merge.deleted])
    for registry_id in sorted(ids):
        await registries.update_columns(write.session, shop_id, registry_id, {"customer_id": kept})
        write.changed(registry_id, "registry.owner_merged")
    return True
