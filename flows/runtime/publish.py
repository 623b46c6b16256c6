"""Publishes reports as artifacts in the Prefect UI and, if requested, as a mail to OPS_EMAIL."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from prefect import State
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.runtime.progress import wait_with_progress
from tasks.maintenance_reports import mail_report
from tasks.runtime.ui_links import artifact_page, with_runbook_links
from wishcraft.errors import WishCraftError
from wishcraft.observability.sentry import capture_error
from wishcraft.reports.html import Report
from wishcraft.reports.markdown import escape, keep_figures_together
from wishcraft.reports.page import Page
from wishcraft.reports.run_file import RunFile
from wishcraft.reports.titles import TITLES

_NOT_MAILED: Final = (
    "The report could not be mailed to OPS_EMAIL, because {error}. "
    "Check OPS_EMAIL, MAIL_URL, MAIL_FROM and the mail server, then run the job again."
)


def scheduled_start() -> datetime:
    """The run's scheduled start. Reports end there, so that consecutive reports have no gap when a run starts late."""
    return datetime.fromtimestamp(flow_run.scheduled_start_time.timestamp(), UTC)


async def publish(key: str, page: Page, *, mail: bool = False) -> State[None]:
    """Publish a report as artifacts of the run, mail it if requested, and return the run's final state.

    If the mail fails, the run still completes; its message says what to do.

    Args:
        key: The job's name. The page is the artifact `<key>-summary`; its title, also of the mail, is in `TITLES`.
        page: The verdict is the page's first line, the state's message and the mail's subject; the body has headings
            of level 2 and below. Keys of tables are `key` itself, or `<key>-<content>`.
        mail: Mail the report to OPS_EMAIL, with its plots and without its tables.
    """
    title = TITLES[key]
    text = f"**{escape(page.verdict)}**\n\n{keep_figures_together(page.body)}"
    if links := await _publish_tables(key, title, page):
        text = f"{text}\n\nTables: {', '.join(links)}."
    shown = with_runbook_links(text)
    link = artifact_page(await acreate_markdown_artifact(shown, key=f"{key}-summary", description=title))
    get_run_logger().info("%s: %s %s", title, page.verdict, link)
    warning = await _mail(f"{key}-{flow_run.id}", Report(title, page.verdict, page.body, link)) if mail else ""
    return Completed(message=f"{page.verdict} {warning}".rstrip())


async def publish_when_done(key: str, report: PrefectFuture[Any]) -> State[None]:
    """Wait for a task that makes a report, publish its page, and put the link to its file into page and final state.

    Raises:
        Exception: The error of the task, such as `QueryRefused` or `RunStopped`.
    """
    await wait_with_progress([report], [1])
    page_and_file: tuple[Page, RunFile | None] = await asyncio.to_thread(report.result)
    page, file = page_and_file
    body = f"{await asyncio.to_thread(file.to_markdown)}\n\n{page.body}" if file else page.body
    await publish(key, page._replace(body=body))
    return Completed(message=f"{page.verdict}{f' The file: {file.where}' if file else ''}")


async def _publish_tables(key: str, title: str, page: Page) -> list[str]:
    """Publish the page's tables; Markdown links to them."""
    links = []
    for name, rows in page.tables.items():
        content = f"{title}: {name.removeprefix(f'{key}-').replace('-', ' ')}"
        artifact = await acreate_table_artifact(
            list(map(dict, rows)), key=name, description=page.verdict if name == key else content
        )
        links.append(f"[{name}]({artifact_page(artifact)})")
    return links


async def _mail(name: str, report: Report) -> str:
    """Mail the report; a warning if that fails, else an empty text."""
    try:
        await mail_report(name, report)
    except WishCraftError as error:
        capture_error(error)
        warning = _NOT_MAILED.format(error=error)
        get_run_logger().warning(warning)
        return warning
    return ""
