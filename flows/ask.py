"""The job `ask`."""

from typing import Annotated, Literal

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish_when_done
from tasks.analyst_reports import ask_database
from wishcraft.reports.run_file import FileFormat


@job("ask")
async def ask(
    question: str,
    rows: Literal[100, 1_000, 10_000, 100_000] = 1_000,
    seconds: Annotated[int, Field(ge=1, le=60)] = 30,
    file: FileFormat = "none",
) -> State[None]:
    """Run one SELECT over the views shops, registries, items, purchases, events, reminders, mails and views.

    It runs as a role that can read only these views; they hold no personal data. The result has a plot if the first
    column has days or unique texts and a later column has numbers. The table shows 1,000 rows and shortens long texts;
    a file has everything. A result has at most 50 MB, and a row 5 MB.

    Args:
        question: One SELECT in PostgreSQL's SQL. Prefect stores it as written: no names and addresses, please.
        rows: Maximum number of rows in the result.
        seconds: Time limit of the query.
        file: Also write a file, linked in the summary: html has the page, other formats the rows.
    """
    return await publish_when_done("ask", ask_database.submit(question, rows, seconds, file))
