"""Handlers of the webhooks about orders: they record the purchases of items, and give back what is refunded."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.orders import Adjustment, Line, LineState, OrderSnapshot, find_attribution, includes, line_state
from wishcraft.domain.registries import LIVE_PURCHASES, PurchaseStatus
from wishcraft.domain.webhooks import MAX_AHEAD, WebhookOutcome
from wishcraft.resources import Resources
from wishcraft.services.purchases.attribution import FoundItems, LineAttribution, attribute_lines, order_claim
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message
from wishcraft.shopify.order_payloads import read_deletion, read_edit, read_order, read_refund
from wishcraft.store import customers, orders, purchases, registries, registry_items
from wishcraft.store.orders import OrderState
from wishcraft.store.purchases import ItemRef, LineChange, PurchaseRow, StoredLine, UnmatchedRow
from wishcraft.store.registries import WriteSession
from wishcraft.store.shops import ShopRef

DELETED: Final = "orders/delete"
EDITED: Final = "orders/edited"
REFUNDED: Final = "refunds/create"
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class ReceivedSnapshot(NamedTuple):
    """A snapshot, and the webhook that brought it, or the reading of Shopify."""

    snapshot: OrderSnapshot
    triggered_at: datetime | None
    """Time of the event, or of the reading."""
    message_id: int | None
    """None for a reading."""
    is_awaited: bool = False
    """Whether Shopify must have sent a webhook of what a reading brings."""

    @property
    def version(self) -> tuple[datetime, datetime]:
        """Orders snapshots: `updated_at` counts whole seconds, so the webhook's time decides between equal ones."""
        return self.snapshot.updated_at, self.triggered_at or _EARLIEST


@dataclass(slots=True)
class OrderUpdate:
    """What a batch says of one order."""

    newest: ReceivedSnapshot | None = None
    adjustments: dict[str, tuple[Adjustment, int]] = field(default_factory=dict)
    """By name, with the message's id."""


@dataclass(slots=True)
class Rows:
    """What a batch changes in the tables."""

    bought: list[PurchaseRow] = field(default_factory=list)
    unmatched: list[UnmatchedRow] = field(default_factory=list)
    changes: list[LineChange] = field(default_factory=list)
    matched: list[int] = field(default_factory=list)
    """Line items of unmatched lines that are purchases now."""


