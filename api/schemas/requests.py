"""Request bodies, with the limits of each field. Other bodies are answered 422 with the reason."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from api.schemas.demo import DEMO_ITEM, DEMO_VARIANTS
from api.schemas.examples import (
    CHANGED_ITEMS,
    CHANGED_REGISTRIES,
    CHANGED_SETTINGS,
    GUEST_EVENTS,
    NEW_ITEMS,
    NEW_KEYS,
    NEW_REGISTRIES,
    SUPPRESSED,
    RequestExamples,
)
from wishcraft.domain import access_codes
from wishcraft.domain.addresses import normalise
from wishcraft.domain.analytics_events import VISITOR_ID
from wishcraft.domain.api_keys import MAX_DAYS, MAX_GRACE_HOURS
from wishcraft.domain.callers import Scope
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.domain.invitations import InvitationStatus
from wishcraft.domain.networks import parse_network
from wishcraft.domain.registries import EventType, Priority, RegistryStatus, Visibility
from wishcraft.domain.storable_text import is_storable
from wishcraft.domain.text_forms import FAULTS, VARIANT_ID
from wishcraft.errors import invalid_parameter
from wishcraft.shopify.ids import from_global
from wishcraft.shopify.variants import MAX_DESCRIBED
from wishcraft.store.schema import ShopSettings

MAX_QUANTITY: Final = 1_000
_TIME: Final = (
    r"(?:19|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_VARIANT: Final = re.compile(r"[ \t]*(?:gid://shopify/ProductVariant/)?([0-9]{1,19})[ \t]*", re.ASCII)


_SELECTORS: Final = r"\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Variation selectors, which choose the form of an emoji or of an ideograph."""
_INVISIBLE: Final = re.compile(
    # Zero-width spaces and marks, byte-order marks, bidirectional controls, line and paragraph separators, controls of
    # scripts and music, tags that are not of a flag, halves of a surrogate pair.
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff]"
    r"|[\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\ud800-\udfff]"
    r"|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]|[\U000e0080-\U000e00ff\U000e01f0-\U000e0fff]"
    # A zero-width joiner belongs between two visible characters, as in Persian and in emoji; in Latin, Greek and
    # Cyrillic it does nothing.
    r"|(?:^|[\s!-~\u00a0-\u052f\u1e00-\u1fff])[\u200c\u200d]|[\u200c\u200d](?:$|[\s\u200c\u200d])"
    # A variation selector follows a symbol or an ideograph; those of Mongolian a letter of it.
    rf"|(?:^|[\s{_SELECTORS}\u0300-\u036f]|(?![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u1000-\u109f])[^\W\d_])"
    rf"[{_SELECTORS}]"
    r"|(?<![\u1800-\u18af])[\u180b-\u180d\u180f]"
)


def _printable(text: str) -> str:
    if text.isascii() and text.isprintable():  # most are, and the searches below take longer than all other checks
        return text
    if any(character < " " and character not in "\n\t" for character in text) or re.search("[\x7f-\x9f]", text):
        raise ValueError("contains control characters: leave them out")
    if _INVISIBLE.search(text):
        raise ValueError("contains invisible characters, or such that change the direction of text: leave them out")
    return text


def storable_text(text: str) -> str:
    """A text to search for.

    Raises:
        ValueError: No text that is stored has all of its characters.
    """
    if not is_storable(text):
        raise ValueError("has a NUL character, or half of a surrogate pair: leave it out")
    return text


