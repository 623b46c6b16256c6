"""The task of the job `audit-trail`."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop
from tasks.runtime.ui_links import run_page
from wishcraft.domain.periods import Days
from wishcraft.errors import QueryRefused
from wishcraft.reports.audit_trail import MOST_LISTED, audit_page
from wishcraft.reports.page import Page
from wishcraft.resources import open_resources
from wishcraft.settings import time_zone
from wishcraft.store.audit_log import AuditFilter, FilterName, find_entries, find_values, has_value


@task("read the audit log of {domain}")
async def read_audit_trail(
    domain: str,
    days: Days,
    limit: int,
    *,
    actor: str | None,
    action: str | None,
    resource: str | None,
    resource_id: str | None,
) -> Page:
    """The shop's entries with these values on these days of TZ, newest first.

    Raises:
        QueryRefused: There is no such shop, or the id of a resource lacks the kind of resource.
    """
    if resource_id and not resource:
        raise QueryRefused("resource_id needs a resource, such as registry")
    zone = time_zone()
    since, until = days.moments(zone.key)
    # An emptied field of a form may send an empty text.
    wanted = AuditFilter(actor or None, action or None, resource or None, resource_id or None, since, until)
    async with open_resources() as resources:
        shop = await find_shop(resources, domain)
        async with resources.db.repeatable_read() as session:
            entries = await find_entries(session, shop.id, wanted, limit + 1)
            unknown = {} if entries else await _find_unknown(session, shop.id, wanted)
    return audit_page(domain, entries, limit, zone, run_page, unknown)


async def _find_unknown(session: AsyncSession, shop_id: int, wanted: AuditFilter) -> dict[FilterName, list[str]]:
    """The filters whose value is in no entry of the shop, and what entries have instead: one more than is listed."""
    filters: Sequence[FilterName] = ("actor", "action", "resource")
    return {
        name: await find_values(session, shop_id, name, MOST_LISTED + 1)
        for name in filters
        if (value := getattr(wanted, name)) and not await has_value(session, shop_id, name, value)
    }
