"""What a plot shows: its panels, without how they are drawn, which `plots` does."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """A panel with a value for each day; None is a day without data, and so is a day that its neighbours leave out.

    `days` ascend without repetition; they may also be the beginnings of hours, weeks or months. The `objective` is a
    lower bound of the values if `above`, else an upper bound. `unit` follows the numbers of the axis. `missing` is what
    the legend calls a day without data. `ranges` are the intervals of the values, as of a `BarChart`. The periods of
    the last `open_values` values are not over: these values are drawn hollow, after a dotted line. `unfinished` is what
    the legend calls them.
    """

    title: str
    subtitle: str
    days: Sequence[date]
    values: Sequence[float | None]
    unit: str
    objective: float | None = None
    above: bool = True
    missing: str = "no data"
    ranges: Sequence[tuple[float, float] | None] = ()
    open_values: int = 0
    unfinished: str = "not over"

    def __post_init__(self) -> None:
        _require_as_many("days", self.days, values=self.values, ranges=self.ranges)
        if not 0 <= self.open_values <= len(self.values):
            raise ValueError(f"there are {len(self.values)} values, so {self.open_values} of them cannot be open")

    @property
    def first_open(self) -> int:
        """The place of the first value whose period is not over; the number of values if all are over."""
        return len(self.values) - self.open_values

    def misses(self, value: float) -> bool:
        """Whether the value is on the wrong side of the objective."""
        return self.objective is not None and (value < self.objective if self.above else value > self.objective)


@dataclass(frozen=True, slots=True)
class BarChart:
    """A panel with a horizontal bar for each name, the first at the top.

    Attributes:
        values: None for what is unknown or too little to tell, which `missing` says instead of a bar.
        ranges: The interval of each value, drawn as a line over its bar; None without one.
        marks: A number to compare each bar with, drawn as a stroke across it if there is room; None without one.
    """

    title: str
    subtitle: str
    names: Sequence[str]
    values: Sequence[float | None]
    unit: str = ""
    ranges: Sequence[tuple[float, float] | None] = ()
    marks: Sequence[float | None] = ()
    missing: str = "no data"

    def __post_init__(self) -> None:
        _require_as_many("names", self.names, values=self.values, ranges=self.ranges, marks=self.marks)


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A panel with a share for each row and column, the darker the greater; NaN leaves a cell empty."""

    title: str
    subtitle: str
    rows: Sequence[str]
    columns: Sequence[str]
    shares: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        _require_as_many("rows", self.rows, shares=self.shares)
        for row in self.shares:
            _require_as_many("columns", self.columns, **{"shares of a row": row})


Panel = TimeSeries | BarChart | Heatmap


def _require_as_many(what: str, labels: Sized, **others: Sized) -> None:
    """Refuse what has more or fewer entries than there are labels; `ranges` and `marks` may be empty.

    Raises:
        ValueError: The message names both and their numbers.
    """
    for name, found in others.items():
        if len(found) != len(labels) and (len(found) or name not in {"ranges", "marks"}):
            raise ValueError(
                f"{what} and {name} must be as many: there are {len(labels)} {what} and {len(found)} {name}"
            )
