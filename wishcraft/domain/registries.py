"""A registry's vocabulary, and who may read one. Pure."""

import re
import unicodedata
from enum import StrEnum
from typing import Final

from wishcraft.domain.cached_registry import AccessLevel


class EventType(StrEnum):
    """What is celebrated."""

    WEDDING = "wedding"
    BABY = "baby"
    BIRTHDAY = "birthday"
    GRADUATION = "graduation"
    ANNIVERSARY = "anniversary"
    HOLIDAY = "holiday"
    HOUSEWARMING = "housewarming"
    GENERAL = "general"


class Visibility(StrEnum):
    """Who finds and opens a registry."""

    PUBLIC = "public"
    """Found by search."""
    UNLISTED = "unlisted"
    """Opened by its link."""
    PASSWORD = "password"  # noqa: S105  a kind of visibility
    """Opened with an access code."""
    PRIVATE = "private"
    """The registrant's alone."""


class RegistryStatus(StrEnum):
    """Where a registry stands in its life."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class ItemStatus(StrEnum):
    """Whether an item can be given."""

    ACTIVE = "active"
    OUT_OF_STOCK = "out_of_stock"
    DISCONTINUED = "discontinued"
    HIDDEN = "hidden"
    """The registrant took it from view; no reading from Shopify brings it back."""


class Priority(StrEnum):
    """How much the registrant wishes for it."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class PurchaseStatus(StrEnum):
    """Where a purchase stands; the first two are live, that is, count as purchased."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


SLUG: Final = re.compile(r"(?![0-9]+$)[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""What a registry's slug is made of; digits alone are an id."""
LONGEST_SLUG: Final = 200
MOST_REGISTRIES_PER_CUSTOMER: Final = 50
_WORDS_OF_SLUG: Final = 60
_SUFFIX: Final = "abcdefghijkmnpqrstuvwxyz23456789"
LIVE_PURCHASES: Final = frozenset({PurchaseStatus.PENDING, PurchaseStatus.CONFIRMED})
SHOWN_TO_GUESTS: Final = frozenset({RegistryStatus.ACTIVE, RegistryStatus.COMPLETED})


def make_slug(title: str, event_type: EventType, random: bytes) -> str:
    """A slug that can be read, and that nobody can guess: an unlisted registry is opened by whoever knows it.

    Args:
        title: Gives the words; letters lose their accents, and what is no letter or digit of ASCII is left out.
        event_type: Gives the word if the title has none, as when it is Japanese.
        random: 10 bytes give 50 bits.
    """
    plain = unicodedata.normalize("NFKD", title.lower()).encode("ascii", "ignore").decode().replace("'", "")
    words = re.sub(r"[^a-z0-9]+", "-", plain)[:_WORDS_OF_SLUG].strip("-") or event_type.value
    return f"{words}-{''.join(_SUFFIX[byte % len(_SUFFIX)] for byte in random)}"


def is_registry_ref(ref: str) -> bool:
    """Whether this has the form of a registry's id (ASCII digits) or slug; there may be no such registry."""
    return (ref.isascii() and ref.isdecimal()) or (len(ref) <= LONGEST_SLUG and SLUG.fullmatch(ref) is not None)


def access_level(visibility: Visibility, status: RegistryStatus) -> AccessLevel:
    """What a caller must bring to read the registry; one that is paused or archived is its registrant's alone."""
    if status not in SHOWN_TO_GUESTS or visibility is Visibility.PRIVATE:
        return AccessLevel.OWNER
    return AccessLevel.CODE if visibility is Visibility.PASSWORD else AccessLevel.OPEN
