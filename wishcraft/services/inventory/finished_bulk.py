"""The handler of `bulk_operations/finish`: it wakes the sync that waits for the operation."""

from collections.abc import Mapping, Sequence

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message
from wishcraft.shopify.ids import from_global, to_global
from wishcraft.store.shops import ShopRef


async def handle_finished_bulk(resources: Resources, _shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Signal the operations, after the commit: a signal that is lost costs the sync some seconds.

    Raises:
        PayloadInvalid: A payload names no bulk operation.
    """
    operations = [_operation(each) for each in messages]

    async def apply(_write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        return {}

    async def signal() -> None:
        for operation in operations:
            await resources.bulk_signals.send(operation)

    return Effect(frozenset(), apply, after_commit=signal)


def _operation(message: Message) -> str:
    try:
        number = from_global("BulkOperation", str(message.payload.get("admin_graphql_api_id")))
    except ValueError:
        raise PayloadInvalid("admin_graphql_api_id is not an id of a bulk operation.") from None
    return to_global("BulkOperation", number)
