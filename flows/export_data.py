"""The job `export-data`."""

from datetime import date

from prefect import State

from flows.runtime.job import job
from flows.runtime.report_run import leave
from tasks.analyst_reports import export_table
from wishcraft.analytics.filters import parse_filter
from wishcraft.analytics.tables import TableName
from wishcraft.domain.registries import EventType
from wishcraft.reports.export import DataFormat


@job("export-data")
async def export_data(
    table: TableName = "items",
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    file: DataFormat = "parquet",
) -> State[None]:
    """Write a table's rows to a file in EXPORT_FOLDER, for pandas, a spreadsheet or another program.

    No row names a person. Rows of millions go through in chunks; the file gets its name when it is whole.

    Args:
        table: Registries, items, live purchases, events of guests, or reminders.
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All if empty.
        event_types: What is celebrated. All if empty.
        first_day: Only registries that were created (or events that happened) on this day or later.
        last_day: Only registries that were created (or events that happened) on this day or before.
        file: Parquet keeps the columns' types; CSV opens anywhere.
    """
    question = parse_filter(shops, event_types, first_day, last_day)
    return await leave("export-data", "Export", export_table.submit(table, question, file))
