"""Attributes the line items of an order to the items that they claim to be: docs/decisions/0029-attribution.md."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from wishcraft.domain.orders import Line, OrderSnapshot, find_attribution
from wishcraft.store.purchases import ItemRef, StoredLine

CLOCKS: Final = timedelta(seconds=2)
"""How much younger than an order its item may be: Shopify's times are in whole seconds, and by its clock."""
_NO_FIT: Final = "no line item of the order is of a variant that the registry or item has"


class LineAttribution(NamedTuple):
    """The item for which a line was bought, or what it claims and why that is not an item; empty without a claim."""

    item: ItemRef | None = None
    claim: str = ""
    reason: str = ""


class FoundItems:
    """The items that the line items of a batch name."""

    def __init__(self, items: Sequence[ItemRef]) -> None:
        self.registry_ids = {item.registry_id for item in items}
        self._by_attribution = {item.attribution: item for item in items}
        self._by_slug_and_variant = {(item.slug, item.variant_id): item for item in items}

    def by_attribution(self, claim: str) -> ItemRef | None:
        """The item whose attribution the claim is."""
        attribution = find_attribution(claim)
        return self._by_attribution.get(attribution) if attribution else None

    def by_slug_and_variant(self, slug: str, variant_id: int | None) -> ItemRef | None:
        """The item of the registry with this variant."""
        return None if variant_id is None else self._by_slug_and_variant.get((slug, variant_id))


def attribute_lines(
    snapshot: OrderSnapshot, found: FoundItems, stored: Mapping[int, StoredLine], judged: Collection[int]
) -> dict[int, LineAttribution]:
    """Attribute the lines that neither a purchase nor a person has settled; by line item.

    A line's own claim comes first. That of the whole order is judged once for each line: what the registrant adds later
    must not turn ordinary shopping into gifts. It is unmatched only if it fits no line: guests buy other things too.

    Args:
        snapshot: The order.
        found: The items that it names.
        stored: The lines that are stored, by line item.
        judged: Lines for which the claim of the whole order was judged; those that it lacks were added since.
    """
    settled = {line_id for line_id, line in stored.items() if line.registry_id is not None or line.is_dismissed}
    attributed = {line.id: _attribute(line, found) for line in snapshot.lines if line.id not in settled}
    text = order_claim(snapshot)
    ordered_at = snapshot.ordered_at or snapshot.updated_at
    unjudged = [
        line
        for line in snapshot.lines
        if line.id in attributed and not line.claim and _is_unjudged(text, stored.get(line.id), line.id in judged)
    ]
    named = [item for claim in snapshot.item_claims if (item := found.by_attribution(claim))]
    by_variant = {item.variant_id: item for item in reversed(named)}  # the first that is named
    for line in unjudged:
        is_added = bool(judged) and line.id not in judged
        moment = snapshot.updated_at if is_added else ordered_at
        in_registry = found.by_slug_and_variant(snapshot.registry_claim, line.variant_id)
        attributed[line.id] = LineAttribution(
            _if_there(by_variant.get(line.variant_id or 0), moment) or _if_there(in_registry, moment)
        )
    is_fitting = any(each.item for each in attributed.values()) or any(
        line.registry_id is not None for line in stored.values()
    )
    if text and not is_fitting:
        attributed |= {line.id: LineAttribution(None, text, _NO_FIT) for line in unjudged}
    return attributed


def order_claim(snapshot: OrderSnapshot) -> str:
    """The claim of the order as a whole; empty without one."""
    return snapshot.registry_claim or next(iter(snapshot.item_claims), "")


def _if_there(item: ItemRef | None, moment: datetime) -> ItemRef | None:
    """The item, if it was in the registry at this moment."""
    return item if item and not item.is_hidden and item.created_at < moment + CLOCKS else None


def _is_unjudged(text: str, waiting: StoredLine | None, is_judged: bool) -> bool:
    """Whether the order's claim is news for a line: a line that waits for a person is judged again by another claim."""
    return waiting.claim != text if waiting else not is_judged


def _attribute(line: Line, found: FoundItems) -> LineAttribution:
    if not line.claim:
        return LineAttribution()
    item = found.by_attribution(line.claim)
    if item is None:
        return LineAttribution(None, line.claim, "the shop has no such item, or no longer")
    if item.variant_id != line.variant_id:
        return LineAttribution(None, line.claim, f"item {item.id} is of another variant")
    return LineAttribution(item)
