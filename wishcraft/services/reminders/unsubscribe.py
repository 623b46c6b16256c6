"""Unsubscribes an e-mail address from a shop's mail by a signed link."""

from typing import NamedTuple

from wishcraft.domain.unsubscribe import Subscription, derive_keys, read_token
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store import reminders, suppressions
from wishcraft.store.schema.mail import SuppressionReason


class UnsubscribeTarget(NamedTuple):
    """What an unsubscribe page shows: the subscription, and its shop's name and brand colour."""

    subscription: Subscription
    shop: str
    colour: str


def unsubscribe_keys(settings: Settings) -> list[bytes]:
    """Return the signing keys, derived from ENCRYPTION_KEYS: the first signs links, all verify them."""
    return derive_keys([key.strip() for key in settings.encryption_keys.get_secret_value().split(",")])


async def find_unsubscribe_target(resources: Resources, settings: Settings, token: str) -> UnsubscribeTarget | None:
    """Return the target of a link's token; None if its signature is wrong or the shop no longer exists. Read-only."""
    subscription = read_token(token, unsubscribe_keys(settings))
    if subscription is None:
        return None
    async with resources.db.repeatable_read() as session:
        sender = await reminders.find_sender(session, subscription.shop_id)
    return UnsubscribeTarget(subscription, sender.name, sender.settings.brand_colour) if sender else None


async def unsubscribe(resources: Resources, subscription: Subscription) -> None:
    """Suppress all further mail of the shop to the address. Idempotent."""
    async with resources.db.transaction() as session:
        await suppressions.suppress(session, *subscription, SuppressionReason.UNSUBSCRIBE)
