"""An erasure of any size is done in steps that are kept, and swallows nothing but what is about the person."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.erased_person import CUSTOMER, EMAIL, NAMES, ONE_STEP, REDACT, SHOP_REDACT, handle, ordered, receive
from tests.support.residual_data import traces_in_postgresql
from tests.support.webhooks import line, order
from wishcraft.domain.people import make_person
from wishcraft.resources import Resources
from wishcraft.services.privacy.erase import Erasure
from wishcraft.services.privacy.webhooks import handle_customer_redactions
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.shopify.privacy_payloads import without_people
from wishcraft.store import shop_erasure, webhook_dead_letters, webhook_payloads
from wishcraft.store.schema import Base
from wishcraft.store.shops import ShopRef

ABOUT_NO_PERSON = {"products", "inventory_levels", "inventory_items", "bulk_operations", "mail-events"}
"""Topics whose payloads `webhook_payloads.find_payloads` leaves out."""
ABOUT_PEOPLE_ALONE = {"customers/merge", "customers/data_request", "customers/redact", "shop/redact"}


@pytest.fixture
def one_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of a search has one payload."""
    monkeypatch.setattr(webhook_payloads, "MOST_BYTES", 1)


def state(demo: Demo, row_id: int) -> tuple[Any, ...]:
    columns = "outcome, attempts, searched_up_to, due_at <= now()"
    row = demo.execute(f"SELECT {columns} FROM webhook_events WHERE id = %s", [row_id]).fetchone()  # noqa: S608  ours
    assert row
    return row


def merged(kept: int, deleted: int) -> dict[str, Any]:
    """Payload of a merge."""
    ids = {"kept": kept, "deleted": deleted}.items()
    merge = {f"admin_graphql_api_customer_{which}_id": f"gid://shopify/Customer/{number}" for which, number in ids}
    return merge | {"status": "completed", "errors": [{"message": "Zyxwina"}]}


