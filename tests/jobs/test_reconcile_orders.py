"""The job `reconcile-orders`, as the form of Prefect's UI runs it."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.order import Customer
from deployments.sandbox.shopify.orders import WantedLine
from deployments.sandbox.shopify.simulator import Simulator
from flows.reconcile_orders import reconcile_orders
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import summary_of, table_of
from wishcraft.reports.page import short_name
from wishcraft.settings import time_zone

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP, BROKEN = "maple-and-pine.myshopify.com", "lumiere-maison.myshopify.com"


def today() -> date:
    return datetime.now(time_zone()).date()


async def test_missed_orders_are_recorded_and_a_shop_that_fails_stops_no_other(
    simulator: Simulator, demo: Demo
) -> None:
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    variant_id, claim = demo.execute(
        "SELECT variant_id, attribution::text FROM registry_items WHERE shop_id = 1 ORDER BY id"
    ).fetchall()[0]
    line = WantedLine(variant_id, 2, {"_registry_item": claim})
    orders = simulator.shops[SHOP].orders
    order_id = orders.create([line], Customer(1, "Ada", "Byron", "ada@example.com")).id
    demo.execute("UPDATE shops SET installed_at = now() - interval '1 day', orders_read_until = NULL")
    state = await reconcile_orders(return_state=True)
    assert state.is_failed()
    rows = {row["shop"]: row for row in await table_of(state)}
    row = rows[short_name(SHOP)]
    assert (row["orders"], row["missed"], row["problem"]) == (1, 1, "none")
    assert rows[short_name(BROKEN)]["problem"].startswith("Shopify does not accept")
    summary = await summary_of(state)
    assert "Worth a look" in summary
    assert "Ask the merchant to open the app in the admin, or to install it again." in summary
    bought = demo.execute("SELECT quantity FROM purchases WHERE order_id = %s", [order_id]).fetchall()
    assert bought == [(2,)]
    state = await reconcile_orders([SHOP], today() - timedelta(days=1), return_state=True)
    assert state.is_completed(), state.message
    counts: Any = await state.aresult()
    assert counts == {"orders": 1, "missed": 0, "deleted": 0, "overdue": 0, "unreadable": 0}


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        (61, None, "60 days"),
        (None, 62, "no day of the last 60"),
        (-2, None, "no day of the last 60"),
        (1, 2, "is after"),
    ],
)
async def test_days_that_shopify_does_not_give_are_refused(first: int | None, last: int | None, reason: str) -> None:
    days = [None if age is None else today() - timedelta(days=age) for age in (first, last)]
    state = await reconcile_orders([SHOP], *days, return_state=True)
    assert state.name == "Refused"
    assert reason in str(state.message)
