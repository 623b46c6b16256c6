"""The content of a reminder: subject, text and HTML. It decides neither the recipients nor the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from wishcraft.domain.currencies import write_money
from wishcraft.domain.plain_text import one_line
from wishcraft.domain.registries import Priority
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts, registry_payload
from wishcraft.mail.messages.rendering import Content, Letterhead, format_date, render, text_colour_on

SHOWN_ITEMS: Final = 5
_ORDER: Final = {priority: position for position, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True)
class Links:
    """The URLs in a reminder."""

    registry: str
    unsubscribe: str


def compose_reminder(
    letterhead: Letterhead,
    registry: RegistryFacts,
    items: Sequence[ItemFacts],
    today: date,
    links: Links,
    *,
    to_registrant: bool,
) -> Content:
    """The reminder of an event on `today` or later, to the registrant or to a co-registrant."""
    assert registry.event_date  # noqa: S101  reminders exist only for registries with a date
    payload = registry_payload(registry, items)
    when = countdown((registry.event_date - today).days)
    open_items = _open_items(payload["items"])
    values = {
        "letterhead": letterhead,
        "text_on_colour": text_colour_on(letterhead.colour),
        "names": _join_names([name for name in map(one_line, payload["registrants"]) if name]),
        "title": one_line(registry.title),
        "when": when,
        "date": format_date(registry.event_date),
        "percent": payload["progress"]["percent"],
        "wanted": payload["progress"]["wanted"],
        "given": payload["progress"]["wanted"] - sum(item["remaining"] for item in payload["items"]),
        "items": [_shown_item(item, registry.currency) for item in open_items[:SHOWN_ITEMS]],
        "has_pictures": any(item["image"] for item in open_items[:SHOWN_ITEMS]),
        "more": len(open_items[SHOWN_ITEMS:]),
        "links": links,
        "reason": "you registered for gifts" if to_registrant else "you confirmed that you belong to a gift registry",
    }
    return Content(
        subject=f"{when}: {values['title']}",
        text=render("reminder.txt", **values),
        html=render("reminder.html", **values),
    )


def countdown(days_left: int) -> str:
    """The start of the subject: `Today`, `Tomorrow`, `In 7 days`."""
    return {0: "Today", 1: "Tomorrow"}.get(days_left, f"In {days_left} days")


def _open_items(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that can still be bought, the highest priority first."""
    open_items = [item for item in items if item["remaining"] and item["available"]]
    return sorted(open_items, key=lambda item: _ORDER[item["priority"]])


def _shown_item(item: dict[str, Any], currency: str) -> dict[str, Any]:
    texts = {name: one_line(item[name]) for name in ("product_title", "variant_title")}
    return item | texts | {"price": write_money(Decimal(item["price"]), currency)}


def _join_names(names: Sequence[str]) -> str:
    """The names as a phrase: `Emma, Hugo and Yui`; `there` without names."""
    *others, last = names or ["there"]
    return f"{', '.join(others)} and {last}" if others else last
