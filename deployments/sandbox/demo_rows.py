"""Demo rows of registries and items; the same for the same seed, size and day. Does not write them."""

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from argon2.low_level import Type, hash_secret

from deployments.sandbox.catalogue import CatalogueVariant, DemoShop, Row, catalogue
from deployments.sandbox.demo_guests import FIRST, LAST, GuestRowGenerator
from deployments.sandbox.shopify.images import image_url
from wishcraft.domain.inventory import VariantReading, is_available, item_status
from wishcraft.domain.invitations import InvitationAnswer
from wishcraft.domain.registries import LIVE_PURCHASES, EventType, Priority, RegistryStatus, Visibility
from wishcraft.store.schema.mail import MailState

ACCESS_CODE: Final = "tulip-canoe-amber"
"""Access code of all password-protected registries of the sandbox."""
LISTED_VARIANTS_PER_PRODUCT: Final = 1.5
"""Of about two per product, so that some variants are on no registry."""
ITEMS_PER_REGISTRY: Final = (9, 21)
_TITLES: Final = {
    EventType.WEDDING: "{a} & {b}'s Wedding",
    EventType.BABY: "Welcome, Baby {last}",
    EventType.BIRTHDAY: "{a}'s Birthday",
    EventType.GRADUATION: "{a} Graduates",
    EventType.ANNIVERSARY: "{a} & {b}: Our Anniversary",
    EventType.HOLIDAY: "The {last}s' Holiday Wishes",
    EventType.HOUSEWARMING: "{a} & {b}'s New Home",
    EventType.GENERAL: "{a}'s Wish List",
}
_FIXED_VISIBILITIES: Final = {0: Visibility.PUBLIC, 1: Visibility.PUBLIC, 3: Visibility.PASSWORD}
"""Visibility of the first registries of a shop, so that small data sets have each kind."""
_PLACES: Final = ("The Orangery", "At home", "Riverside Hall", "Botanical Garden", "Harbour House")
_NOTES: Final = (
    "",
    "",
    "",
    "Any colour is lovely",
    "For the new kitchen",
    "A second one would be welcome",
    "We love this one",
)


@dataclass(frozen=True)
class ShopRows:
    """All rows of one shop, by table."""

    registries: list[Row] = field(default_factory=list)
    items: list[Row] = field(default_factory=list)
    invitations: list[Row] = field(default_factory=list)
    reminders: list[Row] = field(default_factory=list)
    purchases: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)


