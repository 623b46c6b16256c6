"""Ends a shop's mail to an address, for whoever holds the link that a mail brought."""

from typing import NamedTuple

from wishcraft.domain.unsubscribe import Subscription, derive_keys, read_token
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store import reminders, suppressions
from wishcraft.store.schema.mail import SuppressionReason


class UnsubscribeTarget(NamedTuple):
    """The shop that a link is about, as its page shows it."""

    subscription: Subscription
    shop: str
    colour: str


def unsubscribe_keys(settings: Settings) -> list[bytes]:
    """What signs unsubscribe links, the first, and what they may be signed with, all: they go with ENCRYPTION_KEYS."""
    return derive_keys([key.strip() for key in settings.encryption_keys.get_secret_value().split(",")])


async def find_unsubscribe_target(resources: Resources, settings: Settings, token: str) -> UnsubscribeTarget | None:
    """Whom the link is about; None if we signed no such link, or the shop is gone. Changes nothing."""
    subscription = read_token(token, unsubscribe_keys(settings))
    if subscription is None:
        return None
    async with resources.db.repeatable_read() as session:
        sender = await reminders.find_sender(session, subscription.shop_id)
    return UnsubscribeTarget(subscription, sender.name, sender.settings.brand_colour) if sender else None


async def unsubscribe(resources: Resources, subscription: Subscription) -> None:
    """Let the shop write to the address no more; doing it again changes nothing."""
    async with resources.db.transaction() as session:
        await suppressions.suppress(session, *subscription, SuppressionReason.UNSUBSCRIBE)
