"""Write analysts' data to files: Parquet, CSV, or a self-contained HTML page.

A file is written under a temporary name and renamed when it is complete. In a CSV file, an apostrophe precedes a text
that a spreadsheet would run as a formula: https://owasp.org/www-community/attacks/CSV_Injection. The file begins with
the byte-order mark of UTF-8: without one, Excel reads it in the encoding of its machine, `Lumière` as `LumiÃ¨re`.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from csv import QUOTE_NONNUMERIC
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
from pandas.api.types import is_object_dtype, is_string_dtype
from pyarrow import csv, parquet

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter, TableName
from wishcraft.analytics.reader import Chunk, Progress, ignore_progress, read_chunks
from wishcraft.analytics.tables import TABLES
from wishcraft.domain.currencies import SCALE
from wishcraft.errors import QueryRefused
from wishcraft.files import complete_file
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.html import Report, as_html
from wishcraft.reports.run_file import DataFormat

_MONEY: Final = {"price_e4": "price", "unit_e4": "unit_price"}
"""Columns in ten-thousandths, and their names in files, in the currency's own unit."""

_FORMULA: Final = re.compile(
    r"[\t\r\n]|[\s\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]"
)
"""Start of a formula that a spreadsheet may run: a sign, also wide or small, after invisible characters at most."""


def export_table(
    db: AnalystsDatabase,
    table: TableName,
    report_filter: ReportFilter,
    file: Path,
    progress: Progress = ignore_progress,
) -> int:
    """Write a table's rows of the registries (or events) in the filter; return how many rows they are.

    The columns are those of `analytics.tables`, after the shop's domain; amounts are in the currency's own unit, with
    the currency beside them. Memory does not grow with the number of rows.

    Args:
        db: The analysts' database.
        table: The table.
        report_filter: Its days are those of the registries' creation, for `events` those of the events.
        file: Its suffix, `.parquet` or `.csv`, selects the format.
        progress: Called between chunks.

    Raises:
        ConfigurationError: The file cannot be written.
        QueryRefused: The file has another suffix; or as `read_chunks`.
        DatabaseUnavailable: As `read_chunks`.
    """
    data_format = _format(file)
    spans = {"happened": report_filter.days} if table == "events" else {"created": report_filter.days}
    tables: tuple[TableName, ...] = ("registries",) if table == "registries" else ("registries", table)
    schema = _schema(table)
    rows = 0
    with complete_file(file) as unfinished, _writer(unfinished, data_format, schema) as writer:
        for chunk in read_chunks(db, report_filter, tables, progress, **spans):
            part_rows = _rows(chunk, table)
            if data_format == "csv":
                part_rows = _without_formulas(part_rows)
            part = pa.Table.from_pandas(part_rows, schema, preserve_index=False)
            writer.write_table(part)
            rows += part.num_rows
    return rows


def write_frame(frame: pd.DataFrame, file: Path) -> None:
    """Write the frame, with its index if that has names; the suffix, `.parquet` or `.csv`, selects the format.

    Raises:
        ConfigurationError: The file cannot be written.
        QueryRefused: The file has another suffix.
    """
    data_format = _format(file)
    indexed = any(name is not None for name in frame.index.names)
    with complete_file(file) as unfinished:
        if data_format == "csv":
            cells = _without_formulas(frame.reset_index() if indexed else frame)
            # Without quotes a carriage return inside a text would begin another row, and that with a formula.
            cells.to_csv(unfinished, index=False, quoting=QUOTE_NONNUMERIC, encoding="utf-8-sig")
        else:
            frame.to_parquet(unfinished, index=indexed)


def save(result: ReportResult, title: str, file: Path) -> None:
    """Write a report to the file: the page if the suffix is `.html`, else its frame.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    if file.suffix != ".html":
        write_frame(result.frame, file)
        return
    with complete_file(file) as unfinished:
        unfinished.write_text(as_html(Report(title, result.page.verdict, result.page.body)), "utf-8")


def _without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before the names and texts that begin like a formula; numbers stay numbers."""
    safe = frame.copy()
    for place, kind in enumerate(frame.dtypes):
        if is_object_dtype(kind) or is_string_dtype(kind) or isinstance(kind, pd.CategoricalDtype):
            safe.isetitem(place, frame.iloc[:, place].map(_as_cell).array)
    return safe.set_axis([_as_cell(name) for name in frame.columns], axis="columns")


def _as_cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _rows(chunk: Chunk, table: TableName) -> pd.DataFrame:
    rows = chunk[table]
    if table != "registries":
        rows = rows.merge(chunk["registries"][["registry_id", *_shop_columns(table)]], on="registry_id")
    money = {name: rows[name] / SCALE for name in _MONEY if name in rows}
    return rows.assign(**money).rename(columns=_MONEY)


def _shop_columns(table: TableName) -> list[str]:
    """The shop's columns in a file: its domain, and its currency if the table has money without a currency."""
    columns = TABLES[table].columns
    return ["shop", "currency"] if "currency" not in columns and _MONEY.keys() & columns else ["shop"]


def _schema(table: TableName) -> pa.Schema:
    columns = [(_MONEY.get(name, name), _file_type(name, kind)) for name, kind in TABLES[table].columns.items()]
    return pa.schema([*((name, pa.string()) for name in _shop_columns(table)), *columns])


def _file_type(name: str, kind: pa.DataType) -> pa.DataType:
    if name in _MONEY:
        return pa.float64()
    return pa.string() if pa.types.is_dictionary(kind) else kind


def _format(file: Path) -> DataFormat:
    match file.suffix.lower():
        case ".parquet":
            return "parquet"
        case ".csv":
            return "csv"
    raise QueryRefused(f"{file.name!r} has no known suffix: the file name ends in .parquet or .csv")


@contextmanager
def _writer(file: Path, data_format: DataFormat, schema: pa.Schema) -> Iterator[parquet.ParquetWriter | csv.CSVWriter]:
    if data_format == "parquet":
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            yield writer
        return
    with file.open("wb") as content:
        content.write(BOM_UTF8)
        with csv.CSVWriter(content, schema) as writer:
            yield writer