@pytest.mark.usefixtures("one_payload")
async def test_each_try_searches_on_where_the_last_one_ended_and_none_counts_as_a_failure(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    orders = [receive(demo, "orders/create", ordered(*item, number=number)) for number in range(9100, 9103)]
    row_id = receive(demo, "customers/redact", REDACT)
    for searched in orders:
        assert await process(resources, ONE_STEP, SHOP, [row_id]) == {None: 1}
        assert state(demo, row_id) == (None, 0, searched, True)
        assert demo.execute("SELECT payload FROM webhook_events WHERE id = %s", [searched]).fetchone() == (None,)
    left = demo.execute("SELECT id FROM webhook_events WHERE handled_at IS NULL").fetchall()
    assert len(left) == 4  # the orders go on without their purchaser
    for _ in left:
        await process(resources, ONE_STEP, SHOP, [row_id])
    assert state(demo, row_id)[:2] == ("applied", 0)
    await handle(resources, demo)
    assert demo.execute("SELECT count(*) FROM purchases WHERE order_id BETWEEN 9100 AND 9102").fetchone() == (3,)
    assert traces_in_postgresql(demo, *NAMES) == set()


@pytest.mark.usefixtures("one_payload")
async def test_order_that_the_redaction_names_and_that_waits_is_replaced_once(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    receive(demo, "orders/create", ordered(*item, number=9100))
    row_id = receive(demo, "customers/redact", REDACT | {"orders_to_redact": [9100]})
    for _ in range(3):
        await process(resources, ONE_STEP, SHOP, [row_id])
    assert state(demo, row_id)[0] == "applied"
    assert demo.execute("SELECT count(*) FROM webhook_events").fetchone() == (3,)
    await handle(resources, demo)
    assert demo.execute("SELECT purchaser_name FROM purchases WHERE order_id = 9100").fetchall() == [(None,)]


@pytest.mark.usefixtures("one_payload")
@pytest.mark.parametrize("is_applied", [False, True])
async def test_payloads_are_searched_anew_after_a_merge_between_two_tries(
    demo: Demo, resources: Resources, item: tuple[str, int], is_applied: bool
) -> None:
    former = {"email": None, "phone": None, "billing_address": None, "customer": {"id": CUSTOMER + 1}}
    receive(demo, "orders/create", ordered(*item, number=9100) | former)
    receive(demo, "orders/create", ordered(*item, number=9101))
    row_id = receive(demo, "customers/redact", REDACT)
    await process(resources, ONE_STEP, SHOP, [row_id])
    await process(resources, ONE_STEP, SHOP, [row_id])
    assert state(demo, row_id)[0] is None
    merge = receive(demo, "customers/merge", merged(CUSTOMER, CUSTOMER + 1))
    if is_applied:
        await process(resources, ONE_STEP, SHOP, [merge])
    for _ in range(8):
        await process(resources, ONE_STEP, SHOP, [row_id])
    assert state(demo, row_id)[0] == "applied"
    await handle(resources, demo)
    assert traces_in_postgresql(demo, CUSTOMER + 1, *NAMES) == set()
    assert demo.execute("SELECT count(*) FROM purchases WHERE order_id IN (9100, 9101)").fetchone() == (2,)


@pytest.mark.usefixtures("one_payload")
@pytest.mark.parametrize("is_next_try", [False, True])
async def test_webhook_that_is_committed_after_the_search_passed_its_id_is_searched(
    demo: Demo, resources: Resources, shop: ShopRef, is_next_try: bool
) -> None:
    [(late,)] = demo.execute("SELECT nextval(pg_get_serial_sequence('webhook_events', 'id'))").fetchall()
    passed = receive(demo, "orders/create", ordered("item"))
    row_id = receive(demo, "customers/redact", REDACT)
    person = make_person(shop.id, {CUSTOMER}, set(), None, None)
    erasure = Erasure(resources, shop, [person], webhooks=[row_id])
    steps = erasure.search()
    await anext(steps)
    assert state(demo, row_id)[2] == passed
    receive(demo, "orders/create", ordered("item", number=9101), id=late)
    if is_next_try:
        await steps.aclose()
        steps = erasure.search()
        await anext(steps)
    else:
        async for _ in steps:
            pass
    assert demo.execute("SELECT payload FROM webhook_events WHERE id = %s", [late]).fetchone() == (None,)
    assert state(demo, row_id)[2] > passed


async def test_redaction_that_is_replayed_searches_all_payloads_again(demo: Demo, resources: Resources) -> None:
    dead = {"outcome": "dead", "handled_at": datetime.now(UTC), "searched_up_to": 7}
    row_id = receive(demo, "customers/redact", REDACT, **dead)
    async with resources.db.transaction() as session:
        assert await webhook_dead_letters.end_dead(session, [row_id], replay=True) == [row_id]
    assert state(demo, row_id) == (None, 0, None, True)
    other = receive(demo, "customers/redact", REDACT, searched_up_to=7)
    async with resources.db.autocommit() as session:
        assert await webhook_payloads.find_searched(session, [row_id, other]) == 0


@pytest.mark.usefixtures("one_payload")
async def test_other_webhooks_of_the_shop_have_their_turn_between_the_tries(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    for number in (9100, 9101):
        receive(demo, "orders/create", ordered(*item, number=number))
    redaction = receive(demo, "customers/redact", REDACT)
    other = receive(demo, "orders/create", order([line(1, item[1], claim=item[0])], number=77))
    await process(resources, ONE_STEP, SHOP, [redaction])
    due = demo.execute("SELECT id FROM webhook_events WHERE id IN (%s, %s) ORDER BY due_at, id", [redaction, other])
    assert due.fetchall() == [(other,), (redaction,)]


async def test_of_many_redactions_some_are_done_at_each_try(demo: Demo, resources: Resources) -> None:
    by_two = partial(handle_customer_redactions, max_people=2)
    payloads = [{"shop_domain": SHOP, "customer": {"id": CUSTOMER + number}} for number in range(5)]
    ids = [receive(demo, "customers/redact", payload) for payload in payloads]
    for done in (2, 4, 5):
        await process(resources, {**HANDLERS, "customers/redact": by_two}, SHOP, ids)
        outcomes = [state(demo, row_id)[:2] for row_id in ids]
        assert outcomes == [("applied", 0)] * done + [(None, 0)] * (5 - done)


async def test_shop_of_any_size_is_erased_in_tries_that_end_after_a_step(
    demo: Demo, resources: Resources, planted: str
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    row_id, tries = receive(demo, "shop/redact", SHOP_REDACT), 0
    while state(demo, row_id)[0] is None and tries < 100:
        await process(resources, ONE_STEP, SHOP, [row_id])
        tries += 1
    assert state(demo, row_id)[:2] == ("applied", 0)
    assert tries > 5
    assert traces_in_postgresql(demo, planted, '"shop_id": 1,', *NAMES) == set()


def test_no_table_of_a_shop_is_left_to_one_statement() -> None:
    of_registries = {"registries", "registry_items", "invitations", "reminders"}
    apart = {"pending_invalidations"}  # what Redis has yet to forget, of deleted registries too
    of_shops = {table.name for table in Base.metadata.sorted_tables if "shop_id" in table.columns}
    assert of_shops - of_registries - apart == set(shop_erasure.TABLES)


def test_every_topic_either_goes_on_without_people_or_is_about_them_alone() -> None:
    for topic in HANDLERS:
        stays = without_people(topic, {"id": 1}) is not None
        assert stays != (topic.partition("/")[0] in ABOUT_NO_PERSON or topic in ABOUT_PEOPLE_ALONE), topic


@pytest.mark.parametrize("outcome", [None, "dead"])
async def test_uninstallation_that_waits_is_handled_although_its_owner_is_erased(
    demo: Demo, resources: Resources, simulator: Simulator, outcome: str | None
) -> None:
    handled = "now()" if outcome else None
    simulator.credentials.uninstall(SHOP)
    payload = {"id": 1, "myshopify_domain": SHOP, "email": EMAIL, "shop_owner": "Zyxwina Quorblatt"}
    receive(demo, "app/uninstalled", payload, outcome=outcome, handled_at=handled)
    row_id = receive(demo, "customers/redact", REDACT)
    await process(resources, HANDLERS, SHOP, [row_id])
    assert traces_in_postgresql(demo, *NAMES) == set()
    demo.execute("UPDATE webhook_events SET outcome = NULL, handled_at = NULL WHERE outcome = 'dead'")
    await handle(resources, demo)
    assert demo.execute("SELECT status FROM shops WHERE id = 1").fetchone() == ("uninstalled",)


async def test_update_of_the_shop_that_waits_is_handled_without_the_erased_owner(
    demo: Demo, resources: Resources
) -> None:
    payload = {
        "id": 1, "myshopify_domain": SHOP, "updated_at": "2100-01-01T00:00:00Z", "email": EMAIL,
        "shop_owner": "Zyxwina Quorblatt", "name": "Maple", "currency": "GBP", "iana_timezone": "Europe/London",
    }  # fmt: skip
    receive(demo, "shop/update", payload)
    before = demo.execute("SELECT email FROM shops WHERE id = 1").fetchone()
    await process(resources, HANDLERS, SHOP, [receive(demo, "customers/redact", REDACT)])
    await handle(resources, demo)
    stored = demo.execute("SELECT name, currency, timezone, email FROM shops WHERE id = 1").fetchone()
    assert before
    assert stored == ("Maple", "GBP", "Europe/London", before[0])
    assert traces_in_postgresql(demo, *NAMES) == set()
    assert demo.execute("SELECT count(*) FROM webhook_events WHERE outcome = 'dead'").fetchone() == (0,)


async def test_customers_of_merges_that_wait_are_erased_with_whom_they_were_merged_into(
    demo: Demo, resources: Resources
) -> None:
    former, first = CUSTOMER + 1, CUSTOMER + 2
    demo.execute(
        "UPDATE registries SET customer_id = CASE id %% 2 WHEN 0 THEN %s ELSE %s END WHERE shop_id = 1", [former, first]
    )
    for deleted, kept in ((former, CUSTOMER), (first, former)):
        receive(demo, "customers/merge", merged(kept, deleted))
    await process(resources, HANDLERS, SHOP, [receive(demo, "customers/redact", REDACT)])
    await handle(resources, demo)
    assert traces_in_postgresql(demo, CUSTOMER, former, first, *NAMES) == set()
    assert demo.execute("SELECT count(*) FROM registries WHERE shop_id = 1").fetchone() == (0,)


async def test_order_for_an_erased_registry_that_waits_leaves_no_trace_of_it(
    demo: Demo, resources: Resources, planted: str
) -> None:
    claim = [{"name": "_registry", "value": planted}]
    receive(demo, "orders/create", order([line(1, 1, properties=claim)], number=77, note_attributes=claim))
    await process(resources, HANDLERS, SHOP, [receive(demo, "customers/redact", REDACT)])
    await handle(resources, demo)
    assert traces_in_postgresql(demo, planted, *NAMES) == set()
    assert demo.execute("SELECT count(*) FROM unmatched_lines WHERE order_id = 77").fetchone() == (0,)


@pytest.mark.parametrize("topic", ["customers/data_request", "customers/redact"])
async def test_request_of_another_person_with_the_same_last_digits_stays(
    demo: Demo, resources: Resources, topic: str
) -> None:
    redaction = REDACT | {"customer": {"id": CUSTOMER, "email": EMAIL, "phone": "0202 555 0123"}}
    other = {"id": 7_770_009, "email": "other@example.com", "phone": "+1 202 555 0123"}
    request = {"shop_id": 1, "shop_domain": SHOP, "customer": other, "orders_requested": [], "data_request": {"id": 1}}
    dead = {"outcome": "dead", "handled_at": datetime.now(UTC)} if topic == "customers/redact" else {}
    row_id = receive(demo, topic, request, **dead)
    await process(resources, HANDLERS, SHOP, [receive(demo, "customers/redact", redaction)])
    query = "SELECT outcome, payload IS NOT NULL FROM webhook_events WHERE id = %s"
    assert demo.execute(query, [row_id]).fetchone() == (dead.get("outcome"), True)
