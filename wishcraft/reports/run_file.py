"""The file of a run that people open or save: its link, its size, and a preview of exported data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from wishcraft.files import FileStore, file_path
from wishcraft.reports.markdown import link, table
from wishcraft.reports.page import Page, format_bytes, pluralize
from wishcraft.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

DataFormat = Literal["parquet", "csv"]
FileFormat = Literal["none", "html", "parquet", "csv"]

_PREVIEW_ROWS: Final = 20
_EXAMPLES: Final = 3
_EXAMPLE_CHARACTERS: Final = 40


class RunFile(NamedTuple):
    """A file of a run, and the URL that returns it; without PUBLIC_URL there is none."""

    path: Path
    url: str | None
    content: str = ""
    """Its rows and columns, if it has some: `1,234 rows of 14 columns`."""

    @classmethod
    def place(cls, files: FileStore, settings: Settings, run: str, name: str) -> "RunFile":
        """The file of this name, which `complete_file` is to write.

        Raises:
            ConfigurationError: The disk refuses its folder.
        """
        url = settings.public_link(file_path(run, name)) if settings.public_url else None
        return cls(files.place(run, name), url)

    @property
    def where(self) -> str:
        """Its URL, or what is missing for one."""
        return self.url or f"{self.path} on the worker's machine; set PUBLIC_URL for a link"

    def to_markdown(self) -> str:
        """Links to open and to save it, and its size."""
        size = ", ".join(filter(None, [format_bytes(self.path.stat().st_size), self.content]))
        if self.url is None:
            return f"File: `{self.path}` ({size}), on the worker's machine. Set `PUBLIC_URL` for a link."
        name = self.path.name
        if self.path.suffix == ".html":
            links = f"{link('open the page', f'{self.url}?show=true')} · {link('save it', self.url)}"
        else:
            links = link("save it", self.url)
        return (
            f"File: {links} — `{name}`, {size}. The link asks for user and password: what is before and after the colon"
            " of the login of the Prefect UI. `cleanup-logs` deletes it after 30 days, unless it is set otherwise."
        )


def count_cells(rows: int, columns: int) -> str:
    """Format the size of a table: `1,234 rows of 14 columns`."""
    return f"{pluralize(rows, 'row')} of {pluralize(columns, 'column')}"


def describe_export(name: str, file: Path, rows: int) -> tuple[Page, str]:
    """The page about exported data, with its columns and their first values, and the size of the data as text."""
    first = _read_first(file)
    columns = [(str(column), str(first[column].dtype), _examples(first[column])) for column in first.columns]
    body = f"## Columns\n\n{table(('column', 'type', 'first values'), columns)}"
    return Page(f"{pluralize(rows, 'row')} of {name}.", body, {}), count_cells(rows, len(columns))


def _read_first(file: Path) -> "pd.DataFrame":
    """The first rows of a Parquet or CSV file."""
    import pandas as pd  # here: it takes a second, and jobs without a file need none
    from pyarrow import parquet

    if file.suffix == ".csv":
        return pd.read_csv(file, nrows=_PREVIEW_ROWS)
    content = parquet.ParquetFile(file)
    batch = next(content.iter_batches(_PREVIEW_ROWS), None)
    first: pd.DataFrame = (content.schema_arrow.empty_table() if batch is None else batch).to_pandas()
    return first


def _examples(values: "pd.Series[Any]") -> str:
    texts = list(dict.fromkeys(str(value) for value in values.dropna()))[:_EXAMPLES]
    return ", ".join(text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[:_EXAMPLE_CHARACTERS]}…" for text in texts)
