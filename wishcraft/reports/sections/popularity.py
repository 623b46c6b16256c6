"""Which registries are read, and which are kept ready for nobody. Pure.

Only public registries are named, by their slugs, which everybody can find; of others the id alone is shown.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from wishcraft.domain.work_results import join_names
from wishcraft.reports.page import Section, percent

_WASTEFUL: Final = 0.5
_FEW: Final = 20
"""Fewer entries say little."""


class Viewed(NamedTuple):
    """A registry and how often it was read; `slug` is None unless it is public."""

    shop: str
    id: int
    slug: str | None
    views: int


class Unviewed(NamedTuple):
    """How many of a shop's active registries nobody has read, and some that are public."""

    shop: str
    active: int
    unviewed: int
    slugs: Sequence[str]


class Warmed(NamedTuple):
    """A sample of a shop's entries in Redis, and how many of them were read of late."""

    shop: str
    entries: int
    read: int


def most_viewed(viewed: Sequence[Viewed]) -> Section:
    """The shops' most read registries."""
    rows = [(each.shop, str(each.id), each.slug or "not public", f"{each.views:,}") for each in viewed]
    text = "Nothing to do: these are warmed first, and given up last." if rows else "None was read this week."
    return Section("Most viewed registries", text, ("shop", "registry", "slug", "views this week"), rows)


def unviewed(shops: Sequence[Unviewed]) -> Section:
    """By shop, what nobody read in a month."""
    found = [each for each in shops if each.unviewed]
    rows = [
        (each.shop, f"{each.unviewed:,}", f"{each.active:,}", ", ".join(each.slugs) or "none public") for each in found
    ]
    text = (
        "Active, older than a month, and read by nobody in that month. Tell the merchants: registrants who have not "
        "shared their link may want to, and what is over can be completed."
        if found
        else "None: every registry that is older than a month was read in it."
    )
    return Section("Never viewed", text, ("shop", "never viewed", "of active", "such as"), rows)


def warming(shops: Sequence[Warmed]) -> Section:
    """By shop, how much of what is warmed is read."""
    rows = [
        (each.shop, f"{each.entries:,}", percent(each.read, each.entries))
        for each in sorted(shops, key=lambda each: each.read / each.entries if each.entries else 1)
    ]
    wasteful = [each.shop for each in shops if each.entries >= _FEW and each.read < _WASTEFUL * each.entries]
    if wasteful:
        text = (
            "Most of what is warmed is never read. If Redis is short of memory, a lower `cache_quota_entries` costs "
            f"these shops little, for the most viewed stay: {join_names(wasteful)}."
        )
    else:
        text = "Nothing to do: what is warmed is read, or there is too little of it to tell."
    return Section("What warming is worth", text, ("shop", "entries looked at", "read in a week"), rows)
