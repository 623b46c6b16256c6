"""The job `send-invitations`."""

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from flows.runtime.mail_refusals import suppress_refused
from tasks.mail_refusals import find_time
from tasks.runtime.shop_batches import find_shop_batches
from tasks.send_invitations import invite_shops
from wishcraft.domain.mail_references import MailKind


@job("send-invitations")
async def send_invitations(shops: list[str] | None = None, dry_run: bool = False) -> State[dict[str, int]]:
    """Send the invitations by which people named in a registry confirm their address, within the daily limits.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All active shops if empty.
        dry_run: Count the invitations that are due, and those that wait because of a limit; send nothing.
    """
    started = await find_time()
    batches = await find_shop_batches(shops or [])
    results = await suppress_refused(
        MailKind.INVITATION, await run_batches(invite_shops, batches, dry_run=dry_run), started
    )
    return await summarise(
        "send-invitations", results, watched=("paused", "refused", "postponed", "failed", "held", "waiting")
    )
