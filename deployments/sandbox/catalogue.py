"""The demo shops and their products, for the demo data and the Shopify simulator. Deterministic."""

import random
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

from wishcraft.domain.currencies import format_money
from wishcraft.domain.inventory import InventoryPolicy

Row = dict[str, Any]
"""A row of a table, by column name."""


class Tax(NamedTuple):
    """The tax of a shop's country."""

    title: str
    rate: Decimal
    included: bool
    """Whether prices contain it."""


@dataclass(frozen=True, slots=True)
class DemoShop:
    """A shop of the sandbox; `points_per_second` is its Shopify plan's rate limit."""

    number: int
    domain: str
    name: str
    currency: str
    timezone: str
    plan: str
    points_per_second: int
    access_token: str
    refresh_token: str
    colour: str
    tax: Tax
    address: str | None = None
    """Postal, for its mails."""


DEMO_SHOPS: Final = (
    DemoShop(1, "maple-and-pine.myshopify.com", "Maple & Pine", "USD", "America/New_York", "standard", 100,
             "shpat_sandbox_maple_access", "shprt_sandbox_maple_refresh", "#2f6f5e",
             Tax("State Tax", Decimal("0.0725"), included=False), "12 Harbor Street, Portland, ME 04101, USA"),
    DemoShop(2, "lumiere-maison.myshopify.com", "Lumière Maison", "EUR", "Europe/Paris", "advanced", 200,
             "shpat_sandbox_lumiere_access", "shprt_sandbox_lumiere_refresh", "#7a3e5d",
             Tax("TVA", Decimal("0.2"), included=True), "8 rue des Tanneurs, 69005 Lyon, France"),
    DemoShop(3, "sakura-living.myshopify.com", "Sakura Living", "JPY", "Asia/Tokyo", "plus", 1000,
             "shpat_sandbox_sakura_access", "shprt_sandbox_sakura_refresh", "#f2b8c6",
             Tax("CT", Decimal("0.1"), included=True), "3-14 Sumiyoshi, Minato, Tokyo 105-0001, Japan"),
)  # fmt: skip

NEW_SHOP: Final = DemoShop(4, "birch-and-bloom.myshopify.com", "Birch & Bloom", "USD", "America/Chicago", "standard",
                           100, "", "", "#4a6fa5", Tax("State Tax", Decimal("0.0625"), included=False))  # fmt: skip
"""A shop of the simulator that has not installed the app, without demo data."""


@dataclass(frozen=True, slots=True)
class CatalogueVariant:
    """A variant in its initial state."""

    variant_id: int
    product_id: int
    inventory_item_id: int
    handle: str
    product_title: str
    variant_title: str
    """Empty if the product has no options."""
    price: Decimal
    compare_at_price: Decimal | None
    tracked: bool
    quantity: int
    policy: InventoryPolicy


_PRODUCTS: Final = (
    ("Linen Tablecloth", 58), ("Stoneware Dinner Set", 145), ("Cast Iron Casserole", 189), ("Wool Throw", 92),
    ("Cotton Baby Blanket", 39), ("Wooden Rattle", 18), ("Pour-over Coffee Maker", 64), ("Chef's Knife", 110),
    ("Crystal Wine Glasses", 76), ("Down Pillow", 69), ("Bath Towel Set", 54), ("Ceramic Vase", 47),
    ("Picnic Basket", 83), ("Reading Lamp", 99), ("Oak Cutting Board", 42), ("Espresso Machine", 429),
    ("Night Light", 29), ("Nursing Chair", 379), ("Board Game", 35), ("Weekend Bag", 129),
)  # fmt: skip
_STYLES: Final = ("Classic", "Nordic", "Heritage", "Studio", "Garden", "Atelier", "Coast", "Alpine")
_COLOURS: Final = ("Natural", "Sage", "Charcoal", "Rose")
_RATE: Final = {"USD": Decimal(1), "EUR": Decimal("0.92"), "JPY": Decimal(150)}


CURRENCIES: Final = tuple(_RATE)


def convert(amount: Decimal, currency: str, into: str) -> str:
    """The amount in another currency, as text with its decimals."""
    return format_money(amount * _RATE[into] / _RATE[currency], into)


def money(dollars: Decimal, currency: str) -> Decimal:
    """A price in the currency, rounded to its decimals."""
    return Decimal(format_money(dollars * _RATE[currency], currency))


@cache  # every start of the simulator needs it
def catalogue(shop: DemoShop, products: int = 160, seed: int = 2026) -> tuple[CatalogueVariant, ...]:
    """The shop's variants, two per product on average; the same for the same arguments.

    All demo shops sell the same products; ids, prices and stock differ.
    """
    rng = random.Random(f"{seed}:{shop.domain}")  # noqa: S311  demo data
    variants: list[CatalogueVariant] = []
    for p in range(products):
        name, dollars = _PRODUCTS[p % len(_PRODUCTS)]
        style = _STYLES[p // len(_PRODUCTS) % len(_STYLES)]
        edition = f" No. {p // (len(_PRODUCTS) * len(_STYLES)) + 1}" if p >= len(_PRODUCTS) * len(_STYLES) else ""
        title = f"{style} {name}{edition}"
        handle = title.lower().replace("'", "").replace(".", "").replace(" ", "-")
        colours = _COLOURS[: rng.randint(1, 3)]
        for colour in colours:
            number = shop.number * 10_000_000 + len(variants)
            price = money(Decimal(dollars) * Decimal(rng.randint(80, 120)) / 100, shop.currency)
            on_sale = rng.random() < 0.15  # noqa: PLR2004  share of the variants
            variants.append(
                CatalogueVariant(
                    variant_id=40_000_000_000_000 + number,
                    product_id=8_000_000_000_000 + shop.number * 10_000_000 + p,
                    inventory_item_id=50_000_000_000_000 + number,
                    handle=handle,
                    product_title=title,
                    variant_title=colour if len(colours) > 1 else "",
                    price=price,
                    compare_at_price=money(Decimal(dollars) * Decimal("1.4"), shop.currency) if on_sale else None,
                    tracked=rng.random() < 0.9,  # noqa: PLR2004
                    quantity=rng.choice((0, 1, 3, 5, 8, 12, 20, 40, 80)),
                    policy=InventoryPolicy.CONTINUE if rng.random() < 0.1 else InventoryPolicy.DENY,  # noqa: PLR2004
                )
            )
    return tuple(variants)
