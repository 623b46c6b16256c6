"""The page of a registry as HTML, for the shop's own domain. Pure.

Shopify's app proxy may render what it forwards as Liquid, with the shop's own data within reach: no text that a
person wrote may be Liquid source. So `{`, `}` and `%` of every value are entities, beside what HTML needs.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from wishcraft.domain.languages import Language
from wishcraft.domain.orders import ITEM_PROPERTY
from wishcraft.domain.registries import RegistryStatus
from wishcraft.rendering.templates import text_colour_on
from wishcraft.rendering.translations import format_date, format_money, translate, translations

_LIQUID: Final = [(character, f"&#{ord(character)};") for character in "{}%"]


def _as_entities(value: object) -> Markup:
    text = str(escape(value))
    for character, entity in _LIQUID:  # in a tenth of the time of `translate`
        text = text.replace(character, entity)
    return Markup(text)  # noqa: S704  it is escaped


class Style(NamedTuple):
    """Style of a shop's pages: their language and colour (`#rrggbb`)."""

    language: Language
    colour: str


class Notice(NamedTuple):
    """A page that says one thing; with `asks_code`, it has a form that posts the access code to its own address."""

    title: str
    text: str
    asks_code: bool = False


NO_REGISTRY: Final = Notice(
    "There is no such registry", "The link may be incomplete, or the registry is not shared any more."
)
PROTECTED: Final = Notice(
    "This registry is protected", "Enter the access code that you got with the invitation.", asks_code=True
)
WRONG_CODE: Final = Notice("This is not the access code", "Try again.", asks_code=True)
TOO_MANY_TRIES: Final = Notice("Too many tries", "Wait a while, then try again.", asks_code=True)
UNAVAILABLE: Final = Notice("This page cannot be shown right now", "Try again in a few minutes.")
STATUSES: Final = {
    RegistryStatus.PAUSED: "This registry is paused.",
    RegistryStatus.COMPLETED: "This registry is completed.",
    RegistryStatus.ARCHIVED: "This registry is archived.",
}
NOTICES: Final = (NO_REGISTRY, PROTECTED, WRONG_CODE, TOO_MANY_TRIES, UNAVAILABLE)
TEXTS: Final = (*(text for each in NOTICES for text in each[:2]), *STATUSES.values())
"""All texts that are translated and not in a template."""


def registry_page(registry: Mapping[str, Any], style: Style) -> str:
    """The page of a registry; `registry` is its JSON as guests get it.

    Addresses are relative to the shop's domain, whichever of its domains the guest has come by.
    """
    event_date, status = registry["event"]["date"], STATUSES.get(registry["status"])
    return _render(
        "registry_page.html",
        style,
        registry=registry,
        title=registry["title"],
        people=" & ".join(registry["registrants"]),
        date=format_date(date.fromisoformat(event_date), style.language) if event_date else "",
        status=translate(style.language, status) if status else "",
        items=[_item(item, registry["currency"], style.language, is_open=not status) for item in registry["items"]],
        property=ITEM_PROPERTY,
    )


def notice_page(notice: Notice, style: Style) -> str:
    """Render a notice, such as that of an unknown registry, in the shop's style and language."""
    title, text = (translate(style.language, each) for each in notice[:2])
    return _render("registry_notice.html", style, title=title, text=text, asks_code=notice.asks_code)


def _render(template: str, style: Style, **values: object) -> str:
    colours = {"colour": style.colour, "text_on_colour": text_colour_on(style.colour)}
    pages = _pages(style.language)
    return pages.get_template(template).render(**values, **colours, language=style.language.value)


@lru_cache(len(Language))
def _pages(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=True,
        finalize=_as_entities,
        undefined=StrictUndefined,
        trim_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    return environment


def _item(item: Mapping[str, Any], currency: str, language: Language, *, is_open: bool) -> dict[str, Any]:
    handle = item["handle"]
    query = urlencode({"variant": item["variant_id"], ITEM_PROPERTY: item["attribution"]})
    url = f"/products/{quote(handle, safe='')}?{query}" if handle else ""
    prices = {
        name: item[name] and format_money(Decimal(item[name]), currency, language)
        for name in ("price", "compare_at_price")
    }
    is_offered = bool(is_open and item["available"] and item["remaining"])
    return {**item, **prices, "url": url, "is_offered": is_offered}
