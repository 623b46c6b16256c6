"""`app/uninstalled` and `shop/update`, in any order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.erased_person import receive
from tests.support.webhooks import NOON, apply, message
from wishcraft.cache.entries import Entry
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid, ShopifyForbidden, ShopifyUnauthorized, ShopifyUnavailable, UnknownShop
from wishcraft.resources import Resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.registries.warm import warm_shop
from wishcraft.services.shops.webhooks import TOKEN_REVOCATION_DELAY, handle_shop_update, handle_uninstalled
from wishcraft.services.webhooks import handler_protocol
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

UNINSTALLED, UPDATED = "app/uninstalled", "shop/update"
OURS = {"myshopify_domain": SHOP}
APPLIED, IGNORED = WebhookOutcome.APPLIED, WebhookOutcome.IGNORED


@pytest.fixture(autouse=True)
def installed_at_noon(demo: Demo) -> None:
    demo.execute("UPDATE shops SET installed_at = %s, described_at = %s", [NOON, NOON])


@pytest.fixture
def uninstalled(simulator: Simulator) -> None:
    """The merchant has uninstalled the app: Shopify accepts its token no more."""
    simulator.credentials.uninstall(SHOP)


def facts(second: int, **values: object) -> Message:
    """A `shop/update` of a change so many seconds after noon."""
    payload = {
        "name": "Maple & Co", "email": "new@maple.example", "currency": "USD", "iana_timezone": "Europe/Berlin",
        "updated_at": (NOON + timedelta(seconds=second)).isoformat(), "myshopify_domain": SHOP, **values,
    }  # fmt: skip
    return message(UPDATED, payload, second)


def stored(demo: Demo) -> tuple[Any, ...]:
    row = demo.execute("SELECT name, email, currency, timezone FROM shops WHERE id = 1").fetchone()
    assert row
    return row


@pytest.mark.usefixtures("uninstalled")
async def test_an_uninstallation_deletes_the_tokens_and_jobs_skip_the_shop(
    resources: Resources, shop: ShopRef, demo: Demo
) -> None:
    said = message(UNINSTALLED, {"myshopify_domain": shop.domain}, 1)
    assert await apply(resources, shop, handle_uninstalled, [said]) == {said.id: APPLIED}
    columns = "status, access_token_encrypted, refresh_token_encrypted, token_expires_at"
    assert demo.execute(f"SELECT {columns} FROM shops WHERE id = 1").fetchone() == ("uninstalled", None, None, None)  # noqa: S608  ours
    with pytest.raises(ShopifyUnauthorized, match="has no access token"):
        await resources.shopify.query(shop.domain, "{ shop { name } }", {})
    async with resources.db.autocommit() as session:
        assert shop.domain not in {each.domain for each in await shops.find_active(session)}
        with pytest.raises(UnknownShop):
            await shops.find_active(session, [shop.domain])
    entries = demo.execute("SELECT actor, action FROM audit_logs WHERE shop_id = 1 AND action LIKE 'app.%'").fetchall()
    assert entries == [("webhook", "app.uninstalled")]


async def test_an_uninstallation_drops_what_redis_has_of_that_shop_and_of_no_other(
    resources: Resources, shop: ShopRef, redis: Redis, simulator: Simulator
) -> None:
    async with resources.db.autocommit() as session:
        everyone = await shops.find_active(session)
    for each in everyone:
        await warm_shop(resources, each)
    await sync_shop(resources, shop)

    async def held(shop_ids: str, kind: str) -> set[bytes]:
        return {key async for key in redis.scan_iter(f"wishcraft:{{{shop_ids}}}:{kind}:*")}

    assert await held("1", "entry")
    assert await held("1", "product")
    others = await held("[23]", "entry")
    assert others
    simulator.credentials.uninstall(SHOP)
    await apply(resources, shop, handle_uninstalled, [message(UNINSTALLED, OURS, 1)])
    assert await held("1", "entry") | await held("1", "product") == set()
    assert await held("[23]", "entry") == others


@pytest.mark.usefixtures("uninstalled")
async def test_an_uninstallation_ends_the_alert_that_complaints_pause_the_mail(
    resources: Resources, shop: ShopRef
) -> None:
    resources.counters.set("mail_paused", 1, shop=SHOP)
    await resources.counters.flush()
    await apply(resources, shop, handle_uninstalled, [message(UNINSTALLED, OURS, 1)])
    await resources.counters.flush()
    assert SHOP not in {name for each in (await resources.counters.read())["mail_paused"] for name in each.labels}


async def test_an_uninstallation_older_than_the_installation_changes_nothing(
    resources: Resources, shop: ShopRef, demo: Demo, redis: Redis
) -> None:
    await warm_shop(resources, shop)
    said = message(UNINSTALLED, OURS, -1)
    assert await apply(resources, shop, handle_uninstalled, [said]) == {said.id: IGNORED}
    kept = demo.execute("SELECT status, access_token_encrypted IS NOT NULL FROM shops WHERE id = 1").fetchone()
    assert kept == ("active", True)
    assert [key async for key in redis.scan_iter("wishcraft:{1}:entry:*")]


async def test_another_webhooks_body_sent_as_an_uninstallation_changes_nothing(
    resources: Resources, shop: ShopRef, demo: Demo, caplog: pytest.LogCaptureFixture
) -> None:
    row_id = receive(demo, UNINSTALLED, facts(1).payload, received_at=datetime.now(UTC) - TOKEN_REVOCATION_DELAY)
    assert await process(resources, HANDLERS, shop.domain, [row_id]) == {IGNORED: 1}
    assert await resources.shopify.query(shop.domain, "query Name { shop { name } }", {})
    found = demo.execute("SELECT status, uninstalled_at FROM shops WHERE id = 1").fetchone()
    assert found == ("active", None)
    assert f"app/uninstalled of {SHOP} is ignored" in caplog.text


async def test_token_that_is_accepted_just_after_the_uninstallation_denies_nothing(
    resources: Resources, shop: ShopRef, demo: Demo, simulator: Simulator
) -> None:
    row_id = receive(demo, UNINSTALLED, OURS)
    assert await process(resources, HANDLERS, shop.domain, [row_id]) == {None: 1}
    found = demo.execute("SELECT attempts, handled_at FROM webhook_events WHERE id = %s", [row_id]).fetchone()
    assert found == (0, None)
    simulator.credentials.uninstall(SHOP)
    assert await process(resources, HANDLERS, shop.domain, [row_id]) == {APPLIED: 1}
    assert demo.execute("SELECT status FROM shops WHERE id = 1").fetchone() == ("uninstalled",)


@pytest.mark.parametrize(("error", "expected"), [(ShopifyUnavailable, None), (ShopifyForbidden, "dead")])
async def test_while_shopify_does_not_say_so_no_shop_is_uninstalled(
    resources: Resources, shop: ShopRef, demo: Demo, monkeypatch: pytest.MonkeyPatch, error: type[Exception],
    expected: str | None,
) -> None:  # fmt: skip
    async def query(*_: object) -> None:
        raise error("no answer")

    row_id = receive(demo, UNINSTALLED, OURS)
    with monkeypatch.context() as patched:
        patched.setattr(resources.shopify, "query", query)
        await process(resources, HANDLERS, shop.domain, [row_id])
    assert demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone() == (expected,)
    assert demo.execute("SELECT status FROM shops WHERE id = 1").fetchone() == ("active",)


async def test_uninstallation_waits_for_shopify_for_a_day_without_counting_tries(
    resources: Resources, shop: ShopRef, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    row_id = receive(demo, UNINSTALLED, OURS)
    monkeypatch.setattr(handler_protocol, "SHOPIFY_SECONDS", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(resources.shopify, "query", hang)
        await process(resources, HANDLERS, shop.domain, [row_id], handler_seconds=1)
    found = demo.execute("SELECT attempts, failures -> 0 ->> 'reason' FROM webhook_events WHERE id = %s", [row_id])
    assert found.fetchone() == (0, "Shopify unavailable")


@pytest.mark.usefixtures("uninstalled")
async def test_of_several_uninstallations_the_last_one_counts(resources: Resources, shop: ShopRef, demo: Demo) -> None:
    late, early = message(UNINSTALLED, OURS, 5), message(UNINSTALLED, OURS, -5)
    assert await apply(resources, shop, handle_uninstalled, [late, early]) == {late.id: APPLIED, early.id: IGNORED}
    assert demo.execute("SELECT status FROM shops WHERE id = 1").fetchone() == ("uninstalled",)


@pytest.mark.usefixtures("uninstalled")
async def test_uninstallation_in_the_future_counts_from_its_receipt(
    resources: Resources, shop: ShopRef, demo: Demo
) -> None:
    received_at = NOON + timedelta(seconds=1)
    said = Message(1, UNINSTALLED, NOON + timedelta(days=900), received_at, OURS)
    assert await apply(resources, shop, handle_uninstalled, [said]) == {said.id: APPLIED}
    assert demo.execute("SELECT uninstalled_at FROM shops WHERE id = 1").fetchone() == (received_at,)


async def test_an_update_of_a_shop_is_stored(resources: Resources, shop: ShopRef, demo: Demo) -> None:
    said = facts(1)
    assert await apply(resources, shop, handle_shop_update, [said]) == {said.id: APPLIED}
    assert stored(demo) == ("Maple & Co", "new@maple.example", "USD", "Europe/Berlin")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
@pytest.mark.parametrize("together", [True, False])
async def test_the_newest_update_of_a_shop_counts_whatever_the_order(
    resources: Resources, shop: ShopRef, demo: Demo, order: tuple[int, ...], together: bool
) -> None:
    said = [facts(second, name=f"Name {second}") for second in order]
    for batch in [said] if together else [[each] for each in said]:
        await apply(resources, shop, handle_shop_update, batch)
    assert stored(demo)[0] == "Name 3"


async def test_an_update_older_than_the_installation_changes_nothing(
    resources: Resources, shop: ShopRef, demo: Demo
) -> None:
    before, said = stored(demo), facts(-1)
    assert await apply(resources, shop, handle_shop_update, [said]) == {said.id: IGNORED}
    assert stored(demo) == before


async def test_a_new_currency_is_in_the_cached_answers_at_once(resources: Resources, shop: ShopRef, demo: Demo) -> None:
    await warm_shop(resources, shop)
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = 1 AND status = 'active'")]

    async def cached() -> list[Entry]:
        return [entry for slug in slugs if (entry := await resources.cache.get(1, slug))]

    assert all(b'"currency":"USD"' in each.body for each in await cached())
    await apply(resources, shop, handle_shop_update, [facts(1, currency="GBP")])
    renewed = await cached()
    assert len(renewed) == len(slugs) > 0
    assert all(b'"currency":"GBP"' in each.body for each in renewed)
    assert demo.execute("SELECT outdated_stock FROM shops WHERE id = 1").fetchone() == (None,)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"updated_at": None}, "updated_at"),
        ({"updated_at": "0001-01-01T00:00:00+14:00"}, "updated_at"),
        ({"myshopify_domain": "lumiere-maison.myshopify.com"}, "another shop"),
        ({"myshopify_domain": None}, "another shop"),
    ],
)
async def test_an_update_of_no_time_or_of_another_shop_changes_nothing(
    resources: Resources, shop: ShopRef, demo: Demo, values: dict[str, object], said: str
) -> None:
    before = stored(demo)
    with pytest.raises(PayloadInvalid, match=said):
        await apply(resources, shop, handle_shop_update, [facts(1, **values)])
    assert stored(demo) == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": None}, "the name"),
        ({"name": "\u200b \n"}, "the name"),
        ({"email": 7}, "the e-mail"),
        ({"currency": "usd"}, "the currency"),
        ({"currency": "US"}, "the currency"),
        ({"iana_timezone": "Mars/Olympus"}, "the time zone"),
        ({"iana_timezone": "../../etc/passwd"}, "the time zone"),
        ({"iana_timezone": ""}, "the time zone"),
    ],
)
async def test_what_can_be_used_of_an_update_is_stored_and_a_dead_letter_says_what_cannot(
    resources: Resources, shop: ShopRef, demo: Demo, values: dict[str, object], said: str
) -> None:
    before = stored(demo)
    payload = facts(1, **{"currency": "GBP", "name": "Maple & Co", **values}).payload
    row_id = receive(demo, UPDATED, payload)
    await process(resources, HANDLERS, shop.domain, [row_id])
    fields = ("name", "email", "currency", "iana_timezone")
    expected = tuple(old if field in values else payload[field] for field, old in zip(fields, before, strict=True))
    assert stored(demo) == expected
    [(outcome, failures)] = demo.execute("SELECT outcome, failures FROM webhook_events WHERE id = %s", [row_id])
    assert (outcome, len(failures)) == ("dead", 1)
    assert f"Only a part was stored: {said}" in failures[0]["reason"]
    assert not [value for value in map(str, values.values()) if len(value) > 1 and value in failures[0]["reason"]]


async def test_a_shop_without_an_address_has_an_empty_one(resources: Resources, shop: ShopRef, demo: Demo) -> None:
    said = facts(1, email=None)
    assert await apply(resources, shop, handle_shop_update, [said]) == {said.id: APPLIED}
    assert stored(demo)[1] == ""


async def test_what_a_newer_update_cannot_say_an_older_one_of_the_batch_does(
    resources: Resources, shop: ShopRef, demo: Demo
) -> None:
    await apply(resources, shop, handle_shop_update, [facts(2, iana_timezone="Mars/Olympus"), facts(1, name="Old")])
    assert stored(demo) == ("Maple & Co", "new@maple.example", "USD", "Europe/Berlin")


@pytest.mark.parametrize("payload", [{"myshopify_domain": "lumiere-maison.myshopify.com"}, {}, {"id": 1}])
async def test_an_uninstallation_that_names_another_shop_or_none_is_refused(
    resources: Resources, shop: ShopRef, payload: dict[str, object]
) -> None:
    with pytest.raises(PayloadInvalid, match="another shop than the header, or none"):
        await apply(resources, shop, handle_uninstalled, [message(UNINSTALLED, payload, 1)])


async def test_texts_of_an_update_are_stored_without_what_postgresql_or_mails_cannot_show(
    resources: Resources, shop: ShopRef, demo: Demo
) -> None:
    await apply(resources, shop, handle_shop_update, [facts(1, name="Ma\0ple\n\ud800 & Co")])
    assert stored(demo)[0] == "Maple & Co"
