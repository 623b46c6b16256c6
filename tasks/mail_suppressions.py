"""The tasks of the job `mail-suppressions`."""

from collections.abc import Sequence
from datetime import datetime

from prefect.runtime import flow_run

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.files import complete_file
from wishcraft.reports.page import Page
from wishcraft.reports.run_file import RunFile, count_cells
from wishcraft.reports.suppressions import imported_page, lifted_page, suppressions_page, to_csv
from wishcraft.resources import open_resources
from wishcraft.services.mail.suppressions import (
    find_hashes_of_registry,
    find_suppressions,
    import_suppressions,
    lift_suppressions,
)
from wishcraft.settings import settings, time_zone
from wishcraft.store.audit_log import Actor

_ACTOR = "mail-suppressions"


@task("find suppressed addresses of {domain}")
async def list_suppressed(domain: str, reason: SuppressionReason | None, *, export: bool) -> Page:
    """The page of the shop's suppressions, with a file of all if `export` is set.

    Raises:
        QueryRefused: There is no such shop.
        ConfigurationError: The file cannot be written.
    """
    async with open_resources() as resources:
        shop = await find_shop(resources, domain)
        found = await find_suppressions(resources, shop.id, reason)
    page = suppressions_page(shop.domain, found, time_zone())
    if not export:
        return page
    name = f"suppressions-{datetime.now(time_zone()).date()}.csv"
    file = RunFile.place(resources.files, settings(), str(flow_run.id), name)
    with complete_file(file.path) as unfinished:
        unfinished.write_text(to_csv(found), "utf-8")
    content = count_cells(len(found), 3)
    return page._replace(body=f"{file._replace(content=content).to_markdown()}\n\n{page.body}")


@task("lift suppressions of {domain}")
async def lift(domain: str, hashes: Sequence[str], registry: int | None) -> Page:
    """Lift the suppressions of these addresses, or of those that get the registry's mail.

    Raises:
        QueryRefused: There is no such shop or registry.
    """
    async with open_resources() as resources:
        shop = await find_shop(resources, domain)
        wanted = [bytes.fromhex(each) for each in hashes]
        if registry is not None:
            wanted += await find_hashes_of_registry(resources, shop.id, registry)
        lifted = await lift_suppressions(resources, Actor(shop.id, _ACTOR), wanted, {"run": str(flow_run.id)})
    return lifted_page(shop.domain, len(wanted), lifted)


@task("import suppressed addresses of {domain}")
async def import_file(domain: str, name: str, reason: SuppressionReason | None) -> Page:
    """Suppress the addresses of a file in the folder `imports` of FILES_URL.

    Raises:
        QueryRefused: There is no such shop or file, or a line of it is not valid.
        ConfigurationError: The disk refuses.
    """
    async with open_resources() as resources:
        shop = await find_shop(resources, domain)
        actor, details = Actor(shop.id, _ACTOR), {"run": str(flow_run.id)}
        counts = await import_suppressions(resources, actor, name, reason, details)
    return imported_page(shop.domain, *counts)
