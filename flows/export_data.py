"""The job `export-data`."""

from datetime import date

from prefect import State

from flows.analysts import leave
from flows.job import job
from tasks.analysts import export_table
from wishcraft.domain.registries import EventType
from wishcraft.services.exporting import DataFormat
from wishcraft.services.questions import asked
from wishcraft.store.frames import TableName


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
    question = asked(shops, event_types, first_day, last_day)
    return await leave("export-data", "Export", export_table.submit(table, question, file))
