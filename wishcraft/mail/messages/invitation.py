"""The content of an invitation to confirm an address: fixed words, one cleaned name, no other text of a customer."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from wishcraft.domain.plain_text import one_line
from wishcraft.domain.registries import EventType
from wishcraft.mail.messages.rendering import Content, Letterhead, format_date, render, text_colour_on

SUBJECT: Final = "Please confirm your e-mail address"
_MAX_NAME_LENGTH: Final = 60
_REGISTRIES: Final = {
    EventType.WEDDING: "a wedding registry",
    EventType.BABY: "a baby registry",
    EventType.BIRTHDAY: "a birthday registry",
    EventType.GRADUATION: "a graduation registry",
    EventType.ANNIVERSARY: "an anniversary registry",
    EventType.HOLIDAY: "a holiday registry",
    EventType.HOUSEWARMING: "a housewarming registry",
    EventType.GENERAL: "a gift registry",
}


@dataclass(frozen=True, slots=True)
class Invited:
    """What an invitation says of its registry."""

    event_type: EventType
    event_date: date | None
    first_name: str
    last_name: str
    """The registrant's names."""
    is_registrant: bool
    """Whether it goes to the registrant, to confirm the own address."""


@dataclass(frozen=True, slots=True)
class InvitationLinks:
    """The URLs in an invitation."""

    answer: str
    unsubscribe: str


def compose_invitation(letterhead: Letterhead, invited: Invited, links: InvitationLinks) -> Content:
    """The invitation of a registrant, or of a co-registrant whom the registrant named."""
    values = {
        "letterhead": letterhead,
        "text_on_colour": text_colour_on(letterhead.colour),
        "registry": registry_phrase(invited.event_type),
        "date": format_date(invited.event_date) if invited.event_date else None,
        "inviter": _inviter(invited),
        "is_registrant": invited.is_registrant,
        "links": links,
    }
    return Content(SUBJECT, render("invitation.txt", **values), render("invitation.html", **values))


def registry_phrase(event_type: EventType) -> str:
    """The registry by its event: `a wedding registry`."""
    return _REGISTRIES[event_type]


def _inviter(invited: Invited) -> str:
    """The registrant's name without digits: a telephone number is a link too, and strangers get this."""
    name = one_line(f"{invited.first_name} {invited.last_name}")
    name = one_line("".join(character for character in name if not character.isnumeric()))
    short = name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1].rstrip()}…"
    return short or "A customer"
