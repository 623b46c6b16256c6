"""Leaves what analysts ask for as files: Parquet, CSV, or an HTML page that needs nothing besides itself.

A file gets its name when it is whole, so whoever sees it may open it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import Chunk, Progress, ReportFilter, read_chunks, unwatched
from wishcraft.analytics.tables import TABLES, TableName
from wishcraft.errors import ConfigurationError, QuestionRefused
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.html import Report, as_html

DataFormat = Literal["parquet", "csv"]
FileFormat = Literal["none", "html", "parquet", "csv"]
_MONEY: Final = {"price_cents": "price", "unit_cents": "unit_price"}


def export_table(
    db: AnalystsDatabase, table: TableName, question: ReportFilter, file: Path, progress: Progress = unwatched
) -> int:
    """Write the rows of the registries (or of the events on them) that the question is about: how many they are.

    The file's suffix, `.parquet` or `.csv`, says how. The columns are `store.frames`', with the shop's domain before
    them and money in the currency's own unit, which is named. Memory does not grow with the rows.

    Raises:
        ConfigurationError: The file cannot be written.
        QuestionRefused: The suffix is another; or as `read_chunks`.
        DatabaseUnavailable: As `read_chunks`.
    """
    form = _format(file)
    spans = {"happened": question.days} if table == "events" else {"created": question.days}
    tables: tuple[TableName, ...] = ("registries",) if table == "registries" else ("registries", table)
    schema = _schema(table)
    rows = 0
    with whole_file(file) as unfinished, _writer(unfinished, form, schema) as writer:
        for chunk in read_chunks(db, question, tables, progress, **spans):
            part = pa.Table.from_pandas(_rows(chunk, table), schema, preserve_index=False)
            writer.write_table(part)
            rows += part.num_rows
    return rows


def write_frame(frame: pd.DataFrame, file: Path) -> None:
    """Write the frame, its index too if it has names; the suffix, `.parquet` or `.csv`, says how.

    Raises:
        ConfigurationError: The file cannot be written.
        QuestionRefused: The suffix is another.
    """
    form = _format(file)
    indexed = any(name is not None for name in frame.index.names)
    with whole_file(file) as unfinished:
        if form == "csv":
            frame.to_csv(unfinished, index=indexed)
        else:
            frame.to_parquet(unfinished, index=indexed)


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Where to write what becomes `file` at the end of the block; if that fails, nothing is left.

    Raises:
        ConfigurationError: The folder cannot be made or written.
    """
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}; EXPORT_FOLDER says where to") from error
    finally:
        with suppress(OSError):  # what could not be made need not go
            unfinished.unlink()


def _rows(chunk: Chunk, table: TableName) -> pd.DataFrame:
    rows = chunk[table]
    if table != "registries":
        rows = rows.merge(chunk["registries"][["registry_id", *_told(table)]], on="registry_id")
    money = {cents: rows[cents] / 100 for cents in _MONEY if cents in rows}
    return rows.assign(**money).rename(columns=_MONEY)


def _told(table: TableName) -> list[str]:
    """What a row is told of its shop: its domain, and its currency if the row has money and does not name one."""
    columns = TABLES[table].columns
    return ["shop", "currency"] if "currency" not in columns and _MONEY.keys() & columns else ["shop"]


def _schema(table: TableName) -> pa.Schema:
    columns = [(_MONEY.get(name, name), _plain(name, kind)) for name, kind in TABLES[table].columns.items()]
    return pa.schema([*((name, pa.string()) for name in _told(table)), *columns])


def _plain(name: str, kind: pa.DataType) -> pa.DataType:
    if name in _MONEY:
        return pa.float64()
    return pa.string() if pa.types.is_dictionary(kind) else kind


def _format(file: Path) -> DataFormat:
    match file.suffix.lower():
        case ".parquet":
            return "parquet"
        case ".csv":
            return "csv"
    raise QuestionRefused(f"a file's name ends in .parquet or .csv, and {file.name!r} in neither")


def _writer(file: Path, form: DataFormat, schema: pa.Schema) -> parquet.ParquetWriter | csv.CSVWriter:
    return csv.CSVWriter(file, schema) if form == "csv" else parquet.ParquetWriter(file, schema, compression="zstd")


def save(answer: ReportResult, title: str, file: Path) -> None:
    """Write the answer to the file: its page if that is `.html`, else its figures.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    if file.suffix != ".html":
        write_frame(answer.frame, file)
        return
    with whole_file(file) as unfinished:
        unfinished.write_text(as_html(Report(title, answer.page.verdict, answer.page.body)), "utf-8")
