"""The state of a line item after its order's snapshots, refunds and edits."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from wishcraft.domain.orders import Line, LineState, OrderSnapshot, find_attribution, includes, line_state
from wishcraft.domain.registries import PurchaseStatus

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
CONFIRMED, PENDING = PurchaseStatus.CONFIRMED, PurchaseStatus.PENDING
CANCELLED, REFUNDED = PurchaseStatus.CANCELLED, PurchaseStatus.REFUNDED


def line(ordered: int, left: int) -> Line:
    return Line(7, 1, "Vase", ordered, left, Decimal(5), "", None, anonymous=False, gift_message=None)


def snapshot(refunds: frozenset[int] | None) -> OrderSnapshot:
    return OrderSnapshot(1, "#1", NOON, NOON, False, CONFIRMED, (), "", None, None, (), refunds)  # noqa: FBT003


@pytest.mark.parametrize(
    ("ordered", "left", "status", "pending", "state"),
    [
        (3, 3, CONFIRMED, [], (3, CONFIRMED)),
        (3, 3, PENDING, [], (3, PENDING)),
        (3, 2, CONFIRMED, [], (2, CONFIRMED)),
        (3, 2, CONFIRMED, [{7: -1}], (1, CONFIRMED)),
        (3, 2, CONFIRMED, [{7: -1}, {8: -1}, {7: 2}], (3, CONFIRMED)),
        (3, 0, CONFIRMED, [], (3, REFUNDED)),
        (3, 1, CONFIRMED, [{7: -1}], (3, REFUNDED)),
        (3, 1, CONFIRMED, [{7: -5}], (3, REFUNDED)),
        (3, 3, CANCELLED, [], (3, CANCELLED)),
        (3, 0, CANCELLED, [{7: -3}], (3, CANCELLED)),
        (0, 0, CONFIRMED, [], (1, REFUNDED)),
    ],
)
def test_pieces_that_are_left_decide_and_none_keeps_what_was_bought(
    ordered: int, left: int, status: PurchaseStatus, pending: list[dict[int, int]], state: tuple[int, PurchaseStatus]
) -> None:
    assert line_state(line(ordered, left), status, pending) == LineState(max(ordered, 1), *state)


@pytest.mark.parametrize(
    ("refunds", "name", "at", "included"),
    [
        (frozenset({5}), "refund/5", None, True),
        (frozenset({5}), "refund/6", NOON - timedelta(days=1), False),
        (None, "refund/6", NOON, True),
        (None, "refund/6", None, False),
        (frozenset({5}), "edit/5", NOON, True),
        (frozenset({5}), "edit/5", NOON + timedelta(seconds=1), False),
        (frozenset(), "edit/5", None, False),
    ],
)
def test_snapshot_includes_the_refunds_that_it_lists_and_the_edits_before_it(
    refunds: frozenset[int] | None, name: str, at: datetime | None, *, included: bool
) -> None:
    assert includes(snapshot(refunds), name, at) is included


@pytest.mark.parametrize("claim", ["", "7", "smith", "x" * 500, "6f9619ff-8b86-d011-b42d-00cf4fc964f"])
def test_claim_that_is_no_attribution_names_no_item(claim: str) -> None:
    assert find_attribution(claim) is None