class ShopRowGenerator:
    """Generates one shop's rows. Ids start after `first_id`, so that shops do not share ids."""

    def __init__(
        self, shop: DemoShop, seed: int, today: date, first_id: int, products: int = 160, origin: str = ""
    ) -> None:
        """Nothing is generated yet.

        Args:
            shop: The shop.
            seed: Seed of the random data.
            today: Reference date of the events.
            first_id: The id before the first.
            products: Number of products of the shop.
            origin: Origin of the shop's Admin API, where the simulator has the products' pictures.
        """
        self._shop = shop
        self._origin = origin
        self._rng = random.Random(f"{seed}:{shop.domain}:rows")  # noqa: S311  demo data
        self._attributions = random.Random(f"{seed}:{shop.domain}:attributions")  # noqa: S311  demo data
        self._today = today
        self._noon = datetime.combine(today, time(12), UTC)
        self._next_id = first_id
        self._guests = GuestRowGenerator(shop, seed, self._noon, self._id)
        self._variants = catalogue(shop, products)[: int(products * LISTED_VARIANTS_PER_PRODUCT)]
        salt = f"wishcraft-{shop.number:06}".encode()  # fixed, to be deterministic
        self._code_hash = hash_secret(ACCESS_CODE.encode(), salt, 2, 19_456, 1, 32, Type.ID).decode()

    def generate(self, numbers: Iterable[int]) -> ShopRows:
        """Rows of the registries with these numbers; numbers 0 and 1 have a reminder due today."""
        rows = ShopRows()
        for number in numbers:
            registry = self._registry(number)
            rows.registries.append(registry)
            rows.invitations.extend(self._invitations(number, registry))
            listed = self._rng.sample(self._variants, self._rng.randint(*ITEMS_PER_REGISTRY))
            items = [self._item(registry, variant, order) for order, variant in enumerate(listed)]
            reminders = self._guests.reminders(registry)
            purchases = self._guests.purchases(registry, items, reminded=bool(reminders))
            _set_purchased_quantities(items, purchases)
            rows.items.extend(items)
            rows.reminders.extend(reminders)
            rows.purchases.extend(purchases)
            rows.events.extend(self._guests.events(registry, items, purchases))
        return rows

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _registry(self, number: int) -> Row:
        rng = self._rng
        kind = rng.choice(list(EventType))
        a, b = rng.sample(FIRST, 2)
        last = rng.choice(LAST)
        days = (7, 1)[number] if number < 2 else rng.randint(-45, 120)  # noqa: PLR2004  the two with a reminder due
        status = self._status(days) if number >= 2 else RegistryStatus.ACTIVE  # noqa: PLR2004
        visibility = _FIXED_VISIBILITIES.get(number) or rng.choices(list(Visibility), (70, 12, 10, 8))[0]
        title = _TITLES[kind].format(a=a, b=b, last=last)
        created = self._noon - timedelta(days=rng.randint(50, 200), minutes=rng.randint(0, 1440))
        return {
            "id": self._id(),
            "shop_id": self._shop.number,
            "slug": _ascii(f"{a}-{last}-{kind}-{number + 1}"),
            "title": title,
            "description": f"Thank you for celebrating with us. {title}: here is what would make us happy.",
            "event_type": kind,
            "event_date": self._today + timedelta(days=days),
            "event_location": rng.choice(_PLACES),
            "visibility": visibility,
            "access_code_hash": self._code_hash if visibility is Visibility.PASSWORD else None,
            "customer_id": 7_000_000_000_000 + self._shop.number * 10_000_000 + number,
            "customer_email": _ascii(f"{a}.{last}{number + 1}@example.com"),
            "customer_first_name": a,
            "customer_last_name": last,
            "co_registrants": self._partner(kind, b, last, number),
            "status": status,
            "created_at": created,
            "updated_at": created,
        }

    def _partner(self, kind: EventType, first: str, last: str, number: int) -> list[dict[str, str]]:
        if "{b}" not in _TITLES[kind]:
            return []
        email = _ascii(f"{first}.{last}{number + 1}@example.com")
        return [{"first_name": first, "last_name": last, "email": email}]

    def _invitations(self, number: int, registry: Row) -> Iterator[Row]:
        """All have confirmed their address, but some co-registrants of later events, who wait for their mail."""
        waits = number % 5 == 2 and registry["event_date"] > self._today  # noqa: PLR2004  every fifth
        others = [each["email"] for each in registry["co_registrants"]]
        for order, recipient in enumerate((registry["customer_email"], *others)):
            is_pending = order > 0 and waits
            yield {
                "shop_id": self._shop.number,
                "registry_id": registry["id"],
                "recipient": recipient,
                "message_id": f"<invitation-{registry['id']}-{order}@{self._shop.domain}>",
                "state": MailState.PENDING if is_pending else MailState.SENT,
                "claimed_at": None if is_pending else registry["created_at"],
                "answer": None if is_pending else InvitationAnswer.CONFIRMED,
            }

    def _status(self, days: int) -> RegistryStatus:
        if days < 0:
            return self._rng.choice((RegistryStatus.COMPLETED, RegistryStatus.COMPLETED, RegistryStatus.ARCHIVED))
        return self._rng.choices((RegistryStatus.ACTIVE, RegistryStatus.PAUSED), (95, 5))[0]

    def _item(self, registry: Row, variant: CatalogueVariant, order: int) -> Row:
        reading = as_reading(variant)
        return {
            "id": self._id(),
            "shop_id": self._shop.number,
            "registry_id": registry["id"],
            "product_id": variant.product_id,
            "variant_id": variant.variant_id,
            "inventory_item_id": variant.inventory_item_id,
            "handle": variant.handle,
            "product_title": variant.product_title,
            "variant_title": variant.variant_title,
            "image": image_url(self._origin, variant.handle),
            "quantity_wanted": self._rng.choice((1, 1, 1, 2, 4, 6)),
            "priority": self._rng.choice(list(Priority)),
            "notes": self._rng.choice(_NOTES),
            "price": variant.price,
            "compare_at_price": variant.compare_at_price,
            "currency": self._shop.currency,
            "tracked": variant.tracked,
            "inventory_quantity": variant.quantity,
            "inventory_policy": variant.policy,
            "product_active": reading.product_active,
            "available": is_available(reading),
            "status": item_status(reading),
            "display_order": order,
            "created_at": registry["created_at"],
            "attribution": UUID(int=self._attributions.getrandbits(128), version=4),
        }


def _set_purchased_quantities(items: Sequence[Row], purchases: Iterable[Row]) -> None:
    """Set `quantity_purchased` from the live purchases."""
    bought = Counter[int]()
    for row in purchases:
        if row["status"] in LIVE_PURCHASES:
            bought[row["item_id"]] += row["quantity"]
    for item in items:
        item["quantity_purchased"] = bought[item["id"]]


def _ascii(words: str) -> str:
    return unicodedata.normalize("NFKD", words.lower()).encode("ascii", "ignore").decode()


def as_reading(variant: CatalogueVariant) -> VariantReading:
    """The variant's initial state as read from Shopify."""
    return VariantReading(
        variant_id=variant.variant_id,
        product_id=variant.product_id,
        inventory_item_id=variant.inventory_item_id,
        handle=variant.handle,
        product_title=variant.product_title,
        variant_title=variant.variant_title,
        price=variant.price,
        compare_at_price=variant.compare_at_price,
        tracked=variant.tracked,
        inventory_quantity=variant.quantity,
        inventory_policy=variant.policy,
        product_active=True,
    )
