"""The job `export-data`."""

from datetime import date

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish_when_done
from tasks.analyst_reports import export_table
from wishcraft.analytics.filters import TableName, parse_filter
from wishcraft.domain.registries import EventType
from wishcraft.reports.run_file import DataFormat


@job("export-data")
async def export_data(
    table: TableName = "items",
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    file: DataFormat = "parquet",
) -> State[None]:
    """Write a table's rows to a file, for pandas, a spreadsheet or another program; the run's summary has its link.

    The rows hold no personal data. Large tables are written in chunks; the file gets its name when it is complete.

    Args:
        table: Table to export. Purchases are those that were not cancelled; events are those of guests.
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All shops if empty.
        event_types: Event types of the registries. All types if empty.
        first_day: Only registries created (or events that happened) on this day or later.
        last_day: Only registries created (or events that happened) on this day or earlier.
        file: Parquet keeps the types of the columns; CSV opens in any program.
    """
    report_filter = parse_filter(shops, event_types, first_day, last_day)
    return await publish_when_done("export-data", export_table.submit(table, report_filter, file))
