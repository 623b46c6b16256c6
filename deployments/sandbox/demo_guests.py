"""Demo rows of guests' activity: visits, purchases and reminders. Deterministic."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate
from typing import Final

from deployments.sandbox.catalogue import DemoShop, Row
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.registries import EventType, PurchaseStatus
from wishcraft.domain.reminders import DAYS_LEFT, ReminderKind
from wishcraft.store.schema.mail import MailState

DAYS_OF_VISITS: Final = 84
"""Twelve weeks, so that all weekdays are equally frequent."""
COMPLETED_IN_FULL: Final = 0.25
"""Share of past registries whose items are all bought."""
REMINDED: Final = 0.8
"""Share of past registries with sent reminders; the others unsubscribed."""
AFTER_REMINDER: Final = 0.12
"""Share of a reminded registry's purchases within three days after the reminder."""
FIRST: Final = ("Emma", "Liam", "Olivia", "Noah", "Amélie", "Hugo", "Chloé", "Lucas", "Sakura", "Haruto", "Yui", "Ren",
                 "Maya", "Omar", "Sofia", "Mateo", "Ingrid", "Jonas", "Zoë", "Elias")  # fmt: skip
LAST: Final = ("Reed", "Okafor", "Dubois", "Laurent", "Sato", "Tanaka", "Silva", "Novak", "Larsen", "Khan", "Moore",
                "Weber")  # fmt: skip
_MESSAGES: Final = ("Congratulations!", "With love from all of us", "So happy for you", None, None)
_CLICKS: Final = {  # share of visitors who click on an item
    EventType.WEDDING: 0.62, EventType.BABY: 0.58, EventType.BIRTHDAY: 0.44, EventType.GRADUATION: 0.35,
    EventType.ANNIVERSARY: 0.4, EventType.HOLIDAY: 0.48, EventType.HOUSEWARMING: 0.5, EventType.GENERAL: 0.28,
}  # fmt: skip
_CARTS: Final = 0.24
SAME_ORDER: Final = 0.25
"""Share of purchases in the same order as the previous one."""
_ORDER_COLUMNS: Final = ("purchaser_name", "purchaser_email", "anonymous", "order_id", "order_name", "created_at")
_NO_PURCHASE_WEIGHTS: Final = ((40, 50), (120, 70), (float("inf"), 88))
"""Pairs of a price limit in dollars and the weight of not being bought."""
_SKIPS: Final = 0.12
"""Share of missing steps before a purchase, as with a direct link."""
_WEEKDAYS: Final = (3, 2, 2, 2, 3, 6, 6)
"""Relative number of visits from Monday to Sunday."""


