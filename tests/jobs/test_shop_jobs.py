from typing import Any

import pytest
from prefect import State, flow
from prefect.client.schemas.objects import StateType

from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from flows.cache_warm import cache_warm
from flows.reconcile_orders import reconcile_orders
from flows.sync_inventory import sync_inventory
from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop
from tasks.runtime.work_items import WorkState
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import summary_of, table_of, tasks_of
from wishcraft.domain.inventory import InventoryPolicy
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import ShopifyClientRefused, ShopifyUnauthorized
from wishcraft.reports.page import short_name
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.store.shops import ShopRef

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP = "maple-and-pine.myshopify.com"
BROKEN = "lumiere-maison.myshopify.com"
OTHER = "sakura-living.myshopify.com"


async def test_cache_warm_completes_with_a_row_per_shop() -> None:
    state = await cache_warm(return_state=True)
    assert state.is_completed(), state.message
    counts: Any = await state.aresult()
    assert counts["warmed"] == counts["registries"] > 0
    rows = await table_of(state)
    assert {row["shop"] for row in rows} == {short_name(SHOP), short_name(BROKEN), "sakura-living"}
    assert sum(row["warmed"] for row in rows) == counts["warmed"]
    assert not any("problem" in row for row in rows)
    assert (await summary_of(state)).startswith(f"**{state.message}**")


async def test_sync_of_given_shops_does_not_touch_the_others(simulator: Simulator) -> None:
    state = await sync_inventory([SHOP], return_state=True)
    assert state.is_completed(), state.message
    assert [row["shop"] for row in await table_of(state)] == [short_name(SHOP)]
    assert simulator.shops[SHOP].counters.requests > 0
    assert simulator.shops[BROKEN].counters.requests == 0


async def test_run_says_how_long_it_waited_for_shopify(simulator: Simulator) -> None:
    simulator.shops[SHOP].faults.set(Fault(FaultKind.TOO_MANY_REQUESTS, remaining=1))  # Retry-After: 1
    state = await sync_inventory([SHOP, BROKEN], return_state=True)
    assert "1 second of waiting for Shopify" in str(state.message)
    waited = {row["shop"]: row["waiting (s)"] for row in await table_of(state)}
    assert waited == {short_name(SHOP): 1, short_name(BROKEN): 0}


async def test_summary_of_a_sync_names_what_changed_within_bounds(simulator: Simulator, demo: Demo) -> None:
    demo.execute(
        "UPDATE registry_items SET inventory_quantity = 9, tracked = true, available = true, status = 'active',"
        " inventory_policy = 'deny'"
    )
    inventory = simulator.shops[SHOP].inventory
    [variants] = (
        demo.execute(
            "SELECT array_agg(DISTINCT variant_id) FROM registry_items JOIN registries ON registries.id = registry_id"
            " WHERE registries.status = 'active' AND registry_items.shop_id = 1"
        ).fetchone()
        or ()
    )
    for number, variant_id in enumerate(variants):
        variant = inventory.find_or_deleted(variant_id)
        assert variant
        variant.tracked, variant.policy, variant.quantity = True, InventoryPolicy.DENY, 9
        if number == 0:
            variant.quantity, variant.product_title = 0, "Vase | *"
    page = await summary_of(await sync_inventory([SHOP], return_state=True))
    changed = page.partition("## What changed")[2].partition("\n\n##")[0]
    gone = next(line for line in changed.splitlines() if line.startswith("- **no longer available:**"))
    assert gone.startswith("- **no longer available:** Vase \\| \\*")
    assert gone.endswith(" (maple-and-pine)")
    assert "- **registries:** " in changed


async def test_failure_of_one_shop_fails_the_run_and_does_not_stop_the_others(simulator: Simulator) -> None:
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    for variant_id in simulator.shops[SHOP].inventory.variant_ids():
        variant = simulator.shops[SHOP].inventory.find_or_deleted(variant_id)
        assert variant
        variant.price += 1
    state = await sync_inventory(return_state=True)
    assert state.is_failed()
    assert BROKEN in str(state.message)
    ended = {run.name: run.state for run in await tasks_of(state, "sync", 3)}
    assert {name: each and each.type for name, each in ended.items()} == {
        f"sync {shop.domain}": StateType.FAILED if shop.domain == BROKEN else StateType.COMPLETED for shop in DEMO_SHOPS
    }
    assert f"1 shop: nothing done. Failed: {BROKEN} (" in str(ended[f"sync {BROKEN}"])
    assert "Shopify does not accept the access token" in str(state.message)
    rows = {row["shop"]: row for row in await table_of(state)}
    assert rows[short_name(BROKEN)]["problem"].startswith("Shopify does not accept")
    assert rows[short_name(SHOP)]["problem"] == "none"
    assert rows[short_name(SHOP)]["changed"] > 0
    assert "Ask the merchant to open the app in the admin, or to install it again." in await summary_of(state)


