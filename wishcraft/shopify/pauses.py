"""Pauses after failed queries: while Shopify does not answer for a shop, requests do not each wait for it. Pure.

A failure begins a pause, and the first query after it is the only one until it ends: its success ends the pauses, its
failure begins one that is twice as long.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from wishcraft.errors import ShopifyPaused

FIRST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 60.0
MAX_SHOPS: Final = 10_000
"""Above it, the pause that began first is forgotten."""


class _Pause(NamedTuple):
    failed_at: float
    seconds: float
    until: float


class Pauses:
    """The pauses of one process, by shop."""

    def __init__(
        self,
        query_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_seconds: float = FIRST_SECONDS,
        max_shops: int = MAX_SHOPS,
    ) -> None:
        """`query_seconds` is how long a query may take, and others wait for the first one after a pause."""
        self._query_seconds = query_seconds
        self._clock = clock
        self._first_seconds = first_seconds
        self._max_shops = max_shops
        self._pauses: OrderedDict[int, _Pause] = OrderedDict()

    def check(self, shop_id: int) -> None:
        """Raise ShopifyPaused in a pause, and while the first query after one is under way."""
        pause = self._pauses.get(shop_id)
        if pause and (left := pause.until - self._clock()) > 0:
            raise ShopifyPaused("Shopify did not answer a moment ago", math.ceil(left))

    def begin_query(self, shop_id: int) -> float:
        """Note that a query begins, which `check` has permitted; its start, for `failed`."""
        now = self._clock()
        if pause := self._pauses.get(shop_id):
            self._pauses[shop_id] = pause._replace(until=now + self._query_seconds)
        return now

    def succeeded(self, shop_id: int) -> None:
        """Shopify answered: end the pauses of the shop."""
        self._pauses.pop(shop_id, None)

    def failed(self, shop_id: int, started_at: float) -> None:
        """A query that began then got no answer. Of queries that began before a pause, only the first counts."""
        last = self._pauses.get(shop_id)
        if last and started_at <= last.failed_at:
            return
        seconds = min(LONGEST_SECONDS, 2 * last.seconds) if last else self._first_seconds
        now = self._clock()
        self._pauses.pop(shop_id, None)
        self._pauses[shop_id] = _Pause(now, seconds, now + seconds)
        if len(self._pauses) > self._max_shops:
            self._pauses.popitem(last=False)
