"""A day of shopping: guests look at registries through the app proxy, order, change their minds, and return.

The app needs no door for it: lists and items come from its public answers, as a theme reads them.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

import httpx
import orjson

from deployments.sandbox.catalogue import CURRENCIES
from deployments.sandbox.shopify.app_proxy import AppProxy, AppUnreachableError, ProxiedRequest
from deployments.sandbox.shopify.order import Customer, Order, Terms
from deployments.sandbox.shopify.orders import UNPAID, OrderRefused, WantedLine
from deployments.sandbox.shopify.shop import SimulatedShop

MAX_RATE: Final = 6_000
"""Events per minute that can be chosen."""
MAX_FLOOD: Final = 20_000
SHOWN: Final = 200
_KNOWN: Final = 200
"""Items of a shop that guests have seen last."""
_OPEN: Final = 500
"""Orders of a shop, the newest, that may still be changed."""
_LIST_PAGE: Final = 50
_READS_PER_LIST: Final = 20
_ACTIONS: Final = {"view": 45, "cart": 18, "order": 24, "edit": 4, "cancel": 3, "return": 4, "payment": 2}
"""Actions of guests, and of the shop's staff on their orders, by weight."""
_STATUSES: Final = {"paid": 94, "pending": 4, "authorized": 2}
_CLAIMS: Final = {"line": 80, "note": 8, "cart": 6, "none": 6}
"""Where an order says what it is for, by weight: themes differ, and some guests just buy."""
_NAMES: Final = ("Ada", "Ben", "Chloé", "Dmitri", "Emi", "Farah", "Georg", "Hana", "Ines", "Jun")
_SURNAMES: Final = ("Byron", "Okafor", "Laurent", "Sato", "Nowak", "Haddad", "Lindqvist", "Reyes")


@dataclass(frozen=True, slots=True)
class SeenItem:
    """An item of a registry as a guest sees it."""

    slug: str
    item_id: int
    variant_id: int
    attribution: str
    remaining: int
    """How many are still wanted."""
    visitor: str = ""
    """The id with which the guest's events were sent; empty if none were."""


@dataclass(slots=True)
class GuestAction:
    """An action of a guest, for people."""

    at: float
    shop: str
    what: str
    description: str


@dataclass(slots=True)
class Guests:
    """The guests of one shop, and what they have seen and ordered."""

    shop: SimulatedShop
    slugs: list[str] = field(default_factory=list)
    reads: int = 0
    seen: deque[SeenItem] = field(default_factory=lambda: deque(maxlen=_KNOWN))
    carts: deque[SeenItem] = field(default_factory=lambda: deque(maxlen=_KNOWN))
    orders: deque[int] = field(default_factory=lambda: deque(maxlen=_OPEN))


