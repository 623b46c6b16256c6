"""The tasks that begin and end a job which sends mail."""

from datetime import datetime

from tasks.runtime.retries import task
from wishcraft.domain.mail_references import MailKind
from wishcraft.resources import open_resources
from wishcraft.services.mail import reputation
from wishcraft.store import outbox


@task("note the time")
async def find_time() -> datetime:
    """The time before the run claims a mail, for `judge_refusals`."""
    async with open_resources() as resources, resources.db.autocommit() as session:
        return await outbox.find_time(session)


@task("judge refusals")
async def judge_refusals(kind: MailKind, since: datetime) -> None:
    """Suppress the addresses that the mail server refused since then, unless it refused most recipients.

    Raises:
        TooManyAddressesRefused: It refused most recipients; no address is suppressed.
    """
    async with open_resources() as resources:
        await reputation.judge_refusals(resources, kind, since)
