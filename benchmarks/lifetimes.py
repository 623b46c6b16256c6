"""`python -m benchmarks.lifetimes`: what lifetimes by stability save, in a simulated week of one shop. No servers.

Each registry changes at random moments, with a mean interval of its own between six hours and sixty days, and has its
event at most 60 days before or 240 days after the week. A change refills the entry, which is not a renewal.
"""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Final, NamedTuple

from wishcraft.cache.keys import SPREAD
from wishcraft.domain.cached_registry import SHORTEST_LIFETIME, soft_lifetime
from wishcraft.services.registries.warm import FRESH_FOR

REGISTRIES: Final = 10_000
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR
_WEEK_HOURS: Final = 7 * 24
_WARM_EVERY: Final = _HOUR / 2

Rule = Callable[[timedelta, int | None], timedelta]


class Registry(NamedTuple):
    """The times of its changes, the first before the week, and of its event; seconds from the beginning of the week."""

    changes: list[float]
    event: float


class Renewals(NamedTuple):
    """Loads an hour of entries that had not changed, in all registries."""

    by_warm: float
    """By cache-warm every half hour, of entries that would be stale too soon."""
    by_readers: float
    """Without cache-warm, if each registry is read all the time."""


def fixed(_unchanged_for: timedelta, _days_to_event: int | None) -> timedelta:
    """The rule to compare with: an hour for all."""
    return SHORTEST_LIFETIME


def simulate(rule: Rule, registries: int = REGISTRIES) -> Renewals:
    """A week under this rule; the same registries for every rule."""
    random, by_warm, by_readers = Random(2026), 0, 0  # noqa: S311  no secret
    for registry in (_registry(random) for _ in range(registries)):
        spreads = Random(registry.event)  # noqa: S311
        by_warm += _count(registry, rule, spreads, FRESH_FOR.total_seconds(), _WARM_EVERY)
        by_readers += _count(registry, rule, spreads, 0.0, 0.0)
    return Renewals(by_warm / _WEEK_HOURS, by_readers / _WEEK_HOURS)


def _registry(random: Random) -> Registry:
    mean = _DAY * 0.25 * 240 ** random.random()  # log-uniform
    changes = [-random.expovariate(1 / mean)]
    while changes[-1] < _WEEK_HOURS * _HOUR:
        changes.append(max(changes[-1], 0) + random.expovariate(1 / mean))
    return Registry(changes, random.uniform(-60, 240) * _DAY)


def _count(registry: Registry, rule: Rule, random: Random, ahead: float, every: float) -> int:
    """Renewals in the week: `ahead` of the entry's expiry, at the next multiple of `every` seconds (0: at once)."""
    renewals = 0
    for changed, following in zip(registry.changes, registry.changes[1:], strict=False):
        filled = max(changed, 0.0)
        while True:
            days = int((registry.event - filled) // _DAY)
            soft = rule(timedelta(seconds=filled - changed), days).total_seconds() * (1 - SPREAD * random.random())
            due = max(filled + soft - ahead, filled)
            filled = (due // every + 1) * every if every else due
            if filled >= min(following, _WEEK_HOURS * _HOUR):
                break
            renewals += 1
    return renewals


def main() -> None:
    """Print the renewals of both rules."""
    print(f"Renewals an hour of unchanged entries, {REGISTRIES:,} registries, a week")
    print("| lifetime | by cache-warm | by readers, without it |\n|---|---|---|")
    for name, rule in (("an hour for all", fixed), ("by stability", soft_lifetime)):
        renewals = simulate(rule)
        print(f"| {name} | {renewals.by_warm:,.0f} | {renewals.by_readers:,.0f} |")


if __name__ == "__main__":
    main()
