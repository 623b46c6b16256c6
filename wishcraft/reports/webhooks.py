"""Pages about dead letters of webhooks and about line items without an item. Pure.

Prefect stores them, so they have no payload and no purchaser.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from wishcraft.reports.markdown import table
from wishcraft.reports.page import Page, Row, pluralize
from wishcraft.store.purchases import ListedLine, OverPurchase
from wishcraft.store.webhook_events import DeadLetter

_NEXT: str = (
    "Find the reason, in the runbook dead-letters, then run this job again with these `ids` and `replay`,"
    " or `discard` those that are not needed."
)


def dead_letters_page(letters: Sequence[DeadLetter], total: int, zone: tzinfo) -> Page:
    """The dead letters that wait for a decision."""
    if not letters:
        return Page("No dead letter.", "Every webhook was handled, or will be tried again by itself.", {})
    more = f", the oldest {len(letters):,} in the table" if total > len(letters) else ""
    rows = [_letter(letter, zone) for letter in letters]
    return Page(
        f"{pluralize(total, 'dead letter')}{more}.", f"{_NEXT}\n\n{_table(rows)}", {"webhook-dead-letters": rows}
    )


def decided_page(letters: Sequence[DeadLetter], asked: int, decision: str, zone: tzinfo) -> Page:
    """The dead letters that a run replayed or discarded."""
    rows = [_letter(letter, zone) for letter in letters]
    others = f" {asked - len(letters):,} of the ids are no dead letters." if asked > len(letters) else ""
    done = "will be handled now" if decision == "replay" else "discarded"
    body = _table(rows) if rows else "Run this job without ids to see the dead letters."
    return Page(f"{pluralize(len(letters), 'dead letter')} {done}.{others}", body, {"webhook-dead-letters": rows})


def unmatched_page(
    shop: str, lines: Sequence[ListedLine], total: int, excess: Sequence[OverPurchase], zone: tzinfo
) -> Page:
    """The line items that wait to be matched, and the items of which more was bought than is wanted."""
    rows: list[Row] = [
        {
            "id": line.id,
            "order": line.order_name,
            "product": line.product_title,
            "pieces": line.quantity,
            "status": line.status,
            "why": line.reason,
            "named": line.claim,
            "variant": line.variant_id or "none",
            "since": _time(line.created_at, zone),
        }
        for line in lines
    ]
    over: list[Row] = [
        {"registry": each.slug, "item": each.item_id, "product": each.product_title, "wanted": each.wanted,
         "purchased": each.purchased}
        for each in excess
    ]  # fmt: skip
    parts = []
    if rows:
        parts.append(
            f"Find the item, then run this job with `unmatched` and `item`, or with `dismiss`.\n\n{_table(rows)}"
        )
    if over:
        parts.append(f"## More bought than wanted\n\n{_table(over)}")
    verdict = f"{shop}: {pluralize(total, 'line item')} to be matched; {pluralize(len(over), 'item')} over-purchased."
    tables = {name: found for name, found in (("match-purchases", rows), ("match-purchases-excess", over)) if found}
    return Page(verdict, "\n\n".join(parts) or "Nothing needs to be done.", tables)


def _letter(letter: DeadLetter, zone: tzinfo) -> Row:
    return {
        "id": letter.id,
        "shop": letter.shop_domain,
        "topic": letter.topic,
        "received": _time(letter.received_at, zone),
        "failed tries": letter.attempts,
        "reason": str(letter.failures[-1]["reason"]) if letter.failures else "unknown",
    }


def _table(rows: Sequence[Row]) -> str:
    return table(list(rows[0]), [[str(value) for value in row.values()] for row in rows[:50]])


def _time(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
