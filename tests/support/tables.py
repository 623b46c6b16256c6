"""The width of tables."""

from collections.abc import Mapping, Sequence

from wishcraft.reports.tables import _CELL_PADDING, _pixels


def table_pixels(rows: Sequence[Mapping[str, object]]) -> float:
    """About how wide the Prefect UI shows a table."""
    columns = [[name, *(str(row[name]) for row in rows)] for name in (rows[0] if rows else ())]
    return sum(max(map(_pixels, column)) + _CELL_PADDING for column in columns)
