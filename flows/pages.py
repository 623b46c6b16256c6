"""Leaves a report where people find it: as a page and tables in the Prefect UI and, if asked, in the ops' mail."""

from collections.abc import Mapping, Sequence

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from tasks.links import artifact_page
from tasks.pages import mail_page
from wishcraft.domain.markdown import escaped
from wishcraft.mail.reports import Report

Row = Mapping[str, str | int | float]


async def publish(
    key: str,
    title: str,
    verdict: str,
    body: str,
    tables: Mapping[str, Sequence[Row]] | None = None,
    *,
    mail: bool = False,
) -> None:
    """Leave the report as artifacts of the run, and mail it.

    Args:
        key: The job's name. The page's history is kept under `<key>-summary`.
        title: What it is, such as `Service levels`: it stands over the page, and begins the mail's subject.
        verdict: One plain sentence that says it all: the page's first line, the tables' description, the subject.
        body: The rest, as Markdown with headings from `##` down; its plots are `wishcraft.plots.image(…)`.
        tables: What the page sums up, row by row, by the artifact's key: `key` itself, or `<key>-<what it is of>`.
        mail: Whether to mail it to OPS_EMAIL too, with its plots and without its tables.

    Raises:
        ConfigurationError: It is to be mailed, and OPS_EMAIL, SMTP_URL or MAIL_FROM is not set.
        TransientError: The mail server is away; the artifacts are there.
    """
    links = [
        f"[{name}]({artifact_page(await acreate_table_artifact(list(map(dict, rows)), key=name, description=verdict))})"
        for name, rows in (tables or {}).items()
    ]
    page = f"**{escaped(verdict)}**\n\n{body}"
    shown = f"{page}\n\nRow by row: {', '.join(links)}." if links else page
    artifact = await acreate_markdown_artifact(shown, key=f"{key}-summary", description=title)
    get_run_logger().info("%s: %s %s", title, verdict, artifact_page(artifact))
    if mail:
        await mail_page(f"{key}-{flow_run.id}", Report(title, verdict, body, artifact_page(artifact)))
