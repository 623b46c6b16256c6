"""Protocol of the handlers of webhooks: their arguments and results.

A handler takes webhooks of one shop, in the order of their receipt, which says nothing about the order of their events.
It looks up what it needs, from Shopify too, and returns an effect, which one transaction applies together with those of
other handlers and with the outcomes in the inbox. It may be called again for the same webhooks, after a failed try.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from wishcraft.domain.webhooks import MAX_AHEAD, WebhookOutcome
from wishcraft.errors import DecisionNeeded, PayloadInvalid, ShopifyUnavailable, TransientError
from wishcraft.resources import Resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.store.shops import ShopRef

SHOPIFY_SECONDS: Final = 15.0
"""How long a handler waits for Shopify."""
T = TypeVar("T")


class Message(NamedTuple):
    """A webhook to be handled."""

    id: int
    """Of its row in the inbox."""
    topic: str
    triggered_at: datetime | None
    """When its event happened, as Shopify says."""
    received_at: datetime
    payload: Mapping[str, Any]

    @property
    def happened_at(self) -> datetime:
        """When it happened; when it was received if the header, which is not signed, says nothing or a later day.

        An uninstallation in the future would refuse each installation until then.
        """
        triggered_at, received_at = self.triggered_at, self.received_at
        return triggered_at if triggered_at and triggered_at < received_at + MAX_AHEAD else received_at


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect of webhooks: the changes that they cause."""

    registry_ids: frozenset[int]
    """To lock before `apply`. They were found without a lock, so `apply` checks them again."""
    apply: Callable[[RegistryWrite], Awaitable[Mapping[int, WebhookOutcome]]]
    """Writes; returns the outcomes by message id, those not named are `APPLIED`. No calls to Shopify."""
    failed: Mapping[int, TransientError | PayloadInvalid | DecisionNeeded] = field(default_factory=dict)
    """Errors of single messages that were not handled, or not wholly, by id: they are tried again, or dead."""
    after_commit: Callable[[], Awaitable[None]] | None = None
    """Work that may be lost, such as dropping cache entries that expire by themselves. Exceptions are logged."""
    unfinished: frozenset[int] = frozenset()
    """The ids of messages that are partly done, and committed: they are due again at once. That is not a failure."""


class TakenByAnotherError(Exception):
    """Another consumer handles some of the messages."""


async def change_nothing(_write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
    """As `Effect.apply`: writes nothing."""
    return {}


Handler = Callable[[Resources, ShopRef, Sequence[Message]], Awaitable[Effect]]
"""Raises PayloadInvalid or DecisionNeeded for what no later try can handle, and TransientError if it can none now."""


async def wait_for_shopify(answer: Awaitable[T]) -> T:
    """Wait for an answer of Shopify, not for longer than a webhook may take.

    Raises:
        ShopifyUnavailable: It did not come within `SHOPIFY_SECONDS`.
    """
    try:
        return await asyncio.wait_for(answer, SHOPIFY_SECONDS)
    except TimeoutError:
        raise ShopifyUnavailable(f"no answer within {SHOPIFY_SECONDS:g} s") from None