class GuestRowGenerator:
    """Generates guests' activity in one shop's registries before `noon`; the same for the same seed."""

    def __init__(self, shop: DemoShop, seed: int, noon: datetime, new_id: Callable[[], int]) -> None:
        self._shop = shop
        self._rng = random.Random(f"{seed}:{shop.domain}:guests")  # noqa: S311  demo data
        self._noon = noon
        self._new_id = new_id
        weekdays = [(noon.weekday() + day) % 7 for day in range(DAYS_OF_VISITS)]  # whole weeks
        self._cumulative_weights = list(accumulate(_WEEKDAYS[weekday] for weekday in weekdays))

    def reminders(self, registry: Row) -> list[Row]:
        """The sent reminders of a past event; none for a future event."""
        if registry["event_date"] >= self._noon.date() or self._rng.random() >= REMINDED:
            return []
        recipients = [registry["customer_email"], *(each["email"] for each in registry["co_registrants"])]
        return [self._reminder(registry, kind, each) for kind in ReminderKind for each in recipients]

    def purchases(self, registry: Row, items: Sequence[Row], *, reminded: bool) -> list[Row]:
        """Purchases, more frequent near the event and after a reminder."""
        guests = [self._guest(registry, number) for number in range(self._rng.randint(2, 14))]
        is_past = registry["event_date"] < self._noon.date()
        in_full = is_past and self._rng.random() < COMPLETED_IN_FULL
        bought: list[Row] = []
        for item in items:
            for quantity in self._quantities(item, in_full=in_full):
                row = self._purchase(item, quantity, in_full=in_full)
                if bought and self._rng.random() < SAME_ORDER:
                    row |= {name: bought[-1][name] for name in _ORDER_COLUMNS}
                else:
                    row |= self._rng.choice(guests) | self._order(row["id"])
                    row["created_at"] = self._when(registry, reminded=reminded)
                bought.append(row)
        return bought

    def events(self, registry: Row, items: Sequence[Row], purchases: Sequence[Row]) -> Iterator[Row]:
        """Visits of the last weeks (a few registries get most of them) and the events before each purchase."""
        first = self._noon - timedelta(days=DAYS_OF_VISITS)
        for _ in range(min(200, int(self._rng.paretovariate(1.1) * 6))):
            [day] = self._rng.choices(range(DAYS_OF_VISITS), cum_weights=self._cumulative_weights)
            moment = first + timedelta(days=day, minutes=self._rng.randint(0, 720))
            yield from self._visit(registry, items, min(moment, self._noon))
        by_id = {item["id"]: item for item in items}
        for row in purchases:
            if row["created_at"] > first:
                yield from self._events_before_purchase(registry, by_id[row["item_id"]], row)

    def _visit(self, registry: Row, items: Sequence[Row], moment: datetime) -> Iterator[Row]:
        visitor = f"visitor-{self._rng.randint(1, 5000)}"
        yield self._event(registry, AnalyticsType.REGISTRY_VIEWED, moment, visitor)
        if not items or self._rng.random() >= _CLICKS[registry["event_type"]]:
            return
        item = self._rng.choice(items)
        yield self._event(registry, AnalyticsType.ITEM_CLICKED, moment + timedelta(minutes=2), visitor, item)
        if self._rng.random() < _CARTS:
            yield self._event(registry, AnalyticsType.ADDED_TO_CART, moment + timedelta(minutes=4), visitor, item)

    def _events_before_purchase(self, registry: Row, item: Row, purchase: Row) -> Iterator[Row]:
        visitor = f"visitor-{purchase['order_id']}"
        for minutes, step in enumerate(reversed(AnalyticsType)):
            if step is AnalyticsType.PURCHASED or self._rng.random() >= _SKIPS:
                moment = purchase["created_at"] - timedelta(minutes=4 * minutes)
                event_item = None if step is AnalyticsType.REGISTRY_VIEWED else item
                yield self._event(registry, step, moment, visitor, event_item)

    def _event(
        self, registry: Row, kind: AnalyticsType, moment: datetime, visitor: str, item: Row | None = None
    ) -> Row:
        return {
            "shop_id": self._shop.number,
            "registry_id": registry["id"],
            "type": kind,
            "occurred_at": moment,
            "visitor_id": visitor,
            "data": {"item_id": item["id"], "variant_id": item["variant_id"]} if item else {},
        }

    def _reminder(self, registry: Row, kind: ReminderKind, recipient: str) -> Row:
        sent = datetime.combine(registry["event_date"], time(14), UTC) - timedelta(days=max(DAYS_LEFT[kind]))
        return {
            "shop_id": self._shop.number,
            "registry_id": registry["id"],
            "kind": kind,
            "event_date": registry["event_date"],
            "recipient": recipient,
            "state": MailState.SENT,
            "attempts": 1,
            "message_id": f"<{kind}-{registry['id']}-{self._rng.getrandbits(32):08x}@example.com>",
            "created_at": sent,
            "updated_at": sent,
        }

    def _quantities(self, item: Row, *, in_full: bool) -> list[int]:
        if in_full:
            return [item["quantity_wanted"]]
        dollars = item["price"] / (150 if item["currency"] == "JPY" else 1)
        no_purchase = next(weight for bound, weight in _NO_PURCHASE_WEIGHTS if dollars < bound)
        times = self._rng.choices((0, 1, 2), (no_purchase, 24, 6))[0]
        return [self._rng.randint(1, item["quantity_wanted"] + 1) for _ in range(times)]

    def _guest(self, registry: Row, number: int) -> Row:
        first, last = self._rng.choice(FIRST), self._rng.choice(LAST)
        return {
            "purchaser_name": f"{first} {last}",
            "purchaser_email": f"guest{registry['id']}-{number}@example.com",
            "anonymous": self._rng.random() < 0.2,  # noqa: PLR2004  share of the guests
        }

    def _purchase(self, item: Row, quantity: int, *, in_full: bool) -> Row:
        purchase_id = self._new_id()
        status = PurchaseStatus.CONFIRMED if in_full else self._rng.choices(list(PurchaseStatus), (8, 80, 7, 5))[0]
        return {
            "id": purchase_id,
            "shop_id": self._shop.number,
            "registry_id": item["registry_id"],
            "item_id": item["id"],
            "line_item_id": 16_000_000_000_000 + purchase_id,
            "quantity": quantity,
            "unit_price": item["price"],
            "gift_message": self._rng.choice(_MESSAGES),
            "status": status,
        }

    def _order(self, purchase_id: int) -> Row:
        return {"order_id": 6_000_000_000_000 + purchase_id, "order_name": f"#{1000 + purchase_id % 90_000}"}

    def _when(self, registry: Row, *, reminded: bool) -> datetime:
        event = datetime.combine(registry["event_date"], time(12), UTC)
        if reminded and self._rng.random() < AFTER_REMINDER:
            return event - timedelta(days=7 - 3 * self._rng.random())
        begin: datetime = registry["created_at"]
        end = min(self._noon, event)
        lifetime: timedelta = max(end - begin, timedelta(0))
        return begin + lifetime * self._rng.betavariate(2.2, 1.1)
