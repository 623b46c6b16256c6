"""Enumerations of registries and items, and slugs. Pure."""

import re
from enum import StrEnum
from typing import Final

from wishcraft.domain.folding import fold


class EventType(StrEnum):
    """Type of the event."""

    WEDDING = "wedding"
    BABY = "baby"
    BIRTHDAY = "birthday"
    GRADUATION = "graduation"
    ANNIVERSARY = "anniversary"
    HOLIDAY = "holiday"
    HOUSEWARMING = "housewarming"
    GENERAL = "general"


class Visibility(StrEnum):
    """Visibility of a registry: who finds and opens it."""

    PUBLIC = "public"
    """Found by search."""
    UNLISTED = "unlisted"
    """Opened by its link."""
    PASSWORD = "password"  # noqa: S105  a kind of visibility
    """Opened with an access code."""
    PRIVATE = "private"
    """The registrant's alone."""


class RegistryStatus(StrEnum):
    """Status of a registry; guests see active and completed ones."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class ItemStatus(StrEnum):
    """Status of an item."""

    ACTIVE = "active"
    OUT_OF_STOCK = "out_of_stock"
    DISCONTINUED = "discontinued"
    HIDDEN = "hidden"
    """Removed by the registrant; no reading from Shopify shows it again."""


class Priority(StrEnum):
    """Priority that the registrant gives an item."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class PurchaseStatus(StrEnum):
    """Status of a purchase; pending and confirmed ones count as purchased (`LIVE_PURCHASES`)."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


SLUG: Final = re.compile(r"(?![0-9]+$)[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""Format of a slug; digits alone are an id."""
MAX_SLUG_LENGTH: Final = 200
MAX_REGISTRIES_PER_CUSTOMER: Final = 50
_WORDS_OF_SLUG: Final = 60
_SUFFIX: Final = "abcdefghijkmnpqrstuvwxyz23456789"
LIVE_PURCHASES: Final = frozenset({PurchaseStatus.PENDING, PurchaseStatus.CONFIRMED})
SHOWN_TO_GUESTS: Final = frozenset({RegistryStatus.ACTIVE, RegistryStatus.COMPLETED})


def make_slug(title: str, event_type: EventType, random: bytes) -> str:
    """A readable slug with a random suffix: it must be unguessable, since a link opens an unlisted registry.

    Args:
        title: Source of the words; accents and all characters but ASCII letters and digits are removed.
        event_type: Used if no word is left, as with a Japanese title.
        random: 10 bytes give 50 bits.
    """
    plain = fold(title).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain)[:_WORDS_OF_SLUG].strip("-") or event_type.value
    return f"{words}-{''.join(_SUFFIX[byte % len(_SUFFIX)] for byte in random)}"


def is_registry_ref(ref: str) -> bool:
    """Whether this has the form of a registry's id (ASCII digits) or slug; there may be no such registry."""
    return (ref.isascii() and ref.isdecimal()) or (len(ref) <= MAX_SLUG_LENGTH and SLUG.fullmatch(ref) is not None)
