"""Pages about dead letters of webhooks and about line items without an item. Pure.

Prefect stores them, so they have no payload, no purchaser, no slug, and no text that a guest has typed.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Final

import orjson

from wishcraft.domain import times
from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS
from wishcraft.domain.mail_events import MailEvent
from wishcraft.reports.markdown import table
from wishcraft.reports.page import Page, Row, pluralize
from wishcraft.reports.payload_outline import outline
from wishcraft.store.purchases import ListedLine, OverPurchase
from wishcraft.store.webhook_dead_letters import DeadLetter

ROWS_ON_THE_PAGE: Final = 50
_KEY: Final = "webhook-dead-letters"
_ORDER_NAME: Final = re.compile(r"[\w#/.-]{0,10}\d[\w/.-]{0,20}")
"""As Shopify numbers orders, such as #1001 or DE-1001-X; other channels may give them any text."""
_NEXT: Final = (
    "Find the reason (`docs/runbooks/webhooks.md` says how), then run this job again: `replay` them with"
    " their ids, or `discard` those that are not needed."
)


def dead_letters_page(letters: Sequence[DeadLetter], total: int, zone: tzinfo) -> Page:
    """The dead letters that wait for a decision."""
    if not letters:
        return Page("No dead letter.", "Every webhook was handled, or will be tried again by itself.", {})
    more = f", the oldest {len(letters):,} in the table" if total > len(letters) else ""
    rows = [_letter(letter, zone) for letter in letters]
    return Page(f"{pluralize(total, 'dead letter')}{more}.", f"{_NEXT}\n\n{_table(rows)}", {_KEY: rows})


def inspected_page(inspected: Sequence[tuple[DeadLetter, bytes | None]], zone: tzinfo) -> Page:
    """Dead letters with their failures, and with the fields of their payloads but for personal data."""
    letters = [letter for letter, _ in inspected]
    failures: list[Row] = [
        {"id": letter.id, "at": times.second(datetime.fromisoformat(each["at"]), zone), "reason": each["reason"]}
        for letter in letters
        for each in letter.failures
    ]
    fields: list[Row] = [
        {"id": letter.id, "field": path, "value": value}
        for letter, payload in inspected
        for path, value in _fields(letter, payload)
    ]
    rows = [_letter(letter, zone) for letter in letters]
    parts = [_table(rows)]
    parts += [f"## Failures\n\n{_table(failures)}"] if failures else []
    parts += [f"## Payloads\n\nOf personal data, only the type is shown.\n\n{_table(fields)}"]
    tables = {_KEY: rows, f"{_KEY}-failures": failures, f"{_KEY}-payloads": fields}
    verdict = f"{pluralize(len(letters), 'dead letter')} inspected."
    return Page(verdict, "\n\n".join(parts), {name: found for name, found in tables.items() if found})


def _fields(letter: DeadLetter, payload: bytes | None) -> Iterable[tuple[str, str]]:
    """The fields of a payload that may be shown: all of a mail event, which has numbers and codes only."""
    if payload is None:
        return [("", "the payload was removed")]
    if letter.topic == MAIL_EVENTS:
        with suppress(KeyError, ValueError, TypeError):
            event = MailEvent.from_json(orjson.loads(payload)).to_json()
            return [(name, str(value)) for name, value in event.items()]
    return outline(payload)


def decided_page(letters: Sequence[DeadLetter], decision: str, zone: tzinfo) -> Page:
    """The dead letters that a run replayed or discarded."""
    rows = [_letter(letter, zone) for letter in letters]
    done = "will be handled now" if decision == "replay" else "discarded"
    verdict = f"{pluralize(len(letters), 'dead letter')} {done}."
    return Page(verdict, _table(rows), {_KEY: rows}) if rows else Page(verdict, "There were none.", {})


def unmatched_page(
    shop: str, lines: Sequence[ListedLine], total: int, excess: Sequence[OverPurchase], zone: tzinfo
) -> Page:
    """The line items that wait to be matched, and the items with more bought than wanted."""
    rows = [_unmatched(line, zone) for line in lines]
    shown: list[Row] = [
        {
            "id": row["id"],
            "bought": f"{row['pieces']} × {row['product']}, order {row['order']}",  # noqa: RUF001  a multiplication sign
            "why": f"{row['why']}; it names {row['named']}. Items of its variant: {row['items of the variant']}",
        }
        for row in rows
    ]
    over: list[Row] = [
        {"registry": each.registry_id, "item": each.item_id, "product": each.product_title, "wanted": each.wanted,
         "purchased": each.purchased}
        for each in excess
    ]  # fmt: skip
    shown_over: list[Row] = [
        {"registry": each["registry"], "item": each["item"], "product": each["product"],
         "bought": f"{each['purchased']} of {each['wanted']}"}
        for each in over
    ]  # fmt: skip
    parts = []
    if rows:
        parts.append(
            "Look at the order in Shopify and find the item, then run this job with `unmatched` (the id in the table)"
            f" and `item`, or with `dismiss`.\n\n{_table(shown)}"
        )
    if over:
        parts.append(
            "## More bought than wanted\n\nThe shop decides: it may ask the registrant, or refund what is too much."
            f" Refunded pieces no longer count.\n\n{_table(shown_over)}"
        )
    verdict = f"{shop}: {pluralize(total, 'line item')} to be matched; {pluralize(len(over), 'item')} over-purchased."
    tables = {name: found for name, found in (("match-purchases", rows), ("match-purchases-excess", over)) if found}
    return Page(verdict, "\n\n".join(parts) or "Nothing needs to be done.", tables)


def _unmatched(line: ListedLine, zone: tzinfo) -> Row:
    """All that is known of a line item, for Prefect's table; the page has the columns that fit a phone."""
    return {
        "id": line.id,
        "why": line.reason,
        "product": line.product_title if line.variant_id else "custom, or deleted",
        "pieces": line.quantity,
        "items of the variant": ", ".join(map(str, line.candidates)) or "none",
        "named": _named(line),
        "order": line.order_name if _ORDER_NAME.fullmatch(line.order_name) else "unusual name",
        "since": times.second(line.created_at, zone),
        "status": line.status,
        "variant": line.variant_id or "none",
        "order id": line.order_id,
    }


def _named(line: ListedLine) -> str:
    """The registry or item that the line names, by its id: the name itself may be any text."""
    if line.named_item:
        return f"item {line.named_item}"
    return f"registry {line.named_registry}" if line.named_registry else "nothing that the shop has"


def _letter(letter: DeadLetter, zone: tzinfo) -> Row:
    return {
        "id": letter.id,
        "shop": letter.shop_domain,
        "topic": letter.topic,
        "received": times.second(letter.received_at, zone),
        "failed tries": letter.attempts,
        "reason": str(letter.failures[-1]["reason"]) if letter.failures else "unknown",
    }


def _table(rows: Sequence[Row]) -> str:
    """The first rows, for the page; Prefect's table has all of them."""
    shown = table(list(rows[0]), [[str(value) for value in row.values()] for row in rows[:ROWS_ON_THE_PAGE]])
    left = len(rows) - ROWS_ON_THE_PAGE
    return f"{shown}\n\nAnd {left:,} more: see the table." if left > 0 else shown
