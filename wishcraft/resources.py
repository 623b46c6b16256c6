"""The one place where clients are built: pools, timeouts and retries are set here and nowhere else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from wishcraft.cache.client import connect
from wishcraft.cache.registries import RegistryCache
from wishcraft.settings import Settings
from wishcraft.settings import settings as from_environment
from wishcraft.shopify.client import ShopifyClient
from wishcraft.store.engine import Database
from wishcraft.store.tokens import TokenVault


@dataclass(frozen=True, slots=True)
class Resources:
    """What a request or a task works with. Nothing in it connects before it is used."""

    db: Database
    cache: RegistryCache
    shopify: ShopifyClient


@asynccontextmanager
async def open_resources(settings: Settings | None = None) -> AsyncIterator[Resources]:
    """Resources for as long as the context lasts; the settings are the environment's if none are given.

    Raises:
        ConfigurationError: A setting is wrong; the message says which and what to do.
    """
    settings = settings or from_environment()
    async with AsyncExitStack() as stack:
        db = Database(settings.database_url)
        stack.push_async_callback(db.close)
        password = settings.redis_password.get_secret_value() if settings.redis_password else None
        redis = connect(settings.redis_url, password)
        stack.push_async_callback(redis.aclose)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=httpx.Timeout(30, connect=5)))
        shopify = ShopifyClient(
            http,
            TokenVault(db, settings.encryption_keys),
            origin=settings.shopify_origin,
            api_version=settings.shopify_api_version,
            api_key=settings.shopify_api_key,
            api_secret=settings.shopify_api_secret.get_secret_value(),
        )
        yield Resources(db, RegistryCache(redis), shopify)
