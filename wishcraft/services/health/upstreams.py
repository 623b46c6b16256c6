"""Health of the mail server and of Shopify in the last minutes, from the counters that all processes share in Redis."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from wishcraft.cache.counters import Counters

WINDOW_SECONDS: Final = 600.0
SPACING_SECONDS: Final = 15.0
"""Between two readings that are kept: a window has 40 of them."""
SLOW_MAIL_SECONDS: Final = 5.0
"""A mean above it is slow; usual are tenths of a second."""
TROUBLE: Final = 3
"""Requests of a shop within the window that Shopify failed or throttled, which a shop in trouble has at least."""
LISTED_SHOPS: Final = 5
_MAILS: Final = "mail_seconds"
_UNAVAILABLE: Final = "mail_unavailable_total"
_REQUESTS: Final = "shopify_requests_total"
_FAULTS: Final = {
    "shopify_failed_total": "without an answer",
    "shopify_throttled_total": "throttled",
    "shopify_forbidden_total": "forbidden",
}
_SECONDS_WAITED: Final = "shopify_waited_seconds_total"
_COUNTERS: Final = (_UNAVAILABLE, _REQUESTS, *_FAULTS, _SECONDS_WAITED)
_COUNT: Final = "count"

Values = Mapping[tuple[str, ...], float]
"""By name of the counter and its labels."""


class Growth(NamedTuple):
    """By how much counters grew in the last `seconds`; 0 of the first reading, which has nothing to compare with."""

    seconds: float
    values: Values

    def of(self, name: str) -> dict[str, float]:
        """The growth of a counter by the value of its label, such as the shop."""
        return {key[-1]: value for key, value in self.values.items() if key[0] == name and value}


class RecentCounts:
    """The growth of the counters within `WINDOW_SECONDS`. Create one a process."""

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._clock = clock
        self._readings = deque[tuple[float, Values]]()

    async def read(self) -> Growth:
        """Read the counters and compare them with the oldest reading of the window.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        now, values = self._clock(), await self._read()
        while self._readings and self._readings[0][0] < now - WINDOW_SECONDS:
            self._readings.popleft()
        if not self._readings or self._readings[-1][0] <= now - SPACING_SECONDS:
            self._readings.append((now, values))
        then, before = self._readings[0]
        # Less than before: Redis was flushed, and counts from zero.
        grown = {key: value - (old if (old := before.get(key, 0.0)) <= value else 0.0) for key, value in values.items()}
        return Growth(now - then, grown)

    async def _read(self) -> Values:
        families = await self._counters.read()
        found = {(name, *each.labels): each.value for name in _COUNTERS for each in families[name]}
        for each in families[_MAILS]:
            found[_MAILS, ""] = each.value
            found[_MAILS, _COUNT] = max(each.buckets.values(), default=0.0)
        return found


def describe_mail(growth: Growth) -> tuple[bool, str]:
    """Whether the mail server is well, and how it answered."""
    period = _period(growth)
    if refused := sum(growth.of(_UNAVAILABLE).values()):
        return False, f"the mail server did not answer, or refused the connection ({refused:.0f} times {period})"
    mails = growth.values.get((_MAILS, _COUNT), 0.0)
    if not mails:
        return True, f"no mail {period}"
    mean = growth.values[_MAILS, ""] / mails
    detail = f"{mean:.1f} s a mail ({mails:.0f} {period})"
    return mean <= SLOW_MAIL_SECONDS, detail if mean <= SLOW_MAIL_SECONDS else f"the mail server is slow: {detail}"


def describe_shopify(growth: Growth) -> tuple[bool, str]:
    """Whether Shopify answers most shops, and which shops are in trouble: the first few of them."""
    asked, failed = growth.of(_REQUESTS), growth.of("shopify_failed_total")
    faults = {name: growth.of(name) for name in _FAULTS}
    troubled = shops_in_trouble(growth)
    period = _period(growth)
    if not troubled:
        number = round(sum(asked.values()))
        return True, f"{number:,} {'request' if number == 1 else 'requests'} {period}, no shop in trouble"
    waited = growth.of(_SECONDS_WAITED)
    listed = []
    for shop in troubled[:LISTED_SHOPS]:
        parts = [f"{faults[name][shop]:.0f} {text}" for name, text in _FAULTS.items() if faults[name].get(shop)]
        parts += [f"{waited[shop]:.0f} s waited"] if waited.get(shop) else []
        listed.append(f"{shop} ({', '.join(parts)})")
    more = f" and {len(troubled) - LISTED_SHOPS:,} more" if len(troubled) > LISTED_SHOPS else ""
    without_answer = sum(1 for count in failed.values() if count >= TROUBLE)
    return 2 * without_answer <= len(asked), f"shops in trouble {period}: {', '.join(listed)}{more}"


def shops_in_trouble(growth: Growth) -> list[str]:
    """The shops whose requests Shopify failed or refused at least `TROUBLE` times, the worst first."""
    total = Counter[str]()
    for name in _FAULTS:
        total.update(growth.of(name))
    return sorted((shop for shop, count in total.items() if count >= TROUBLE), key=lambda shop: (-total[shop], shop))


def group_shops_in_trouble(growth: Growth) -> dict[str, list[str]]:
    """The shops in trouble, the worst first, by what most of their requests met: the counter's name."""
    faults = {name: growth.of(name) for name in _FAULTS}
    groups: dict[str, list[str]] = {}
    for shop in shops_in_trouble(growth):
        groups.setdefault(max(faults, key=lambda name: faults[name].get(shop, 0.0)), []).append(shop)
    return groups


def _period(growth: Growth) -> str:
    return f"in the last {growth.seconds:,.0f} s"
