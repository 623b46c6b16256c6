"""The job `ask`."""

from typing import Annotated, Literal

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.report_run import leave
from tasks.analyst_reports import ask_database
from wishcraft.reports.export import FileFormat


@job("ask")
async def ask(
    question: str,
    rows: Literal[100, 1_000, 10_000, 100_000] = 1_000,
    seconds: Annotated[int, Field(ge=1, le=60)] = 30,
    file: FileFormat = "none",
) -> State[None]:
    """Answer a question in SQL: a SELECT from shops, registries, items, purchases, events, reminders or views.

    It is asked as a role that can read these views and nothing else; none of them names a person. If the first column
    is of days or words, each in one row, and a later one of numbers, the answer has a plot. The table shows 1,000 rows
    and the beginnings of long texts; a file holds everything. An answer may be 50 MB large.

    Args:
        question: One SELECT, in PostgreSQL's words.
        rows: The most rows that come back.
        seconds: How long it may take.
        file: Leave the rows, or the page, as a file in EXPORT_FOLDER too.
    """
    return await leave("ask", "Answer", ask_database.submit(question, rows, seconds, file))
