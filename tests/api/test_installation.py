"""A request of the embedded admin installs the app: once among concurrent requests, and again after a break."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from deployments.sandbox.catalogue import NEW_SHOP
from deployments.sandbox.demo import add_key
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, app_state_of, open_api_client, problem, public_slug
from tests.support.fake_prefect import FakePrefect
from tests.support.waiting import wait_until
from tests.support.webhooks import apply
from wishcraft.services.shops.install import FIRST_RUNS
from wishcraft.services.shops.webhooks import handle_uninstalled
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.settings import Settings
from wishcraft.shopify.id_tokens import AdminIdentity, verify_id_token
from wishcraft.store import shops

NEW: Final = NEW_SHOP.domain
INSTALL: Final = "/api/admin/installation"


def opened(simulator: Simulator, shop: str = NEW) -> dict[str, str]:
    """A merchant opens the app: the headers of its page's request."""
    simulator.credentials.install(shop)
    id_token = simulator.credentials.id_token(shop, simulator.api_key, simulator.api_secret)
    return {"Authorization": f"Bearer {id_token}"}


def verified(headers: dict[str, str], simulator: Simulator) -> AdminIdentity:
    token = headers["Authorization"].removeprefix("Bearer ")
    identity = verify_id_token(token, [simulator.api_secret], simulator.api_key)
    assert identity
    return identity


def exchanges(simulator: Simulator, shop: str = NEW) -> int:
    return simulator.shops[shop].counters.token_exchanges


def stored(demo: Demo, columns: str, shop: str = NEW) -> tuple[Any, ...]:
    row = demo.execute(f"SELECT {columns} FROM shops WHERE domain = %s", [shop]).fetchone()  # noqa: S608  ours
    assert row
    return row


@pytest.fixture
def uninstall(client: httpx.AsyncClient, simulator: Simulator) -> Callable[[], Awaitable[None]]:
    """Function by which the merchant of `SHOP` uninstalls the app, and the webhook is handled."""
    authenticator = app_state_of(client).authenticator
    authenticator._keys.seconds = authenticator._shops.seconds = 0  # otherwise it learns it half a minute later

    async def handle() -> None:
        simulator.credentials.uninstall(SHOP)
        resources, now = app_state_of(client).resources, datetime.now(UTC)
        async with resources.db.autocommit() as session:
            [shop] = await shops.find_active(session, [SHOP])
        said = Message(1, "app/uninstalled", now, now, {"myshopify_domain": SHOP})
        await apply(resources, shop, handle_uninstalled, [said])

    return handle


