"""What a reminder says: its subject, its text and its HTML. To whom and when is decided elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from wishcraft.domain.registries import Priority
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts, registry_payload
from wishcraft.mail.messages.rendering import ink_on, render

SHOWN_WISHES: Final = 5
_ORDER: Final = {priority: place for place, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True)
class Letterhead:
    """How a shop's mails look; `colour` is `#rrggbb`."""

    shop: str
    colour: str


@dataclass(frozen=True, slots=True)
class Links:
    """Where a mail leads to."""

    registry: str
    unsubscribe: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail says, in both of its forms."""

    subject: str
    text: str
    html: str


def compose_reminder(
    letterhead: Letterhead, registry: RegistryFacts, items: Sequence[ItemFacts], today: date, links: Links
) -> Content:
    """The reminder of an event that is `today` or later, for all of its registrants alike."""
    assert registry.event_date  # noqa: S101  there is no reminder without a date
    answer = registry_payload(registry, items)
    when = countdown((registry.event_date - today).days)
    wishes = _open_wishes(answer["items"])
    values = {
        "letterhead": letterhead,
        "ink": ink_on(letterhead.colour),
        "names": _in_words([name for name in answer["registrants"] if name]),
        "title": " ".join(registry.title.split()),
        "when": when,
        "date": in_words(registry.event_date),
        "percent": answer["progress"]["percent"],
        "wanted": answer["progress"]["wanted"],
        "given": answer["progress"]["wanted"] - sum(item["remaining"] for item in answer["items"]),
        "currency": registry.currency,
        "wishes": wishes[:SHOWN_WISHES],
        "more": len(wishes[SHOWN_WISHES:]),
        "links": links,
    }
    return Content(
        subject=f"{when}: {values['title']}",
        text=render("reminder.txt", **values),
        html=render("reminder.html", **values),
    )


def countdown(days_left: int) -> str:
    """When it is, as a subject begins: `Today`, `Tomorrow`, `In 7 days`."""
    return {0: "Today", 1: "Tomorrow"}.get(days_left, f"In {days_left} days")


def in_words(day: date) -> str:
    """A date as it is written out: `Saturday, 14 March 2026`."""
    return f"{day:%A}, {day.day} {day:%B %Y}"


def _open_wishes(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What can still be given, the dearest wishes first."""
    wishes = [item for item in items if item["remaining"] and item["available"]]
    return sorted(wishes, key=lambda item: _ORDER[item["priority"]])


def _in_words(names: Sequence[str]) -> str:
    """The names as they are said: `Emma, Hugo and Yui`."""
    *others, last = names or ["there"]
    return f"{', '.join(others)} and {last}" if others else last
