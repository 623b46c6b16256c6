"""Hypothesis strategies for shops whose registries, purchases and events lie around changes of day, week and offset."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from tests.support.hypothesis_profiles import examples
from tests.support.sql_oracle import Tables
from wishcraft.analytics.filters import ReportFilter
from wishcraft.domain.periods import Days

Row = dict[str, Any]
_Moment = tuple[date | int, time]
FEW_EXAMPLES: Final = settings(
    max_examples=examples(quick=3, deep=24), phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)
"""Each example fills a database: there are few examples, and failures are not shrunk, which would take minutes."""
NOW: Final = datetime(2026, 5, 1, 2, tzinfo=UTC)
"""Still April in America."""
TODAY: Final = NOW.date()


class _ShopFacts(NamedTuple):
    domain: str
    currency: str
    timezone: str


_SHOPS: Final = [
    _ShopFacts("b.example", "USD", "America/New_York"),
    _ShopFacts("e.example", "EUR", "Europe/Paris"),
    _ShopFacts("a.example", "JPY", "Asia/Tokyo"),
    _ShopFacts("d.example", "USD", "Pacific/Chatham"),  # 12:45 or 13:45 hours ahead
    _ShopFacts("c.example", "USD", "America/Havana"),  # where clocks change at midnight
]
_DAYS: Final = [
    date(2025, 11, 2),  # Havana's and New York's clocks go back
    date(2025, 12, 31),
    date(2026, 1, 1),
    date(2026, 3, 1),
    date(2026, 3, 8),  # they go forward
    date(2026, 3, 9),
    date(2026, 3, 29),  # Paris's too
    date(2026, 3, 30),
    date(2026, 4, 5),  # Chatham's go back
    date(2026, 4, 6),
    date(2026, 4, 30),
    date(2026, 5, 1),
    date(2026, 5, 2),
]
_TIMES: Final = [time(), time(0, 30), time(0, 30, fold=1), time(2, 30), time(12), time(23, 59, 59, 999_999)]
_BEFORE_EVENT: Final = [-1, 0, 1, 3, 4, 5, 6, 7, 8, 9, 13, 14, 20, 21, 28, 180, 181, 182]
_REGISTRY: Final = {
    "title": "", "visibility": "public", "customer_email": "", "customer_first_name": "", "customer_last_name": "",
}  # fmt: skip
_ITEM: Final = {"inventory_item_id": 1, "handle": "", "available": True}
"""Columns that the tables require and analysts do not use."""
_PRICES: Final = [
    Decimal(price) for price in ("0", "24.99", "24.9999", "25", "49.99", "99.99", "100", "250", "2500", "25000")
]


class Case(NamedTuple):
    """The rows of each table, and a report's filter."""

    rows: Mapping[str, Sequence[Row]]
    report_filter: ReportFilter