def _date_text(value: object) -> object:
    """A date of ISO 8601; pydantic would also take a number, for a time."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("is not a date such as 2027-06-12")
    return value


def _time_text(value: object) -> object:
    """A time of RFC 3339; pydantic would also take a number, or a time without an offset."""
    if not isinstance(value, str) or not re.fullmatch(_TIME, value):
        raise ValueError("is not a time with its offset, such as 2027-06-12T08:00:00Z")
    return value


def _variant_id(value: object) -> object:
    """The number of a global id, or of digits in quotes: attributes of HTML, where themes keep ids, are texts."""
    if isinstance(value, str):
        match = _VARIANT.fullmatch(value)
        return int(match[1]) if match else from_global("ProductVariant", value)
    if type(value) is not int:
        raise ValueError(FAULTS[VARIANT_ID])
    return value


def parse_variant_ids(texts: Sequence[str]) -> list[int]:
    """The distinct ids in these lists of numbers and global ids, separated by commas, in their order.

    Raises:
        Invalid: One is not the id of a variant, or there are none, or more than `MAX_DESCRIBED`.
    """
    ids: dict[int, None] = {}
    for text in ",".join(texts).split(","):
        match = _VARIANT.fullmatch(text)
        if match is None or not 1 <= (number := int(match[1])) <= LARGEST_ID:
            detail = f"{text[:60]!r} is not a variant's id, such as 1 or gid://shopify/ProductVariant/1."
            raise invalid_parameter("ids", detail)
        ids[number] = None
        if len(ids) > MAX_DESCRIBED:
            raise invalid_parameter("ids", f"there may be {MAX_DESCRIBED} at most. Send further ones separately.")
    return list(ids)


def _access_code(value: object) -> object:
    return access_codes.normalise(value) if isinstance(value, str) and len(value) <= access_codes.MAX_TYPED else value


def _address(text: str) -> str:
    if normalise(text) is None:
        raise ValueError("is not an e-mail address such as emma@example.com")
    return text.strip()


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60), AfterValidator(_printable)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
    AfterValidator(_printable),
    Field(examples=["Emma & Hugo's Wedding"], description="The title; guests search its words."),
]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2_000),
    AfterValidator(_printable),
    Field(examples=["Thank you for celebrating with us."], description="What guests read below the title."),
]
Place = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_printable)]
EventLocation = Annotated[
    Place | None, Field(examples=["The Orangery"], description="Where the event is. Only the registrant sees it.")
]
Notes = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=500),
    AfterValidator(_printable),
    Field(examples=["Any colour is lovely"], description="What guests read beside the item."),
]
Address = Annotated[
    str,
    Field(max_length=254, examples=["emma.reed@example.com"], description="Address of reminders."),
    AfterValidator(_address),
]
AccessCode = Annotated[
    str,
    Field(
        min_length=access_codes.MIN_LENGTH,
        max_length=access_codes.MAX_LENGTH,
        examples=["tulip-canoe-amber"],
        description="The code that guests enter. Only its hash is stored. Repetitions, sequences, the title and the "
        f"first words that one tries are refused. {access_codes.ADVICE}",
    ),
    BeforeValidator(_access_code),
]
WholeNumber = Annotated[int, Strict()]
"""A number of JSON; pydantic would also take a text with one, and true."""
VariantId = Annotated[
    WholeNumber,
    Field(ge=1, le=LARGEST_ID),
    BeforeValidator(_variant_id),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 1, "maximum": LARGEST_ID, "pattern": VARIANT_ID}),
]
Quantity = Annotated[WholeNumber, Field(ge=1, le=MAX_QUANTITY, examples=[2], description="How many pieces are wanted.")]
IsoDate = Annotated[date, BeforeValidator(_date_text)]
IsoTime = Annotated[datetime, BeforeValidator(_time_text)]
EventDate = Annotated[date, Field(ge=date(1900, 1, 1), le=date(2999, 12, 31)), BeforeValidator(_date_text)]
EventDay = Annotated[
    EventDate | None,
    Field(examples=["2027-06-12"], description="Day in the shop's time zone, from 1900 to 2999; null: not known."),
]
TypeOfEvent = Annotated[EventType, Field(description="Type of the event.")]
WhoFinds = Annotated[Visibility, Field(description="Who finds and opens the registry; `password` needs `access_code`.")]
PriorityField = Annotated[Priority, Field(description="How much the registrant wants it.")]
Network = Annotated[str, Field(max_length=50, examples=["203.0.113.0/24"]), AfterValidator(parse_network)]


def _with(examples: RequestExamples) -> ConfigDict:
    """The configuration of a model with these examples."""
    return ConfigDict(json_schema_extra={"examples": [each["value"] for each in examples.values()]})


class RequestModel(BaseModel):
    """Base of all request bodies: unknown fields are refused, so that a misspelt name is not ignored."""

    model_config = ConfigDict(extra="forbid")


class Person(RequestModel):
    """A registrant or co-registrant, who gets reminders once the address is confirmed. Guests see first names only."""

    first_name: Name = Field(examples=["Emma"], description="First name, which guests see.")
    last_name: Name = Field(examples=["Reed"], description="Last name, which guests do not see.")
    email: Address
    status: InvitationStatus | None = Field(None, exclude=True, description="Ignored: answers have it.")


_UNNAMED: Final = Person(first_name="Emma", last_name="Reed", email="emma.reed@example.com")
"""Default of a registrant that a change leaves out; it is never stored."""
CoRegistrants = Annotated[
    list[Person], Field(max_length=4, description="Further people who get reminders; guests see their first names.")
]


class NewRegistry(RequestModel):
    """A new registry."""

    model_config = _with(NEW_REGISTRIES)

    title: Title
    description: Description = ""
    event_type: TypeOfEvent
    event_date: EventDay = None
    event_location: EventLocation = None
    visibility: WhoFinds = Visibility.PUBLIC
    access_code: AccessCode | None = None
    registrant: Person = Field(description="Who owns the registry.")
    co_registrants: CoRegistrants = []


class ChangedEvent(RequestModel):
    """The fields of the event to change."""

    type: TypeOfEvent = EventType.GENERAL
    date: EventDay = None


class ChangedRegistry(RequestModel):
    """The fields to change. Fields that are left out keep their values."""

    model_config = _with(CHANGED_REGISTRIES)

    title: Title = Field("", description="The new title.")
    description: Description = ""
    event: ChangedEvent = Field(ChangedEvent(), description="As answers have it.")
    event_type: EventType = Field(EventType.GENERAL, description="As `event.type`.")
    event_date: EventDate | None = Field(None, description="As `event.date`.")
    event_location: EventLocation = None
    visibility: WhoFinds = Visibility.PUBLIC
    access_code: AccessCode | None = None
    status: RegistryStatus = Field(
        RegistryStatus.ACTIVE, description="`archived` hides it from all but its registrant."
    )
    registrant: Person = Field(_UNNAMED, description="Who owns the registry.")
    co_registrants: CoRegistrants = []

    @model_validator(mode="after")
    def _check_names(self) -> "ChangedRegistry":
        event = {f"event_{name}" for name in self.event.model_fields_set} if "event" in self.model_fields_set else set()
        if twice := sorted(event & self.model_fields_set):
            raise ValueError(f"has {' and '.join(twice)} a second time in event: send one of the two")
        return self


class NewItem(RequestModel):
    """A new item."""

    model_config = _with(NEW_ITEMS)

    variant_id: VariantId = Field(
        examples=[DEMO_VARIANTS[0]],
        description="Shopify's variant id: a number, also as a text, or `gid://shopify/ProductVariant/1`.",
    )
    quantity: Quantity = 1
    priority: PriorityField = Priority.MEDIUM
    notes: Notes = ""


class ChangedItem(RequestModel):
    """The fields to change. Fields that are left out keep their values."""

    model_config = _with(CHANGED_ITEMS)

    wanted: Quantity = Field(1, description="As answers have it.")
    quantity: Quantity = Field(1, description="As `wanted`.")
    priority: PriorityField = Priority.MEDIUM
    notes: Notes = ""
    display_order: WholeNumber = Field(
        0, ge=0, le=100_000, examples=[10], description="Items are listed in ascending order."
    )

    @model_validator(mode="after")
    def _check_names(self) -> "ChangedItem":
        if {"wanted", "quantity"} <= self.model_fields_set:
            raise ValueError("has wanted and quantity, which are the same: send one of the two")
        return self


class Unlocking(RequestModel):
    """The access code that a guest entered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"access_code": "tulip-canoe-amber"}]})

    access_code: str = Field(
        max_length=access_codes.MAX_TYPED, examples=["tulip-canoe-amber"], description="As the guest typed it."
    )