@pytest.mark.parametrize("kind", [FaultKind.FROZEN, FaultKind.INACTIVE])
async def test_shop_that_is_not_paid_for_or_is_closed_fails_no_run(
    kind: FaultKind, simulator: Simulator, demo: Demo
) -> None:
    demo.execute("UPDATE shops SET synced_at = now() - interval '1 day', variants_read_at = NULL")
    simulator.shops[BROKEN].faults.set(Fault(kind, remaining=None))
    for job in (sync_inventory, reconcile_orders):
        state = await job([SHOP, BROKEN], return_state=True)
        assert state.is_completed(), state.message
        assert "1 closed in Shopify" in str(state.message)
        assert short_name(BROKEN) in (await summary_of(state)).partition("closed in Shopify")[2]
    columns = "synced_at > now() - interval '1 hour', variants_read_at"
    found = demo.execute(f"SELECT {columns} FROM shops WHERE domain = %s", [BROKEN]).fetchone()  # noqa: S608  ours
    assert found == (True, None)  # no violated invariant, and no reading


async def test_summary_of_a_failed_run_links_to_the_runbook(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_URL", "https://docs.example/runbooks")
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.FORBIDDEN, remaining=None))
    summary = await summary_of(await sync_inventory([BROKEN], return_state=True))
    assert "([runbook shopify-forbidden](https://docs.example/runbooks/shopify-forbidden.md))" in summary


async def test_transient_error_is_retried_and_the_retry_is_in_the_summary(simulator: Simulator) -> None:
    client_tries = 4
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.MALFORMED, remaining=client_tries))
    state = await sync_inventory([BROKEN], return_state=True)
    assert state.is_completed(), state.message
    assert [run.run_count for run in await tasks_of(state, "sync")] == [2]
    assert f"{BROKEN} (2 tries)" in await summary_of(state)


async def test_dry_run_of_sync_counts_changes_and_writes_nothing(simulator: Simulator, demo: Demo) -> None:
    for variant_id in simulator.shops[SHOP].inventory.variant_ids():
        variant = simulator.shops[SHOP].inventory.find_or_deleted(variant_id)
        assert variant
        variant.price += 1
    before = demo.execute("SELECT sum(price) FROM registry_items").fetchone()
    state = await sync_inventory([SHOP], dry_run=True, return_state=True)
    counts: Any = await state.aresult()
    assert counts["registries_touched"] > 0
    assert demo.execute("SELECT sum(price) FROM registry_items").fetchone() == before


async def test_many_shops_share_a_bounded_number_of_tasks(demo: Demo) -> None:
    demo.execute(
        """INSERT INTO shops (domain, name, email, currency, timezone, plan)
           SELECT 'small-' || n || '.myshopify.com', 'Small', 'a@b.example', 'USD', 'UTC', 'basic'
           FROM generate_series(1, 100) n"""
    )
    state = await cache_warm(return_state=True)
    assert state.is_completed(), state.message
    assert len(await table_of(state)) == 103
    assert len(await tasks_of(state, "warm", 15)) <= 16


async def test_shop_that_uninstalls_the_app_during_a_run_is_counted_and_is_no_failure(demo: Demo) -> None:
    async def work(_: Resources, shop: ShopRef, /, *, checkpoint: Checkpoint, changes: Changes) -> dict[str, int]:
        await checkpoint(0, 1)
        changes.update(sent=1)
        demo.execute("UPDATE shops SET status = 'uninstalled' WHERE domain <> %s", [SHOP])
        if shop.domain != SHOP:
            raise ShopifyUnauthorized("Shopify does not accept the access token")
        return {"sent": 2}

    @flow
    async def run() -> dict[str, WorkResult]:
        results = await (await for_each_shop([OTHER, BROKEN, SHOP], work)).aresult()
        return {each.name: each for each in results}

    found = await run()
    assert not any(each.problem for each in found.values())
    gone = {"uninstalled_meanwhile": 1}
    assert [found[name].counts for name in (OTHER, BROKEN, SHOP)] == [{"sent": 1, **gone}, gone, {"sent": 2}]


async def test_token_that_shopify_refuses_fails_a_shop_that_has_the_app() -> None:
    async def work(_: Resources, __: ShopRef, /, *, checkpoint: Checkpoint, changes: Changes) -> dict[str, int]:
        await checkpoint(0, 1)
        changes.update(sent=1)
        raise ShopifyUnauthorized("Shopify does not accept the access token")

    @flow
    async def run() -> Any:
        return await (await for_each_shop([SHOP], work)).aresult(raise_on_failure=False)

    [found] = await run()
    assert "does not accept the access token" in found.problem


@pytest.mark.parametrize("is_gone", [True, False])
async def test_refused_client_is_tried_again_until_the_webhook_of_its_uninstallation(
    demo: Demo, *, is_gone: bool
) -> None:
    tries = 0

    async def work(_: Resources, __: ShopRef, /, *, checkpoint: Checkpoint, changes: Changes) -> dict[str, int]:
        nonlocal tries
        await checkpoint(0, 1)
        tries += 1
        if tries == 2 and is_gone:
            demo.execute("UPDATE shops SET status = 'uninstalled' WHERE domain = %s", [SHOP])
        raise ShopifyClientRefused("Shopify gives no token")

    @task("work")
    async def work_on_shop() -> WorkState:
        return await for_each_shop([SHOP], work)

    @flow
    async def run() -> list[WorkResult]:
        at_once: Any = work_on_shop.with_options(retry_delay_seconds=0)(return_state=True)
        state: State[Any] = await at_once
        results: Any = await state.aresult(raise_on_failure=False)
        return list(results)

    [found] = await run()
    assert (tries, found.counts) == ((2, {"uninstalled_meanwhile": 1}) if is_gone else (4, {}))
    assert found.problem == ("" if is_gone else "Shopify gives no token")