def _pick(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


_moments: Final = st.tuples(_pick(*_DAYS, *_BEFORE_EVENT), _pick(*_TIMES))
"""A day, or days before the event, and the local time."""
_purchases: Final = st.fixed_dictionaries(
    {
        "quantity": st.integers(1, 3),
        "unit_price": _pick(*_PRICES),
        "order_id": st.integers(1, 3),
        "purchaser_id": _pick(None, None, 1, 2),
        "purchaser_email": _pick(None, "ada@example.org", "Ada@Example.org", "bob@example.org"),
        "status": _pick("confirmed", "confirmed", "pending", "cancelled", "refunded"),
        "created_at": _moments,
    }
)
_items: Final = st.fixed_dictionaries(
    {
        "variant_id": st.integers(1, 4),
        "product_title": _pick("Vase", "vase", "Émail", "花瓶"),
        "variant_title": _pick("Sage", "Default Title"),
        "quantity_wanted": st.integers(1, 3),
        "price": _pick(*_PRICES),
        "currency": _pick(None, None, None, "EUR"),
        "tracked": st.booleans(),
        "inventory_quantity": st.integers(-2, 6),
        "inventory_policy": _pick("deny", "deny", "continue"),
        "status": _pick("active", "active", "out_of_stock", "discontinued", "hidden"),
        "created_at": _moments,
        "purchases": st.lists(_purchases, max_size=3),
    }
)
_events: Final = st.fixed_dictionaries(
    {
        "visitor_id": _pick("v1", "v2", "v3"),
        "type": _pick("registry_viewed", "item_clicked", "added_to_cart", "purchased"),
        "occurred_at": _moments,
    }
)
_reminders: Final = st.fixed_dictionaries(
    {
        "kind": _pick("7_days", "7_days", "1_day"),
        "event_date": _pick(0, 0, 1, -7),
        "recipient": _pick("ada@example.org", "bob@example.org"),
        "state": _pick("sent", "sent", "suppressed", "failed", "pending", "sending"),
    }
)
_registries: Final = st.fixed_dictionaries(
    {
        "event_type": _pick("wedding", "baby", "birthday"),
        "status": _pick("active", "active", "active", "paused", "completed", "archived"),
        "event_date": _pick(
            None, -366, -365, -182, -30, -14, -8, -7, -6, -5, -4, -3, -2, -1, 0, 0, 1, 6, 7, 8, 13, 14, 27, 28, 60
        ),
        "created_at": _moments,
        "items": st.lists(_items, max_size=3, unique_by=lambda item: item["variant_id"]),
        "events": st.lists(_events, max_size=5),
        "reminders": st.lists(
            _reminders, max_size=3, unique_by=lambda mail: (mail["kind"], mail["event_date"], mail["recipient"])
        ),
    }
)
_shops: Final = st.lists(
    st.tuples(_pick(*_SHOPS), st.lists(_registries, min_size=2, max_size=8)),
    min_size=1,
    max_size=3,
    unique_by=lambda shop: shop[0],
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A few shops, and a filter for all or some of them."""
    shops = draw(_shops)
    domains = draw(
        st.just([]) | st.lists(_pick(*[shop_facts.domain for shop_facts, _ in shops]), min_size=1, unique=True)
    )
    ends = sorted(draw(st.lists(_pick(*_DAYS), min_size=2, max_size=2)))
    first, last = (draw(_pick(None, None, end)) for end in ends)
    event_types = draw(_pick((), (), ("wedding",), ("wedding", "baby")))
    return Case(_flatten(shops), ReportFilter(domains, event_types, Days(first, last)))


def fill(tables: Tables, rows: Mapping[str, Sequence[Row]]) -> None:
    """Replace the contents of the tables with these rows."""
    with tables.transaction(), tables.cursor() as cursor:
        cursor.execute("DELETE FROM shops")
        for table, each in rows.items():
            names = SQL(", ").join(map(Identifier, each[0]))
            with cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), names)) as copy:
                for row in each:
                    copy.write_row([row[name] for name in each[0]])


def _flatten(shops: Sequence[tuple[_ShopFacts, Sequence[Row]]]) -> Mapping[str, Sequence[Row]]:
    """The rows by table, the shops first; tables without rows are left out."""
    tables: dict[str, list[Row]] = defaultdict(list)
    for shop_facts, registries in shops:
        shop_id = _add(tables["shops"], shop_facts._asdict() | {"name": "", "email": "", "plan": ""})
        for registry in registries:
            _add_registry(tables, shop_facts, {"shop_id": shop_id}, registry)
    return tables


def _add(rows: list[Row], row: Row) -> int:
    rows.append({"id": len(rows) + 1, **row})
    return len(rows)


def _add_registry(tables: Mapping[str, list[Row]], shop_facts: _ShopFacts, shop: Row, registry: Row) -> None:
    event = TODAY + timedelta(days=registry["event_date"] or 0)
    at = partial(_moment, event, ZoneInfo(shop_facts.timezone))
    columns = {
        "event_type": registry["event_type"], "status": registry["status"], "created_at": at(registry["created_at"]),
        "event_date": None if registry["event_date"] is None else event,
        "slug": f"s{len(tables['registries'])}", **_REGISTRY,
    }  # fmt: skip
    ids = shop | {"registry_id": _add(tables["registries"], shop | columns)}
    for item in registry["items"]:
        _add_item(tables, ids, item | {"currency": item["currency"] or shop_facts.currency}, at)
    for visit in registry["events"]:
        _add(tables["analytics_events"], visit | ids | {"occurred_at": at(visit["occurred_at"])})
    for reminder in registry["reminders"]:
        _add(tables["reminders"], reminder | ids | {"event_date": event + timedelta(days=reminder["event_date"])})


def _add_item(tables: Mapping[str, list[Row]], ids: Row, item: Row, at: Callable[[_Moment], datetime]) -> None:
    columns = {name: value for name, value in item.items() if name != "purchases"}
    product = {"product_id": item["variant_id"] // 2, "created_at": at(item["created_at"])}
    item_id = _add(tables["registry_items"], columns | ids | product | _ITEM)
    for purchase in item["purchases"]:
        line = {"item_id": item_id, "line_item_id": len(tables["purchases"]), "order_name": ""}
        _add(tables["purchases"], purchase | ids | line | {"created_at": at(purchase["created_at"])})


def _moment(event: date, zone: ZoneInfo, moment: _Moment) -> datetime:
    day, local_time = moment
    local_day = event - timedelta(days=day) if isinstance(day, int) else day
    return datetime.combine(local_day, local_time, zone).astimezone(UTC)