async def handle_orders(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Handle `orders/*` and `refunds/create`: the newest state of each order decides, in any order of arrival.

    Raises:
        PayloadInvalid: As `read_order`, `read_refund` and `read_edit`.
    """
    updates, ignored = _read(messages)
    effect = await find_effect(resources, shop, updates)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        return {**dict.fromkeys(ignored, WebhookOutcome.IGNORED), **await effect.apply(write)}

    return Effect(effect.registry_ids, apply)


async def find_effect(resources: Resources, shop: ShopRef, updates: Mapping[int, OrderUpdate]) -> Effect:
    """What the updates change, by order id; messages that bring nothing new are `IGNORED`."""
    async with resources.db.autocommit() as session:
        found = await _find_items(session, shop.id, updates)
        stored = await purchases.find_lines(session, shop.id, list(updates))
    registry_ids = found.registry_ids | {line.registry_id for line in stored if line.registry_id and line.item_id}

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        return await _apply(write, shop.id, updates)

    return Effect(frozenset(registry_ids), apply)


def _read(messages: Sequence[Message]) -> tuple[dict[int, OrderUpdate], list[int]]:
    """What the messages say, by order; and the ids of those that are about test orders or older than others."""
    updates: defaultdict[int, OrderUpdate] = defaultdict(OrderUpdate)
    ignored: list[int] = []
    for message in messages:
        if message.topic in {EDITED, REFUNDED}:
            adjustment = (read_edit if message.topic == EDITED else read_refund)(message.payload)
            known = updates[adjustment.order_id].adjustments
            if adjustment.name in known:
                ignored.append(message.id)
            known.setdefault(adjustment.name, (adjustment, message.id))
            continue
        received = _received(message)
        if received.snapshot.is_test:
            ignored.append(message.id)
            continue
        order_update = updates[received.snapshot.id]
        older = order_update.newest
        if older is None or received.version > older.version:
            order_update.newest = received
            ignored += [older.message_id] if older and older.message_id is not None else []
        else:
            ignored.append(message.id)
    return dict(updates), ignored


def _received(message: Message) -> ReceivedSnapshot:
    if message.topic == DELETED:
        triggered_at, received_at = message.triggered_at, message.received_at
        deleted_at = triggered_at if triggered_at and triggered_at < received_at + MAX_AHEAD else received_at
        return ReceivedSnapshot(read_deletion(message.payload, deleted_at), deleted_at, message.id)
    return ReceivedSnapshot(read_order(message.payload), message.triggered_at, message.id)


async def _find_items(session: AsyncSession, shop_id: int, updates: Mapping[int, OrderUpdate]) -> FoundItems:
    """The items that the batch's snapshots name, of any variant, in at most two queries."""
    attributions: dict[UUID, None] = {}
    slug_variant_pairs: dict[tuple[str, int], None] = {}
    for order_update in updates.values():
        if order_update.newest is None:
            continue
        snapshot = order_update.newest.snapshot
        claims = [*snapshot.item_claims, *(line.claim for line in snapshot.lines)]
        attributions |= {found: None for claim in claims if (found := find_attribution(claim))}
        if snapshot.registry_claim:
            variant_ids = [line.variant_id for line in snapshot.lines if line.variant_id]
            slug_variant_pairs |= {(snapshot.registry_claim, variant_id): None for variant_id in variant_ids}
    return FoundItems(await purchases.find_items(session, shop_id, list(attributions), list(slug_variant_pairs)))


async def _apply(write: RegistryWrite, shop_id: int, updates: Mapping[int, OrderUpdate]) -> dict[int, WebhookOutcome]:
    session = write.session
    states = await orders.lock(session, shop_id, updates)
    found = await _find_items(session, shop_id, updates)
    stored: defaultdict[int, list[StoredLine]] = defaultdict(list)
    for line in await purchases.find_lines(session, shop_id, list(updates)):
        stored[line.order_id].append(line)
    rows, outcomes = Rows(), dict[int, WebhookOutcome]()
    for order_id, order_update in updates.items():
        states[order_id] = _add_order(rows, outcomes, order_update, states[order_id], stored[order_id], found)
    touched = {row.registry_id for row in rows.bought} | {
        line.registry_id for lines in stored.values() for line in lines if line.registry_id and line.item_id
    }
    if late := touched - write.locked.keys():  # a line was matched, or an item restored, since the look-up
        write.locked |= await registries.lock(session, shop_id, sorted(late))
    await _name_kept_customers(session, shop_id, rows)
    await _drop_unknown_claims(session, shop_id, rows)
    await purchases.add(session, shop_id, rows.bought)
    await purchases.add_unmatched(session, shop_id, rows.unmatched)
    await purchases.change(session, shop_id, rows.changes)
    await purchases.delete_unmatched(session, shop_id, rows.matched)
    await orders.save(session, shop_id, states)
    for registry_id in await registry_items.recount(session, shop_id, sorted(touched)):
        write.changed(registry_id)
    return outcomes


async def _name_kept_customers(session: WriteSession, shop_id: int, rows: Rows) -> None:
    """Replace purchasers who were merged into others meanwhile: an order keeps the id that it was made with."""
    purchasers = {row.purchaser_id for row in rows.bought} | {row.purchaser_id for row in rows.unmatched}
    kept = await customers.find_kept(session, shop_id, [each for each in purchasers if each])
    rows.bought = [
        row._replace(purchaser_id=kept[row.purchaser_id]) if row.purchaser_id in kept else row for row in rows.bought
    ]
    rows.unmatched = [
        row._replace(purchaser_id=kept[row.purchaser_id]) if row.purchaser_id in kept else row for row in rows.unmatched
    ]


async def _drop_unknown_claims(session: WriteSession, shop_id: int, rows: Rows) -> None:
    """Keep of the claims only attributions and slugs that registries have: others may name a person who was erased."""
    slugs = {row.claim for row in rows.unmatched if find_attribution(row.claim) is None}
    known = await registries.hold_named(session, shop_id, slugs)
    rows.unmatched = [row._replace(claim="") if row.claim in slugs - known else row for row in rows.unmatched]


def _add_order(
    rows: Rows,
    outcomes: dict[int, WebhookOutcome],
    order_update: OrderUpdate,
    state: OrderState,
    stored: Sequence[StoredLine],
    found: FoundItems,
) -> OrderState:
    """Add to `rows` what the batch changes about one order; its new state."""
    adjustments = dict(state.adjustments)
    added: list[Adjustment] = []
    for name, (adjustment, message_id) in order_update.adjustments.items():
        if name in adjustments:
            outcomes[message_id] = WebhookOutcome.IGNORED
            continue
        is_included = adjustment.at is not None and name.startswith("edit/") and _is_past(adjustment.at, state)
        adjustments[name] = {} if is_included else _stored(adjustment)
        added += [] if is_included else [adjustment]
    received = order_update.newest
    awaited_since = _awaited_since(state, received)
    if received and state.updated_at and received.version < (state.updated_at, state.triggered_at or _EARLIEST):
        if received.message_id is not None:
            outcomes[received.message_id] = WebhookOutcome.IGNORED
        received = None
    if received is None:
        _adjust(rows, stored, added)
        return state._replace(adjustments=adjustments, awaited_since=awaited_since)
    snapshot = received.snapshot
    for name, value in adjustments.items():
        at = datetime.fromisoformat(value["at"]) if value.get("at") else None
        if value and includes(snapshot, name, at):
            adjustments[name] = {}
    adjustments |= {
        name: {} for name in (f"refund/{each}" for each in snapshot.refunds or ()) if name not in adjustments
    }
    pending = [
        {int(line): pieces for line, pieces in value["pieces"].items()} for value in adjustments.values() if value
    ]
    known = {line.line_item_id: line for line in stored}
    _add_lines(rows, snapshot, pending, known.copy(), attribute_lines(snapshot, found, known, state.judged))
    judged = {line.id for line in snapshot.lines} if order_claim(snapshot) else set[int]()
    return OrderState(
        snapshot.updated_at,
        received.triggered_at,
        adjustments,
        awaited_since,
        snapshot.ordered_at or state.ordered_at,
        sorted(judged.union(state.judged)),
    )


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
