"""The task that mails a report."""

from tasks.attempts import task
from wishcraft.errors import ConfigurationError
from wishcraft.mail.reports import Report, compose_report
from wishcraft.resources import open_resources
from wishcraft.settings import settings


@task("mail the page")
async def mail_page(name: str, report: Report) -> None:
    """Mail the report to OPS_EMAIL; `name` makes it the same mail on every try.

    Raises:
        ConfigurationError: OPS_EMAIL, SMTP_URL or MAIL_FROM is not set.
    """
    known = settings()
    if known.ops_email is None or known.mail_from is None:
        raise ConfigurationError("OPS_EMAIL, SMTP_URL and MAIL_FROM must be set to mail a report")
    message_id = f"<{name}@{known.mail_from.rpartition('@')[2]}>"
    async with open_resources() as resources:
        await resources.mailer.send(compose_report(report, known.ops_email, message_id))
