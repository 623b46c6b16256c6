"""Changes by an update of an order: its purchases, its lines without an item, and its state. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wishcraft.domain.orders import Adjustment, Line, LineState, OrderSnapshot, includes, line_state
from wishcraft.domain.registries import LIVE_PURCHASES, PurchaseStatus
from wishcraft.services.purchases.attribution import FoundItems, LineAttribution, attribute_lines, order_claim
from wishcraft.services.purchases.order_updates import EARLIEST, OrderUpdate, ReceivedSnapshot
from wishcraft.store.orders import OrderState
from wishcraft.store.purchases import ItemRef, LineChange, PurchaseRow, StoredLine, UnmatchedRow


@dataclass(slots=True)
class Rows:
    """Changes of the tables by a batch."""

    bought: list[PurchaseRow] = field(default_factory=list)
    unmatched: list[UnmatchedRow] = field(default_factory=list)
    changes: list[LineChange] = field(default_factory=list)
    matched: list[int] = field(default_factory=list)
    """Line items of unmatched lines that are purchases now."""
    ignored: list[int] = field(default_factory=list)
    """Messages that bring nothing new."""


def add_order(
    rows: Rows, order_update: OrderUpdate, state: OrderState, stored: Sequence[StoredLine], found: FoundItems
) -> OrderState:
    """Add to `rows` what the batch changes about one order; its new state."""
    received = order_update.newest
    awaited_since = _awaited_since(state, received)
    if received and _is_older(received, state):
        rows.ignored += [] if received.message_id is None else [received.message_id]
        received = None
    adjustments, added = _take_adjustments(rows, order_update, state)
    state = state._replace(adjustments=adjustments, awaited_since=awaited_since)
    if received:
        return _add_snapshot(rows, received, state, stored, found)
    _adjust(rows, stored, added)
    return state


def _is_older(received: ReceivedSnapshot, state: OrderState) -> bool:
    return state.updated_at is not None and received.version < (state.updated_at, state.triggered_at or EARLIEST)


def _take_adjustments(
    rows: Rows, order_update: OrderUpdate, state: OrderState
) -> tuple[dict[str, Any], list[Adjustment]]:
    """The state's adjustments with those that it lacks, and of these the ones that change its lines."""
    adjustments = dict(state.adjustments)
    added: list[Adjustment] = []
    for name, (adjustment, message_id) in order_update.adjustments.items():
        if name in adjustments:
            rows.ignored.append(message_id)
        elif adjustment.at is not None and name.startswith("edit/") and _is_past(adjustment.at, state):
            adjustments[name] = {}
        else:
            adjustments[name] = _stored(adjustment)
            added.append(adjustment)
    return adjustments, added


def _add_snapshot(
    rows: Rows, received: ReceivedSnapshot, state: OrderState, stored: Sequence[StoredLine], found: FoundItems
) -> OrderState:
    """Add to `rows` what the newest snapshot of an order changes; its new state."""
    snapshot = received.snapshot
    adjustments = _without_included(state.adjustments, snapshot)
    pending = [
        {int(line): pieces for line, pieces in value["pieces"].items()} for value in adjustments.values() if value
    ]
    known = {line.line_item_id: line for line in stored}
    _add_lines(rows, snapshot, pending, known.copy(), attribute_lines(snapshot, found, known, state.judged))
    judged = {line.id for line in snapshot.lines} if order_claim(snapshot) else set[int]()
    return OrderState(
        updated_at=snapshot.updated_at,
        triggered_at=received.triggered_at,
        adjustments=adjustments,
        awaited_since=state.awaited_since,
        ordered_at=snapshot.ordered_at or state.ordered_at,
        judged=sorted(judged.union(state.judged)),
    )


def _without_included(adjustments: Mapping[str, Any], snapshot: OrderSnapshot) -> dict[str, Any]:
    """The adjustments and the snapshot's refunds, by name: empty if the snapshot includes them."""
    pending: dict[str, Any] = {f"refund/{each}": {} for each in snapshot.refunds or ()}
    for name, value in adjustments.items():
        at = datetime.fromisoformat(value["at"]) if value.get("at") else None
        pending[name] = {} if includes(snapshot, name, at) else value
    return pending


