"""The tasks of the job `shop-settings`."""

from collections.abc import Mapping
from typing import Any, Final

from prefect.runtime import flow_run

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop
from wishcraft.errors import Invalid, QueryRefused
from wishcraft.resources import open_resources
from wishcraft.services.shops.settings import SettingsChange, change_settings, replace_outdated_entries
from wishcraft.store.audit_log import Actor

_ACTOR: Final = "shop-settings"


@task("change the settings of {domain}")
async def change_shop_settings(domain: str, changes: Mapping[str, Any]) -> SettingsChange:
    """Change these settings of the shop; without changes, read them.

    Raises:
        QueryRefused: There is no such shop, or a value is not allowed.
    """
    async with open_resources(redis_timeout=5) as resources:
        shop = await find_shop(resources, domain)
        try:
            return await change_settings(resources, Actor(shop.id, _ACTOR), changes, details={"run": str(flow_run.id)})
        except Invalid as error:
            raise QueryRefused(str(error)) from None


@task("replace the cached registries of {domain}")
async def replace_shop_entries(domain: str) -> int:
    """Replace the cache entries that a new threshold or share link concerns, also those that an earlier run left."""
    async with open_resources(redis_timeout=5) as resources:
        return await replace_outdated_entries(resources, (await find_shop(resources, domain)).id)
