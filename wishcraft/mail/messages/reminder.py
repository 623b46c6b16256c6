"""The content of a reminder: subject, text and HTML. It decides neither the recipients nor the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from wishcraft.domain.languages import Language
from wishcraft.domain.mail_text import one_line
from wishcraft.domain.registries import Priority
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts, registry_payload
from wishcraft.mail.messages.content import Content, Letterhead
from wishcraft.rendering.templates import render, text_colour_on
from wishcraft.rendering.translations import colon, format_date, format_money, join_names, translate

SHOWN_ITEMS: Final = 5
TODAY: Final = "Today"
TOMORROW: Final = "Tomorrow"
IN_DAYS: Final = "In %(days)d days"
HELLO: Final = "Hello %(names)s,"
HELLO_THERE: Final = "Hello there,"
REGISTERED: Final = "You get this because you registered for gifts at %(shop)s."
CONFIRMED: Final = "You get this because you confirmed that you belong to a gift registry at %(shop)s."
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
    language = letterhead.language
    when = countdown((registry.event_date - today).days, language)
    open_items = _open_items(payload["items"])
    values = {
        "letterhead": letterhead,
        "text_on_colour": text_colour_on(letterhead.colour),
        "greeting": _greet([name for name in map(one_line, payload["registrants"]) if name], language),
        "title": one_line(registry.title),
        "when": when,
        "date": format_date(registry.event_date, language),
        "percent": payload["progress"]["percent"],
        "wanted": payload["progress"]["wanted"],
        "given": payload["progress"]["wanted"] - sum(item["remaining"] for item in payload["items"]),
        "items": [_shown_item(item, registry.currency, language) for item in open_items[:SHOWN_ITEMS]],
        "has_pictures": any(item["image"] for item in open_items[:SHOWN_ITEMS]),
        "more": len(open_items[SHOWN_ITEMS:]),
        "links": links,
        "reason": translate(language, REGISTERED if to_registrant else CONFIRMED, shop=letterhead.shop),
    }
    return Content(
        subject=f"{when}{colon(language)}{values['title']}",
        text=render("reminder.txt", language, **values),
        html=render("reminder.html", language, **values),
    )


def countdown(days_left: int, language: Language) -> str:
    """The start of the subject: `Today`, `Tomorrow`, `In 7 days`."""
    return translate(language, {0: TODAY, 1: TOMORROW}.get(days_left, IN_DAYS), days=days_left)


def _open_items(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that can still be bought, the highest priority first."""
    open_items = [item for item in items if item["remaining"] and item["available"]]
    return sorted(open_items, key=lambda item: _ORDER[item["priority"]])


def _shown_item(item: dict[str, Any], currency: str, language: Language) -> dict[str, Any]:
    texts = {name: one_line(item[name]) for name in ("product_title", "variant_title")}
    return item | texts | {"price": format_money(Decimal(item["price"]), currency, language)}


def _greet(names: Sequence[str], language: Language) -> str:
    """The first line: `Hello Emma, Hugo and Yui,`."""
    if not names:
        return translate(language, HELLO_THERE)
    return translate(language, HELLO, names=join_names(names, language))