class Shopping:
    """Lets guests shop at a rate of actions per minute over all shops, the same for the same seed."""

    def __init__(
        self,
        shops: Mapping[str, SimulatedShop],
        is_installed: Callable[[str], bool],
        proxy: AppProxy,
        seed: int,
        rate: float,
    ) -> None:
        """`is_installed` returns whether the shop with a domain has the app: others have no guests."""
        self.rate = rate
        self.recent: deque[GuestAction] = deque(maxlen=SHOWN)
        self._guests = [Guests(shop) for shop in shops.values()]
        self._proxy = proxy
        self._random = random.Random(f"shopping:{seed}")  # noqa: S311  demo data
        self._is_installed = is_installed
        self._owed = 0
        self._changed = asyncio.Event()

    @property
    def owed(self) -> int:
        """Deeds of a flood that are still to come."""
        return self._owed

    def set_rate(self, rate: float) -> None:
        """Change the rate; 0 stops the shopping."""
        self.rate = rate
        self._changed.set()

    def flood(self, actions: int) -> None:
        """Let guests do `actions` things as fast as they can."""
        self._owed = min(MAX_FLOOD, self._owed + actions)
        self._changed.set()

    async def run(self) -> None:
        """Shop forever."""
        while True:
            if self._owed:
                self._owed -= 1
                await asyncio.sleep(0)
            else:
                pause = self._random.expovariate(self.rate / 60) if self.rate else None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), pause)
                    self._changed.clear()
                    continue  # with the new rate
            await self.act()

    async def act(self) -> None:
        """Let one guest do one thing."""
        open_shops = [each for each in self._guests if self._is_installed(each.shop.demo.domain)]
        if not open_shops:
            return
        guests = self._random.choice(open_shops)
        [action] = self._random.choices(list(_ACTIONS), list(_ACTIONS.values()))
        try:
            if not guests.seen or action == "view":
                action = "view"
                description = await self._view(guests)
            elif action == "cart":
                description = await self._put_into_cart(guests)
            elif action == "order" or (order := self._open_order(guests, unpaid=action == "payment")) is None:
                action = "order"
                description = self._order(guests)
            else:
                description = self._change(guests.shop, order, action)
        except (AppUnreachableError, OrderRefused) as error:
            description = f"failed: {error}"
        self.recent.appendleft(GuestAction(time.time(), guests.shop.demo.domain, action, description))

    async def _view(self, guests: Guests) -> str:
        if not guests.slugs or guests.reads >= _READS_PER_LIST:
            page = await self._get(guests, "registries", f"limit={_LIST_PAGE}")
            guests.slugs, guests.reads = [registry["slug"] for registry in page.get("registries", [])], 0
        if not guests.slugs:
            return "the shop has no public registry"
        guests.reads += 1
        slug = self._random.choice(guests.slugs)
        registry = await self._get(guests, f"registries/{slug}")
        for item in registry.get("items", []):
            if item.get("available"):
                guests.seen.append(
                    SeenItem(slug, item["id"], item["variant_id"], item["attribution"], item["remaining"])
                )
        return slug

    async def _put_into_cart(self, guests: Guests) -> str:
        item = self._random.choice(guests.seen)
        visitor = f"v{self._random.getrandbits(40):x}"
        guests.carts.append(replace(item, visitor=visitor))
        events = [{"type": "item_clicked", "item_id": item.item_id}, {"type": "added_to_cart", "item_id": item.item_id}]
        body = orjson.dumps({"visitor_id": visitor, "events": events})
        headers = (("Content-Type", "application/json"),)
        await self._ask(guests, ProxiedRequest("POST", f"registries/{item.slug}/events", headers=headers, body=body))
        return item.slug

    def _order(self, guests: Guests) -> str:
        item = guests.carts.popleft() if guests.carts else self._random.choice(guests.seen)
        with suppress(ValueError):
            guests.seen.remove(replace(item, visitor=""))  # the next guest looks again how many are wanted
        [claim] = self._random.choices(list(_CLAIMS), list(_CLAIMS.values()))
        quantity = self._random.choices((1, 2, 3), (80, 15, 5))[0]
        if not item.remaining:
            claim = "none"  # a guest who wants it for themselves
        elif claim != "none":
            quantity = min(quantity, item.remaining)
        properties = {"_registry_item": item.attribution} if claim == "line" else {}
        if properties and self._random.random() < 0.2:  # noqa: PLR2004  share of the guests
            properties["_gift_message"] = "With love"
        if item.visitor and claim != "none":
            properties["_registry_visitor"] = item.visitor
        notes = {"note": {"_registry_item": item.attribution}, "cart": {"_registry": item.slug}}.get(claim, {})
        lines = [WantedLine(item.variant_id, quantity, properties)]
        order = guests.shop.orders.create(lines, self._customer(), notes, terms=self._terms())
        guests.orders.append(order.id)
        return f"{order.name} for {item.slug}" if claim != "none" else order.name

    def _change(self, shop: SimulatedShop, order: Order, action: str) -> str:
        line = self._random.choice([line for line in order.lines if line.left])
        if action == "cancel":
            shop.orders.cancel(order)
        elif action == "edit":
            shop.orders.edit(order, line.id, self._random.choice((-1, 1)))
        elif action == "payment":
            self._end_payment(shop, order)
        else:
            shop.orders.refund(order, {line.id: self._random.randint(1, line.left)})
        return order.name

    def _terms(self) -> Terms:
        """Some guests pay in a currency of their own, or with a discount, or later."""
        currency = self._random.choice(CURRENCIES) if self._random.random() < 0.15 else ""  # noqa: PLR2004
        discount = 10 if self._random.random() < 0.15 else 0  # noqa: PLR2004
        return Terms(currency, discount, self._random.choices(list(_STATUSES), list(_STATUSES.values()))[0])

    def _end_payment(self, shop: SimulatedShop, order: Order) -> None:
        """Staff get the money, or do not and delete the order."""
        status = self._random.choice(("paid", "voided", "expired"))
        shop.orders.settle(order, status)
        if status != "paid":
            shop.orders.delete(order)

    def _open_order(self, guests: Guests, *, unpaid: bool) -> Order | None:
        """An order that may be changed, or one that is to be paid."""
        found = [order for number in guests.orders if (order := guests.shop.orders.find(number)) and order.is_open]
        if unpaid:
            found = [order for order in found if order.financial_status in UNPAID]
        return self._random.choice(found) if found else None

    def _customer(self) -> Customer:
        first, last = self._random.choice(_NAMES), self._random.choice(_SURNAMES)
        number = self._random.randint(1, 5_000)
        email = f"guest.{number}@example.com"
        return Customer(7_200_000_000_000 + number, first, last, email)

    async def _get(self, guests: Guests, path: str, query: str = "") -> dict[str, Any]:
        answer = await self._ask(guests, ProxiedRequest("GET", path, query))
        try:
            value = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise AppUnreachableError("the app's answer is not JSON") from None
        return value if isinstance(value, dict) else {}

    async def _ask(self, guests: Guests, request: ProxiedRequest) -> httpx.Response:
        """The app's answer to a guest.

        Raises:
            AppUnreachableError: None, or one that the guest cannot use.
        """
        address = f"198.51.100.{self._random.randint(1, 254)}"
        answer = await self._proxy.forward(guests.shop.demo.domain, request._replace(address=address))
        if not answer.is_success:
            raise AppUnreachableError(f"the app answered {answer.status_code} {HTTPStatus(answer.status_code).phrase}")
        return answer
