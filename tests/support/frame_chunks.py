"""Chunks of registries, as plain rows for reference loops and as frames for the analyses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

from tests.support.hypothesis_profiles import examples

FEW_EXAMPLES = settings(max_examples=examples(quick=5, deep=60))
START = datetime(2026, 2, 20, tzinfo=UTC)
SHOPS = [
    ("maple", "USD", "America/New_York"),  # whose clocks go forward on 8 March 2026
    ("linden", "EUR", "Europe/Berlin"),  # on 29 March
    ("sakura", "JPY", "Asia/Tokyo"),
    ("palm", "USD", "Pacific/Kiritimati"),  # 14 hours ahead
]
PRICES = [0, 249_900, 249_999, 250_000, 999_900, 1_000_000, 2_500_000, 24_999_900]
EVENTS = ["registry_viewed", "item_clicked", "added_to_cart", "purchased"]
_MOMENT = "datetime64[us, UTC]"


class Registry(NamedTuple):
    registry_id: int
    shop: str = "maple"
    currency: str = "USD"
    timezone: str = "America/New_York"
    event_type: str = "wedding"
    created_at: datetime = START
    status: str = "active"
    visibility: str = "public"
    event_date: datetime | None = None

    def local(self, moment: datetime) -> date:
        return moment.astimezone(ZoneInfo(self.timezone)).date()


class Item(NamedTuple):
    registry_id: int
    item_id: int
    wanted: int = 1
    variant_id: int = 1
    price_e4: int = 100_000
    currency: str = "USD"
    product_title: str = "Vase"
    variant_title: str = "Sage"
    product_id: int = 1
    status: str = "active"


class Purchase(NamedTuple):
    registry_id: int
    item_id: int
    quantity: int = 1
    created_at: datetime = START
    guest: int = 1
    gift: int = 1
    unit_e4: int = 100_000


class Event(NamedTuple):
    registry_id: int
    visitor: int
    type: str
    occurred_at: datetime = START


@dataclass(frozen=True)
class Chunk:
    all_registries: Sequence[Registry] = ()
    all_items: Sequence[Item] = ()
    all_purchases: Sequence[Purchase] = ()
    all_events: Sequence[Event] = ()

    @property
    def registries(self) -> pd.DataFrame:
        texts = ["shop", "currency", "timezone", "event_type", "status", "visibility"]
        return _frame(Registry, self.all_registries, texts, created_at=_MOMENT, event_date="datetime64[s]")

    @property
    def items(self) -> pd.DataFrame:
        return _frame(Item, self.all_items, ["currency", "product_title", "variant_title", "status"])

    @property
    def purchases(self) -> pd.DataFrame:
        return _frame(Purchase, self.all_purchases, [], created_at=_MOMENT)

    @property
    def events(self) -> pd.DataFrame:
        return _frame(Event, self.all_events, ["type"], occurred_at=_MOMENT)

    def registry(self, registry_id: int) -> Registry:
        return next(each for each in self.all_registries if each.registry_id == registry_id)

    def bought(self, item: Item) -> list[Purchase]:
        """The item's purchases in order of time."""
        return sorted((each for each in self.all_purchases if each.item_id == item.item_id), key=_moment)

    def only(self, keep: Callable[[int], bool]) -> "Chunk":
        """The chunk of the registries with these ids."""
        return Chunk(
            [each for each in self.all_registries if keep(each.registry_id)],
            [each for each in self.all_items if keep(each.registry_id)],
            [each for each in self.all_purchases if keep(each.registry_id)],
            [each for each in self.all_events if keep(each.registry_id)],
        )

    def parts(self) -> list["Chunk"]:
        """Two chunks: the registries with odd ids, and with even ids."""
        return [self.only(lambda each: each % 2 == 1), self.only(lambda each: each % 2 == 0)]


@st.composite
def chunks(draw: st.DrawFn, days: int = 50) -> Chunk:
    """Up to five registries with events in `days` days, on the hour, so that some are simultaneous."""
    moments = st.integers(0, 24 * days).map(lambda hours: START + timedelta(hours=hours))
    one_to_three = st.integers(1, 3)
    kinds = st.tuples(st.sampled_from(SHOPS), st.sampled_from(["baby", "wedding"]), moments)
    drawn = enumerate(draw(st.lists(kinds, max_size=5)), start=1)
    registries = [Registry(number, *shop, event_type, created_at) for number, (shop, event_type, created_at) in drawn]
    if not registries:
        return Chunk()
    any_registry = st.sampled_from(registries)
    events = st.builds(
        Event, any_registry.map(lambda each: each.registry_id), one_to_three, st.sampled_from(EVENTS), moments
    )
    item_facts = st.tuples(
        any_registry, one_to_three, one_to_three, st.sampled_from(PRICES), st.sampled_from(["Bowl", "Vase"])
    )
    drawn_items = enumerate(draw(st.lists(item_facts, max_size=8, unique_by=lambda each: (each[0], each[2]))), start=1)
    items = [
        Item(registry.registry_id, number, wanted, variant, price, registry.currency, title)
        for number, (registry, wanted, variant, price, title) in drawn_items
    ]
    sales = (
        st.tuples(st.sampled_from(items), one_to_three, moments, one_to_three, one_to_three, one_to_three)
        if items
        else st.nothing()
    )
    purchases = [Purchase(*item[:2], *rest) for item, *rest in draw(st.lists(sales, max_size=12 * bool(items)))]
    return Chunk(registries, items, purchases, draw(st.lists(events, max_size=15)))


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a result as dictionaries, with missing values as None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _frame(kind: type[Any], all_rows: Sequence[Any], texts: Sequence[str], **moments: str) -> pd.DataFrame:
    types = dict.fromkeys(kind._fields, "int64") | dict.fromkeys(texts, "category") | moments
    return pd.DataFrame(all_rows, columns=list(kind._fields)).astype(types)


def _moment(purchase: Purchase) -> datetime:
    return purchase.created_at
