"""Leaves a report where people find it: as a page and tables in the Prefect UI and, if asked, in the ops' mail."""

from datetime import UTC, datetime
from typing import Final

from prefect import State
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from tasks.maintenance_reports import mail_page
from tasks.runtime.ui_links import artifact_page
from wishcraft.errors import WishCraftError
from wishcraft.observability.sentry import capture_error as report_error
from wishcraft.reports.html import Report
from wishcraft.reports.markdown import escape, keep_figures_together
from wishcraft.reports.page import Page

_NOT_MAILED: Final = (
    "The report could not be mailed to OPS_EMAIL, because {error}. "
    "Mend OPS_EMAIL, SMTP_URL or MAIL_FROM, or see to the mail server; then run the job again."
)


def scheduled_start() -> datetime:
    """When the run was to begin: what a report leaves out because it came late, the next one would not tell either."""
    return datetime.fromtimestamp(flow_run.scheduled_start_time.timestamp(), UTC)


async def publish(key: str, title: str, page: Page, *, mail: bool = False) -> State[None]:
    """Leave the report as artifacts of the run, mail it, and end the run with what it found.

    A report that cannot be mailed is one all the same: the run completes, and says why nobody was written to.

    Args:
        key: The job's name. The page's history is kept under `<key>-summary`.
        title: What it is, such as `Service levels`: it stands over the page, and begins the mail's subject.
        page: The verdict is the page's first line, the state's message and the mail's subject; the body has headings
            from `##` down. Its tables' keys are `key` itself, or `<key>-<what it is of>`.
        mail: Whether to mail it to OPS_EMAIL too, with its plots and without its tables.
    """
    text = f"**{escape(page.verdict)}**\n\n{keep_figures_together(page.body)}"
    if links := await _leave_tables(key, title, page):
        text = f"{text}\n\nRow by row: {', '.join(links)}."
    link = artifact_page(await acreate_markdown_artifact(text, key=f"{key}-summary", description=title))
    get_run_logger().info("%s: %s %s", title, page.verdict, link)
    warning = await _mail(f"{key}-{flow_run.id}", Report(title, page.verdict, page.body, link)) if mail else ""
    return Completed(message=f"{page.verdict} {warning}".rstrip())


async def _leave_tables(key: str, title: str, page: Page) -> list[str]:
    """Links to what the page sums up, row by row."""
    links = []
    for name, rows in page.tables.items():
        what = f"{title}: {name.removeprefix(f'{key}-').replace('-', ' ')}"
        artifact = await acreate_table_artifact(
            list(map(dict, rows)), key=name, description=page.verdict if name == key else what
        )
        links.append(f"[{name}]({artifact_page(artifact)})")
    return links


async def _mail(name: str, report: Report) -> str:
    """What somebody has to do if it cannot be mailed."""
    try:
        await mail_page(name, report)
    except WishCraftError as error:
        report_error(error)
        warning = _NOT_MAILED.format(error=error)
        get_run_logger().warning(warning)
        return warning
    return ""
