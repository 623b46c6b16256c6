"""The page of a shop's audit log. Pure.

Prefect stores it, so it has no address of a request, no name and no slug, which has the words of a title.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from types import MappingProxyType
from typing import Any, Final

from wishcraft.domain import times
from wishcraft.reports.markdown import escape, link, table
from wishcraft.reports.page import Page, Row, pluralize
from wishcraft.reports.shop_settings import setting_text
from wishcraft.store.audit_log import AuditEntry, FilterName

ROWS_ON_THE_PAGE: Final = 50
MOST_LISTED: Final = 30
"""Values that entries have, if none has that of a filter."""
_LISTS: Final[Mapping[FilterName, str]] = {"actor": "kinds of actors", "action": "actions", "resource": "resources"}
_RECOUNT: Final = frozenset({"item_id", "was", "counted"})
_HEADER: Final = ("time", "actor", "action", "resource", "details")


def audit_page(
    shop: str,
    entries: Sequence[AuditEntry],
    limit: int,
    zone: tzinfo,
    run_page: Callable[[str], str],
    unknown: Mapping[FilterName, Sequence[str]] = MappingProxyType({}),
) -> Page:
    """The first `limit` entries, with times in the zone; one more entry than that says that there are more.

    `unknown` has the filters whose value no entry of any time has, and what entries have instead. The page does not
    quote the value: an operator may take an address for an actor.
    """
    rows = [_row(entry, zone) for entry in entries[:limit]]
    if unknown:
        found = [f"- {_LISTS[name]}: {_listed(values)}" for name, values in unknown.items()]
        verdict = f"{shop}: no entry, of any time, has the given {' or the given '.join(unknown)}."
        return Page(verdict, "\n".join(["The entries have:\n", *found]), {})
    if not rows:
        return Page(f"{shop}: no entry.", "Change the filters, or choose another period.", {})
    more = " There are more: narrow the filters." if len(entries) > limit else ""
    verdict = f"{shop}: {pluralize(len(rows), 'entry')}, the newest of {rows[0]['time']}.{more}"
    shown = zip(rows[:ROWS_ON_THE_PAGE], entries, strict=False)
    body = table(_HEADER, [_line(row, entry, run_page) for row, entry in shown])
    if len(rows) > ROWS_ON_THE_PAGE:
        body += f"\n\nAnd {len(rows) - ROWS_ON_THE_PAGE:,} more: see the table."
    return Page(verdict, body, {"audit-trail": rows})


def _listed(values: Sequence[str]) -> str:
    """The first values; one more than `MOST_LISTED` says that there are more."""
    shown = ", ".join(map(escape, values[:MOST_LISTED])) or "none"
    return f"{shown} and more" if len(values) > MOST_LISTED else shown


def _row(entry: AuditEntry, zone: tzinfo) -> Row:
    return {
        "time": times.second(entry.created_at, zone),
        "actor": entry.actor,
        "action": entry.action,
        "resource": entry.resource,
        "resource id": entry.resource_id,
        "details": _details(entry.details),
    }


def _line(row: Row, entry: AuditEntry, run_page: Callable[[str], str]) -> list[str]:
    """The row for the page, where an actor that is a run links to it."""
    actor, run = str(row["actor"]), entry.details.get("run")
    return [
        str(row["time"]),
        link(actor, run_page(str(run))) if run else actor,
        str(row["action"]),
        f"{row['resource']} {row['resource id']}",
        str(row["details"]),
    ]


def _details(details: Mapping[str, Any]) -> str:
    """The details in a line: settings before and after, and so on; of what may hold addresses, only the number."""
    parts = [_detail(name, value) for name, value in details.items() if name not in {"run", "before", "after"}]
    before, after = details.get("before"), details.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        texts = {name: (setting_text(name, before.get(name)), setting_text(name, after[name])) for name in after}
        parts = [f"{name}: {old} → {new}" for name, (old, new) in texts.items()] + parts
    return "; ".join(parts)


def _detail(name: str, value: Any) -> str:
    match name, value:
        case "networks", []:
            return "from any address"
        case "days", None:
            return "never expires"
        case "items", [*items] if all(each.keys() == _RECOUNT for each in items):
            return ", ".join(f"item {each['item_id']}: {each['was']} → {each['counted']} purchased" for each in items)
    return f"{name}: {_value(name, value)}"


def _value(name: str, value: object) -> str:
    if name in {"fields", "scopes"} and isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, list | dict):
        return f"{len(value):,}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
