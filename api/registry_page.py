"""The page of a registry as HTML, for the shop's own domain. Pure.

Shopify's app proxy may render what it forwards as Liquid, with the shop's own data within reach: no text of a visitor
may be Liquid source. So `{`, `}` and `%` of every value are entities, beside what HTML needs.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from wishcraft.domain.currencies import write_money
from wishcraft.domain.orders import ITEM_PROPERTY

_LIQUID: Final = {ord(character): f"&#{ord(character)};" for character in "{}%"}


def _as_entities(value: object) -> Markup:
    return Markup(str(escape(value)).translate(_LIQUID))  # noqa: S704  it is escaped


_PAGES: Final = Environment(
    loader=PackageLoader("api"),
    autoescape=True,
    finalize=_as_entities,
    undefined=StrictUndefined,
    trim_blocks=True,
    auto_reload=False,
)


def registry_page(registry: Mapping[str, Any]) -> str:
    """The page of a registry; `registry` is its JSON as guests get it.

    Addresses are relative to the shop's domain, whichever of its domains the guest has come by.
    """
    event_date = registry["event"]["date"]
    return _PAGES.get_template("registry_page.html").render(
        registry=registry,
        title=registry["title"],
        people=" & ".join(registry["registrants"]),
        date=_in_words(date.fromisoformat(event_date)) if event_date else "",
        items=[_item(item, registry["currency"], is_open=registry["status"] == "active") for item in registry["items"]],
        property=ITEM_PROPERTY,
    )


def notice_page(title: str, text: str, *, asks_code: bool = False) -> str:
    """A page that says one thing; with `asks_code`, it has a form that posts the access code to its own address."""
    return _PAGES.get_template("registry_notice.html").render(title=title, text=text, asks_code=asks_code)


def _item(item: Mapping[str, Any], currency: str, *, is_open: bool) -> dict[str, Any]:
    handle = item["handle"]
    query = urlencode({"variant": item["variant_id"], ITEM_PROPERTY: item["attribution"]})
    url = f"/products/{quote(handle, safe='')}?{query}" if handle else ""
    prices = {name: item[name] and write_money(Decimal(item[name]), currency) for name in ("price", "compare_at_price")}
    is_offered = bool(is_open and item["available"] and item["remaining"])
    return {**item, **prices, "url": url, "is_offered": is_offered}


def _in_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
