"""The sections on registries that are viewed often, never, or warmed without being read. Pure.

Only public registries are named by their slugs; of others only the id is shown.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from wishcraft.domain.work_results import join_names
from wishcraft.reports.page import Section, percent_cell, short_name

_WASTEFUL: Final = 0.5
_MIN_ENTRIES: Final = 20
"""Entries below which warming is not judged."""


class Viewed(NamedTuple):
    """A registry and its views; `slug` is None unless it is public."""

    shop: str
    id: int
    slug: str | None
    views: int


class Unviewed(NamedTuple):
    """A shop's active registries, how many of them were not viewed, and slugs of some public ones."""

    shop: str
    active: int
    unviewed: int
    slugs: Sequence[str]


class Warmed(NamedTuple):
    """A sample of a shop's entries in Redis, and how many of them were read recently."""

    shop: str
    entries: int
    read: int


def most_viewed(viewed: Sequence[Viewed]) -> Section:
    """The most viewed registries of the shops, the most viewed first: the page shows only the first rows."""
    rows = [
        (short_name(each.shop), str(each.id), each.slug or "not public", f"{each.views:,}")
        for each in sorted(viewed, key=lambda each: -each.views)
    ]
    text = "Nothing to do: these are warmed first, and evicted last." if rows else "None was read this week."
    return Section("Most viewed registries", text, ("shop", "registry", "slug", "views this week"), rows)


def unviewed(shops: Sequence[Unviewed]) -> Section:
    """Registries of each shop without a view in a month, the shop with most first."""
    with_unviewed = sorted((each for each in shops if each.unviewed), key=lambda each: -each.unviewed)
    rows = [
        (short_name(each.shop), f"{each.unviewed:,}", f"{each.active:,}", ", ".join(each.slugs) or "none public")
        for each in with_unviewed
    ]
    text = (
        "Active, older than a month, and not viewed in that month. Inform the merchants: registrants may not have "
        "shared their links, and registries of past events can be completed."
        if with_unviewed
        else "None: every active registry that is older than a month was viewed in that month."
    )
    return Section("Never viewed", text, ("shop", "never viewed", "of active", "such as"), rows)


def warming(shops: Sequence[Warmed]) -> Section:
    """The share of each shop's warmed entries that are read."""
    rows = [
        (short_name(each.shop), f"{each.entries:,}", percent_cell(each.read, each.entries))
        for each in sorted(shops, key=lambda each: each.read / each.entries if each.entries else 1)
    ]
    wasteful = [each.shop for each in shops if each.entries >= _MIN_ENTRIES and each.read < _WASTEFUL * each.entries]
    if wasteful:
        text = (
            "Most warmed entries are never read. If Redis is short of memory, lower `cache_quota_entries` of these "
            f"shops with the job `shop-settings`: {join_names(wasteful)}. Their most viewed entries stay."
        )
    else:
        text = "Nothing to do: warmed entries are read, or there are too few to judge."
    return Section("What warming is worth", text, ("shop", "entries looked at", "read in a week"), rows)
