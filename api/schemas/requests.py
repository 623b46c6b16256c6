"""What callers send, with the limits of each part. What has another shape is refused with 422 and the reason."""

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from wishcraft.domain.addresses import normalise
from wishcraft.domain.callers import Scope
from wishcraft.domain.networks import parse_networks
from wishcraft.domain.registries import EventType, Priority, RegistryStatus, Visibility

LARGEST_ID: Final = 2**63 - 1
MOST_QUANTITY: Final = 1_000
_DESCRIPTION: Final = "Thank you for celebrating with us."


def _printable(text: str) -> str:
    if any(character < " " and character not in "\n\t" for character in text) or "\x7f" in text:
        raise ValueError("has control characters")
    return text


def _address(text: str) -> str:
    if normalise(text) is None:
        raise ValueError("is no e-mail address")
    return text.strip()


def _network(text: str) -> str:
    networks = parse_networks(text)
    if len(networks) != 1 or "%" in text:  # an address with a zone names an interface of the caller's machine
        raise ValueError("is no address and no network")
    return str(networks[0])


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60), AfterValidator(_printable)]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), AfterValidator(_printable)
]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000), AfterValidator(_printable)]
Place = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_printable)]
Notes = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(_printable)]
Address = Annotated[str, Field(max_length=254), AfterValidator(_address)]
AccessCode = Annotated[str, Field(min_length=4, max_length=100, description="What guests type in; it is kept hashed.")]
Quantity = Annotated[int, Field(ge=1, le=MOST_QUANTITY)]
Network = Annotated[str, Field(max_length=50, examples=["203.0.113.0/24"]), AfterValidator(_network)]


class RequestModel(BaseModel):
    """Nothing is taken that nobody asked for: a name that is misspelt is not silently dropped."""

    model_config = ConfigDict(extra="forbid")

    def named(self) -> dict[str, Any]:
        """What the sender named, by name."""
        return self.model_dump(include=self.model_fields_set)


class Person(RequestModel):
    """Somebody who registers, and is reminded of the event. Guests are shown first names alone."""

    first_name: Name
    last_name: Name
    email: Address


class NewRegistry(RequestModel):
    """A registry to be created."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Emma & Hugo's Wedding",
                    "description": _DESCRIPTION,
                    "event_type": "wedding",
                    "event_date": "2027-06-12",
                    "event_location": "The Orangery",
                    "visibility": "public",
                    "registrant": {"first_name": "Emma", "last_name": "Reed", "email": "emma.reed@example.com"},
                    "co_registrants": [
                        {"first_name": "Hugo", "last_name": "Laurent", "email": "hugo.laurent@example.com"}
                    ],
                }
            ]
        }
    )

    title: Title
    description: Description = ""
    event_type: EventType
    event_date: date | None = None
    event_location: Place | None = Field(None, description="Shown to nobody but the registrant.")
    visibility: Visibility = Visibility.PUBLIC
    access_code: AccessCode | None = None
    registrant: Person
    co_registrants: list[Person] = Field([], max_length=4)


class ChangedRegistry(RequestModel):
    """What is to be different; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Emma & Hugo", "event_date": "2027-06-19"}]})

    title: Title = Field("", description="The new title.")
    description: Description = ""
    event_type: EventType = EventType.GENERAL
    event_date: date | None = None
    event_location: Place | None = None
    visibility: Visibility = Visibility.PUBLIC
    access_code: AccessCode | None = None
    status: RegistryStatus = RegistryStatus.ACTIVE
    registrant: Person | None = None
    co_registrants: list[Person] = Field([], max_length=4)


class NewItem(RequestModel):
    """A wish."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"variant_id": 40000010000003, "quantity": 2, "priority": "high"}]}
    )

    variant_id: int = Field(ge=1, le=LARGEST_ID, description="Shopify's id of the variant.")
    quantity: Quantity = 1
    priority: Priority = Priority.MEDIUM
    notes: Notes = ""


class ChangedItem(RequestModel):
    """What is to be different; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantity": 4}]})

    quantity: Quantity = 1
    priority: Priority = Priority.MEDIUM
    notes: Notes = ""
    display_order: int = Field(0, ge=0, le=100_000, description="Items are shown from the smallest on.")


class Unlocking(RequestModel):
    """What a guest typed in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"access_code": "open-sesame"}]})

    access_code: str = Field(max_length=100)


class GuestEvent(RequestModel):
    """What a guest did. Purchases are told by Shopify."""

    type: Literal["registry_viewed", "item_clicked", "added_to_cart"]
    item_id: int | None = Field(None, ge=1, le=LARGEST_ID)


class GuestEvents(RequestModel):
    """What a guest did, told in one go. `visitor_id` is any id that says nothing of who it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"visitor_id": "b7c1d2", "events": [{"type": "registry_viewed"}]}]}
    )

    visitor_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    events: list[GuestEvent] = Field(min_length=1, max_length=50)


class NewKey(RequestModel):
    """An API key to be created."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "our web shop", "scopes": ["read", "write"], "ip_allow_list": [], "days": 90}]
        }
    )

    name: Title
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    ip_allow_list: list[Network] = Field([], max_length=50, description="From where it may be used; empty: anywhere.")
    days: int | None = Field(None, ge=1, le=3_650, description="After how many days it expires; never, if left out.")


class Rotation(RequestModel):
    """How long the old key goes on being good."""

    grace_hours: int = Field(24, ge=0, le=24 * 30)
