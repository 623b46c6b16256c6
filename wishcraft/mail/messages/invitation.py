"""The content of an invitation to confirm an address: fixed words, one cleaned name, no other text of a customer."""

import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

from markupsafe import Markup

from wishcraft.domain.languages import Language
from wishcraft.domain.mail_text import one_line
from wishcraft.domain.registries import EventType
from wishcraft.mail.messages.content import Content, Letterhead
from wishcraft.rendering.templates import render, text_colour_on
from wishcraft.rendering.translations import format_date, translate, translations

SUBJECT: Final = "Please confirm your e-mail address"
NAMELESS: Final = "A customer"
STATEMENTS: Final = {
    (True, True): "%(beginning)s was made at %(shop)s with this e-mail address, for an event on %(date)s.",
    (True, False): "%(beginning)s was made at %(shop)s with this e-mail address.",
    (False, True): "%(inviter)s named you in %(registry)s at %(shop)s, for an event on %(date)s.",
    (False, False): "%(inviter)s named you in %(registry)s at %(shop)s.",
}
"""By whether it goes to the registrant, and whether the day of the event is known."""
_MAX_NAME_LENGTH: Final = 60
REGISTRIES: Final = {
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
    """The registry as an invitation shows it."""

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
    language = letterhead.language
    sentence, facts = _state(letterhead, invited)
    values = {
        "letterhead": letterhead,
        "text_on_colour": text_colour_on(letterhead.colour),
        "is_registrant": invited.is_registrant,
        "links": links,
    }
    emphasised = facts | {"inviter": Markup("<strong>%s</strong>") % facts["inviter"]}
    return Content(
        subject=translate(language, SUBJECT),
        text=render("invitation.txt", language, statement=sentence % facts, **values),
        html=render("invitation.html", language, statement=Markup(sentence) % emphasised, **values),  # noqa: S704  ours
    )


def registry_phrase(event_type: EventType, language: Language) -> str:
    """The registry by its event: `a wedding registry`."""
    return translate(language, REGISTRIES[event_type])


def _state(letterhead: Letterhead, invited: Invited) -> tuple[str, dict[str, str]]:
    """The sentence that says what happened, where and when, and the values that it needs."""
    language, day = letterhead.language, invited.event_date
    registry = registry_phrase(invited.event_type, language)
    sentence: str = translations(language).gettext(STATEMENTS[invited.is_registrant, day is not None])
    return sentence, {
        "registry": registry,
        "beginning": f"{registry[:1].upper()}{registry[1:]}",
        "shop": letterhead.shop,
        "date": format_date(day, language) if day else "",
        "inviter": _inviter(invited, language),
    }


def _inviter(invited: Invited, language: Language) -> str:
    """The registrant's name without digits: a telephone number is a link too, and strangers get this."""
    name = one_line(f"{invited.first_name} {invited.last_name}")
    # By category: 一 and 三 are letters of many names, and mail programs dial none of them.
    name = one_line("".join(character for character in name if not unicodedata.category(character).startswith("N")))
    short = name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1].rstrip()}…"
    return short or translate(language, NAMELESS)