class GuestEvent(RequestModel):
    """An event of a guest. Purchases come from Shopify, not from here."""

    type: Literal["registry_viewed", "item_clicked", "added_to_cart"] = Field(description="What the guest did.")
    item_id: WholeNumber | None = Field(
        None,
        ge=1,
        le=LARGEST_ID,
        examples=[DEMO_ITEM],
        description="The item that was clicked or put into the cart: `item_clicked` and `added_to_cart` need it.",
    )

    @model_validator(mode="after")
    def _check_item(self) -> "GuestEvent":
        if self.type != "registry_viewed" and self.item_id is None:
            raise ValueError(f"has no item_id, the id of the item that {self.type} is about")
        return self


class GuestEvents(RequestModel):
    """A batch of one guest's events. `visitor_id` is any id that does not identify the person."""

    model_config = _with(GUEST_EVENTS)

    visitor_id: str = Field(
        min_length=1,
        max_length=64,
        pattern=VISITOR_ID,
        examples=["b7c1d2"],
        description="The same for all events of one visit; a random id.",
    )
    events: list[GuestEvent] = Field(min_length=1, max_length=50, description="In the order in which they happened.")


class NewKey(RequestModel):
    """A new API key."""

    model_config = _with(NEW_KEYS)

    name: Title = Field(examples=["our web shop"], description="What the key is for.")
    scopes: list[Scope] = Field(
        min_length=1, max_length=len(Scope), description="What it permits; `write` includes `read`."
    )
    ip_allow_list: list[Network] = Field(
        [], max_length=50, description="Addresses and networks that may use the key; empty: all."
    )
    days: WholeNumber | None = Field(
        None, ge=1, le=MAX_DAYS, examples=[90], description="Days until the key expires; it never expires if left out."
    )


class SuppressedAddress(RequestModel):
    """An address to which the shop sends no mail."""

    model_config = _with(SUPPRESSED)

    email: Address


class ChangedSettings(ShopSettings):
    """The settings to change. Settings that are left out keep their values."""

    model_config = _with(CHANGED_SETTINGS)

    effective_share_url: str | None = Field(None, exclude=True, description="Ignored: answers have it.")


class Rotation(RequestModel):
    """How long the old key stays valid."""

    grace_hours: WholeNumber = Field(
        24, ge=0, le=MAX_GRACE_HOURS, examples=[24], description="Hours for which the old key stays valid."
    )