def _awaited_since(state: OrderState, received: ReceivedSnapshot | None) -> datetime | None:
    """The time of the oldest change that a reading brought before any webhook as new; None if none is awaited."""
    if received is None:
        return state.awaited_since
    changed_at = received.snapshot.updated_at
    if received.message_id is None:
        is_news = received.is_awaited and not _is_past(changed_at, state)
        return state.awaited_since or (changed_at if is_news else None)
    return None if state.awaited_since is None or changed_at >= state.awaited_since else state.awaited_since


def _is_past(moment: datetime, state: OrderState) -> bool:
    return state.updated_at is not None and moment <= state.updated_at


def _stored(adjustment: Adjustment) -> dict[str, Any]:
    at = adjustment.at.isoformat() if adjustment.at else None
    return {"at": at, "pieces": {str(line): pieces for line, pieces in adjustment.pieces.items()}}


def _adjust(rows: Rows, stored: Sequence[StoredLine], added: Iterable[Adjustment]) -> None:
    """Change the stored lines by refunds and edits that came on their own."""
    for line in stored:
        delta = sum(adjustment.pieces.get(line.line_item_id, 0) for adjustment in added)
        if not delta or line.status is PurchaseStatus.CANCELLED:
            continue
        left = (line.quantity if line.status in LIVE_PURCHASES else 0) + delta
        is_live = left > 0 and line.status in LIVE_PURCHASES
        status = line.status if is_live else PurchaseStatus.CONFIRMED if left > 0 else PurchaseStatus.REFUNDED
        rows.changes.append(LineChange(line.line_item_id, line.ordered, left if left > 0 else line.ordered, status))


def _add_lines(
    rows: Rows,
    snapshot: OrderSnapshot,
    pending: Sequence[Mapping[int, int]],
    known: dict[int, StoredLine],
    attributed: Mapping[int, LineAttribution],
) -> None:
    """Add the lines of the newest snapshot; those that are not `attributed` keep what they are."""
    for line in snapshot.lines:
        state = line_state(line, snapshot.status, pending)
        before, attribution = known.pop(line.id, None), attributed.get(line.id, LineAttribution())
        if attribution.item:
            rows.bought.append(_purchase(snapshot, line, state, attribution.item))
            rows.matched += [line.id] if before else []
        elif before:
            rows.changes.append(LineChange(line.id, *state))
        elif attribution.claim:
            rows.unmatched.append(_unmatched(snapshot, line, state, attribution))
    rows.changes += [
        LineChange(each.line_item_id, each.ordered, each.ordered, PurchaseStatus.CANCELLED) for each in known.values()
    ]


def _purchase(snapshot: OrderSnapshot, line: Line, state: LineState, item: ItemRef) -> PurchaseRow:
    return PurchaseRow(
        registry_id=item.registry_id,
        item_id=item.id,
        order_id=snapshot.id,
        line_item_id=line.id,
        order_name=snapshot.name,
        ordered=state.ordered,
        quantity=state.quantity,
        unit_price=line.unit_price,
        purchaser_id=snapshot.purchaser_id,
        purchaser_name=line.purchaser_name,
        purchaser_email=snapshot.purchaser_email,
        anonymous=line.anonymous,
        gift_message=line.gift_message,
        status=state.status,
        visitor=line.visitor,
    )


def _unmatched(snapshot: OrderSnapshot, line: Line, state: LineState, attribution: LineAttribution) -> UnmatchedRow:
    return UnmatchedRow(
        order_id=snapshot.id,
        line_item_id=line.id,
        order_name=snapshot.name,
        variant_id=line.variant_id,
        product_title=line.title,
        ordered=state.ordered,
        quantity=state.quantity,
        unit_price=line.unit_price,
        status=state.status,
        claim=attribution.claim,
        reason=attribution.reason,
        purchaser_id=snapshot.purchaser_id,
        purchaser_name=line.purchaser_name,
        purchaser_email=snapshot.purchaser_email,
        anonymous=line.anonymous,
        gift_message=line.gift_message,
    )