@pytest.fixture
async def merchant(
    settings: Settings, demo: Demo, prefect: FakePrefect, prefect_settings: dict[str, object]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that can start jobs."""
    async with open_api_client(settings.model_copy(update=prefect_settings)) as client:
        yield client


async def test_the_first_request_of_the_admin_installs_the_app_and_starts_the_first_runs(
    merchant: httpx.AsyncClient, simulator: Simulator, demo: Demo, prefect: FakePrefect
) -> None:
    answer = await merchant.post(INSTALL, headers=opened(simulator))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert {name: body[name] for name in ("domain", "name", "currency", "timezone", "plan")} == {
        "domain": NEW, "name": "Birch & Bloom", "currency": "USD", "timezone": "America/Chicago", "plan": "Standard",
    }  # fmt: skip
    email, access, refresh, expires_at = stored(
        demo, "email, access_token_encrypted, refresh_token_encrypted, token_expires_at"
    )
    assert email == f"owner@{NEW}"
    assert b"shpat" not in access
    assert refresh
    assert expires_at
    resources = app_state_of(merchant).resources
    assert await resources.shopify.query(NEW, "query Name { shop { name } }", {}) == {"shop": {"name": "Birch & Bloom"}}
    await wait_until(lambda: len(prefect.started) == len(FIRST_RUNS))
    assert prefect.started == {job: {"shops": [NEW]} for job in FIRST_RUNS}


async def test_any_other_request_of_the_admin_installs_the_app_too(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo, settings: Settings
) -> None:
    answer = await client.get("/api/admin/settings", headers=opened(simulator))
    assert answer.json()["effective_share_url"].startswith(f"{settings.shopify_origin.format(shop=NEW)}/")
    assert stored(demo, "status") == ("active",)


async def test_first_requests_at_the_same_time_exchange_once(
    settings: Settings, client: httpx.AsyncClient, simulator: Simulator, demo: Demo
) -> None:
    headers = opened(simulator)
    async with open_api_client(settings.model_copy(update={"log_level": "WARNING"})) as another_process:
        answers = await asyncio.gather(
            *(each.post(INSTALL, headers=headers) for each in (client, another_process) for _ in range(6)),
            *(each.get("/api/admin/keys", headers=headers) for each in (client, another_process) for _ in range(3)),
        )
    assert {answer.status_code for answer in answers} == {200}
    assert exchanges(simulator) == 1
    assert demo.execute("SELECT count(*) FROM shops WHERE domain = %s", [NEW]).fetchone() == (1,)


async def test_an_installation_succeeds_while_prefect_does_not_answer(
    settings: Settings, demo: Demo, simulator: Simulator, prefect: FakePrefect, prefect_settings: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    prefect.failing = True
    async with open_api_client(settings.model_copy(update=prefect_settings)) as client:
        assert (await client.post(INSTALL, headers=opened(simulator))).status_code == 200
    assert stored(demo, "status") == ("active",)
    assert "sync-inventory could not be started for a new shop, and runs when it is due" in caplog.text


async def test_an_installed_shop_gets_no_new_token_for_each_request(
    client: httpx.AsyncClient, simulator: Simulator
) -> None:
    headers = opened(simulator, SHOP)
    for _ in range(3):
        assert (await client.get("/api/admin/settings", headers=headers)).status_code == 200
    assert exchanges(simulator, SHOP) == 0


async def test_opening_the_app_renews_the_access_and_starts_nothing(
    merchant: httpx.AsyncClient, simulator: Simulator, demo: Demo, prefect: FakePrefect
) -> None:
    demo.execute("UPDATE shops SET installed_at = now() - interval '1 day', currency = 'EUR' WHERE domain = %s", [SHOP])
    answer = await merchant.post(INSTALL, headers=opened(simulator, SHOP))
    assert answer.json()["currency"] == "USD"
    assert exchanges(simulator, SHOP) == 1
    await app_state_of(merchant).stop()
    assert not prefect.started


async def test_renewal_that_fails_once_the_new_token_is_used_costs_no_access(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo
) -> None:
    demo.execute("UPDATE shops SET installed_at = now() - interval '1 day' WHERE domain = %s", [SHOP])
    simulator.shops[SHOP].faults.set(Fault(FaultKind.INACTIVE, remaining=1))
    assert problem(await client.post(INSTALL, headers=opened(simulator, SHOP))) == (503, "unavailable")
    assert exchanges(simulator, SHOP) == 1
    resources = app_state_of(client).resources
    assert await resources.shopify.query(SHOP, "query Name { shop { name } }", {}) == {"shop": {"name": "Maple & Pine"}}


async def test_a_shop_whose_token_cannot_be_renewed_gets_a_new_one(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo
) -> None:
    demo.execute("UPDATE shops SET refresh_token_encrypted = NULL WHERE domain = %s", [SHOP])
    assert (await client.get("/api/admin/keys", headers=opened(simulator, SHOP))).status_code == 200
    assert exchanges(simulator, SHOP) == 1
    assert stored(demo, "refresh_token_encrypted IS NOT NULL", SHOP) == (True,)


async def test_a_shop_that_shopify_does_not_let_in_is_not_installed(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo
) -> None:
    headers = opened(simulator)
    simulator.credentials.uninstall(NEW)
    answer = await client.post(INSTALL, headers=headers)
    assert problem(answer) == (401, "shop-not-installed")
    assert demo.execute("SELECT FROM shops WHERE domain = %s", [NEW]).fetchone() is None


async def test_installation_through_an_incomplete_allowlist_says_503_and_can_be_repeated(
    client: httpx.AsyncClient, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.shops[NEW].faults.set(Fault(FaultKind.FORBIDDEN, remaining=1))
    headers = opened(simulator)
    assert problem(await client.post(INSTALL, headers=headers)) == (503, "unavailable")
    assert "IP allowlist" in caplog.text
    assert (await client.post(INSTALL, headers=headers)).status_code == 200


async def test_only_an_id_token_installs(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    assert problem(await client.post(INSTALL, headers=key)) == (403, "not-allowed")


async def test_an_expired_id_token_is_asked_for_again(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]]
) -> None:
    answer = await client.post(INSTALL, headers=token(exp=1))
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["X-Shopify-Retry-Invalid-Session-Request"] == "1"


@pytest.mark.parametrize(("path", "is_renewable"), [(INSTALL, True), (INSTALL, False), ("/api/admin/keys", False)])
async def test_an_id_token_that_shopify_finds_too_old_is_asked_for_again(
    client: httpx.AsyncClient, demo: Demo, token: Callable[..., dict[str, str]], path: str, is_renewable: bool
) -> None:
    demo.execute("UPDATE shops SET installed_at = now() - interval '1 day' WHERE domain = %s", [SHOP])
    if not is_renewable:
        demo.execute("UPDATE shops SET refresh_token_encrypted = NULL WHERE domain = %s", [SHOP])
    just_now = int(datetime.now(UTC).timestamp()) - 2  # within our leeway
    answer = await client.request("POST" if path == INSTALL else "GET", path, headers=token(exp=just_now))
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["X-Shopify-Retry-Invalid-Session-Request"] == "1"


async def test_every_caller_of_an_uninstalled_shop_gets_401_and_its_tokens_are_gone(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo, signed: Callable[..., str],
    uninstall: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    headers, key, slug = opened(simulator, SHOP), {"X-API-Key": add_key(demo, 1).key}, public_slug(demo)
    shopper = Shopper(client, signed)
    assert (await shopper.read(slug)).status_code == 200
    assert (await client.get(f"/api/registries/{slug}", headers=key)).status_code == 200
    await uninstall()
    for answer in (
        await shopper.read(slug),
        await client.get(f"/api/registries/{slug}", headers=key),
        await client.get("/api/admin/settings", headers=headers),
        await client.post(INSTALL, headers=headers),
    ):
        assert problem(answer) == (401, "shop-not-installed")
    columns = "status, access_token_encrypted, refresh_token_encrypted, token_expires_at"
    assert stored(demo, columns, SHOP) == ("uninstalled", None, None, None)
    other = Shopper(client, signed, shop="lumiere-maison.myshopify.com")
    assert (await other.send("GET", "/api/registries")).status_code == 200


async def test_an_id_token_from_before_the_uninstallation_installs_nothing(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo, uninstall: Callable[[], Awaitable[None]]
) -> None:
    await uninstall()
    old = opened(simulator, SHOP)  # Shopify goes on to accept it for a moment
    demo.execute("UPDATE shops SET uninstalled_at = now() + interval '2 seconds' WHERE domain = %s", [SHOP])
    assert problem(await client.post(INSTALL, headers=old)) == (401, "shop-not-installed")
    assert stored(demo, "status, access_token_encrypted", SHOP) == ("uninstalled", None)
    demo.execute("UPDATE shops SET uninstalled_at = now() - interval '2 seconds' WHERE domain = %s", [SHOP])
    assert (await client.post(INSTALL, headers=opened(simulator, SHOP))).status_code == 200


async def test_an_uninstallation_after_the_id_token_was_issued_counts(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo
) -> None:
    demo.execute("UPDATE shops SET refresh_token_encrypted = NULL WHERE domain = %s", [SHOP])
    headers = opened(simulator, SHOP)
    issued_at = verified(headers, simulator).issued_at
    assert (await client.post(INSTALL, headers=headers)).status_code == 200
    assert stored(demo, "installed_at", SHOP) == (issued_at,)


async def test_a_shop_that_comes_back_serves_what_is_right_now(
    client: httpx.AsyncClient, simulator: Simulator, demo: Demo, signed: Callable[..., str],
    uninstall: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    slug, shopper = public_slug(demo), Shopper(client, signed)
    assert (await shopper.read(slug)).json()["currency"] == "USD"
    await uninstall()
    demo.execute("UPDATE registries SET title = 'Changed meanwhile' WHERE slug = %s", [slug])
    assert (await client.post(INSTALL, headers=opened(simulator, SHOP))).status_code == 200
    shown = (await shopper.read(slug)).json()
    assert shown["title"] == "Changed meanwhile"
    assert stored(demo, "synced_at > now() - interval '1 minute'", SHOP) == (True,)


async def test_hostile_claims_of_id_tokens_are_refused(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]], simulator: Simulator
) -> None:
    for claims in (
        {"nbf": -(10**18)},
        {"dest": f"https://{NEW}.evil.example"},
        {"dest": f"http://{NEW}"},
        {"dest": f"https://{NEW}/"},
        {"aud": "another-app"},
    ):
        assert problem(await client.post(INSTALL, headers=token(**claims))) == (401, "unauthorized"), claims
    assert exchanges(simulator) == 0
