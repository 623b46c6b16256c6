"""Unsubscribes an e-mail address from a shop's mail by a signed link, and undoes it."""

from typing import Final, NamedTuple

from wishcraft.domain.addresses import address_hash, mask
from wishcraft.domain.languages import Language
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.domain.signing import derive_keys
from wishcraft.domain.unsubscribe import PURPOSE, Subscription, make_token, read_token
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store import audit_log, shops, suppressions
from wishcraft.store.audit_log import Actor, Origin

LIFTED_BY_LINK: Final = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.BOUNCE)
"""Reasons that a recipient can end: a mail came back, but the link of another one has arrived."""
_ACTOR: Final = "unsubscribe link"


class UnsubscribeTarget(NamedTuple):
    """Content of an unsubscribe page: the subscription, whether it has ended, and its shop's name, colour, language."""

    subscription: Subscription
    shop: str
    colour: str
    language: Language
    suppressed: SuppressionReason | None


def unsubscribe_keys(settings: Settings) -> list[bytes]:
    """Return the signing keys, derived from ENCRYPTION_KEYS: the first signs links, all verify them."""
    return derive_keys(settings.encryption_secrets, PURPOSE)


def unsubscribe_link(settings: Settings, shop_id: int, recipient: str) -> str:
    """Return the link that ends the shop's mail to the recipient.

    Raises:
        ConfigurationError: PUBLIC_URL is not set.
    """
    subscription = Subscription(shop_id, address_hash(shop_id, recipient), mask(recipient))
    return settings.public_link(f"/api/unsubscribe/{make_token(subscription, unsubscribe_keys(settings)[0])}")


async def find_unsubscribe_target(resources: Resources, settings: Settings, token: str) -> UnsubscribeTarget | None:
    """Return the target of a link's token; None if its signature is wrong or the shop no longer exists. Read-only."""
    subscription = read_token(token, unsubscribe_keys(settings))
    if subscription is None:
        return None
    async with resources.db.repeatable_read() as session:
        sender = await shops.find_sender(session, subscription.shop_id)
        reason = await suppressions.find_reason(session, subscription.shop_id, subscription.address_hash)
    if sender is None:
        return None
    own = sender.settings
    return UnsubscribeTarget(subscription, sender.name, own.brand_colour, own.language, reason)


async def unsubscribe(resources: Resources, subscription: Subscription, origin: Origin) -> None:
    """Suppress all further mail of the shop to the address. Idempotent."""
    shop_id, address = subscription.shop_id, subscription.address_hash
    async with resources.db.transaction() as session:
        if await suppressions.suppress(session, shop_id, address, SuppressionReason.UNSUBSCRIBE):
            await audit_log.record(
                session, Actor(shop_id, _ACTOR, origin), "mail.unsubscribed", "address", address.hex()
            )


async def undo_unsubscribe(resources: Resources, subscription: Subscription, origin: Origin) -> None:
    """Let the shop write to the address again, if it was unsubscribed or a mail came back from it. Idempotent."""
    shop_id, address = subscription.shop_id, subscription.address_hash
    async with resources.db.transaction() as session:
        if await suppressions.lift(session, shop_id, [address], LIFTED_BY_LINK):
            await audit_log.record(
                session, Actor(shop_id, _ACTOR, origin), "mail.resubscribed", "address", address.hex()
            )
