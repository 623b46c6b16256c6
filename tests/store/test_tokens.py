import asyncio
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from deployments.sandbox.catalogue import DEMO_SHOPS
from tests.support.aliases import Demo
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store.tokens import TokenVault

SHOP = DEMO_SHOPS[0]
RENEWED = OfflineToken("shpat_new", "shprt_new", datetime(2027, 1, 1, tzinfo=UTC))


@pytest.fixture
def vault(resources: Resources, settings: Settings) -> TokenVault:
    return TokenVault(resources.db, settings.encryption_keys)


async def test_a_saved_token_can_be_loaded(vault: TokenVault) -> None:
    assert (await vault.load(SHOP.domain)).access == SHOP.access_token
    await vault.save(SHOP.domain, RENEWED)
    assert await vault.load(SHOP.domain) == RENEWED


async def test_tokens_are_encrypted_at_rest(vault: TokenVault, demo: Demo) -> None:
    await vault.save(SHOP.domain, RENEWED)
    [(access, refresh)] = demo.execute(
        "SELECT access_token_encrypted, refresh_token_encrypted FROM shops WHERE domain = %s", [SHOP.domain]
    ).fetchall()
    assert b"shpat_new" not in access + refresh
    assert b"shprt_new" not in access + refresh


async def test_tokens_of_an_old_key_are_readable_after_a_rotation(resources: Resources, settings: Settings) -> None:
    new = Fernet.generate_key().decode()
    rotated = TokenVault(resources.db, SecretStr(f"{new},{settings.encryption_keys.get_secret_value()}"))
    assert (await rotated.load(SHOP.domain)).access == SHOP.access_token
    with pytest.raises(InvalidToken):
        await TokenVault(resources.db, SecretStr(new)).load(SHOP.domain)


async def test_a_shop_without_a_token_must_install_the_app(vault: TokenVault, demo: Demo) -> None:
    demo.execute("UPDATE shops SET access_token_encrypted = NULL WHERE domain = %s", [SHOP.domain])
    for domain in (SHOP.domain, "nobody.myshopify.com"):
        with pytest.raises(ShopifyUnauthorized, match="install"):
            await vault.load(domain)


async def test_a_shops_token_is_refreshed_by_one_at_a_time_and_shops_do_not_block(vault: TokenVault) -> None:
    inside: list[str] = []
    entered = asyncio.Semaphore(0)
    release = asyncio.Event()

    async def renew(shop: str) -> None:
        async with vault.refresh_lock(shop):
            inside.append(shop)
            entered.release()
            await release.wait()

    renewals = [asyncio.create_task(renew(shop)) for shop in (SHOP.domain, SHOP.domain, DEMO_SHOPS[1].domain)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await entered.acquire()
        await entered.acquire()
    assert sorted(inside) == sorted({SHOP.domain, DEMO_SHOPS[1].domain})
    release.set()
    await asyncio.gather(*renewals)
    assert inside.count(SHOP.domain) == 2


async def test_a_failed_refresh_releases_the_lock(vault: TokenVault) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="failed"):
            async with vault.refresh_lock(SHOP.domain):
                raise RuntimeError("failed")


async def test_an_older_token_does_not_replace_a_newer_one(vault: TokenVault) -> None:
    await vault.save(SHOP.domain, RENEWED)
    older = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    await vault.save(SHOP.domain, OfflineToken("shpat_old", "shprt_old", older))
    assert await vault.load(SHOP.domain) == RENEWED


async def test_a_refresh_under_way_gives_no_token_to_an_uninstalled_shop(vault: TokenVault, demo: Demo) -> None:
    demo.execute(
        """UPDATE shops SET status = 'uninstalled', access_token_encrypted = NULL, refresh_token_encrypted = NULL,
           token_expires_at = NULL WHERE domain = %s""",
        [SHOP.domain],
    )
    await vault.save(SHOP.domain, RENEWED)
    with pytest.raises(ShopifyUnauthorized):
        await vault.load(SHOP.domain)


async def test_only_the_refused_token_of_the_one_shop_is_deleted(vault: TokenVault) -> None:
    refused = await vault.load(SHOP.domain)
    await vault.save(SHOP.domain, RENEWED)
    await vault.discard(SHOP.domain, refused)
    assert await vault.load(SHOP.domain) == RENEWED
    await vault.discard(SHOP.domain, RENEWED)
    with pytest.raises(ShopifyUnauthorized):
        await vault.load(SHOP.domain)
    assert (await vault.load(DEMO_SHOPS[1].domain)).access == DEMO_SHOPS[1].access_token
