"""Draws small plots as PNG, to be read at a glance: on a page of the Prefect UI, light or dark, and in a mail.

The one module that knows matplotlib: importing it takes most of a second.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

WIDTH: Final = 7.2
HEIGHT: Final = 1.75
"""Inches of the whole, and of each row of panels."""
_DPI: Final = 200
"""Twice what a screen of 96 dots to the inch shows, so that text is sharp on any."""
_PAPER, _INK, _QUIET, _GRID = "#ffffff", "#22313a", "#66747d", "#e8ecee"
_LINE, _BAD = "#2f6f5e", "#c2452d"
_NO_DATA: Final[dict[str, Any]] = {"facecolor": _PAPER, "edgecolor": _GRID, "hatch": "////", "linewidth": 0}
_DARK: Final = 0.55
"""A share whose shade needs light ink."""
_SHADES: Final = 8
"""Of each colour, as smooth edges need them: a file with no other colours is a quarter as large."""


@dataclass(frozen=True, slots=True)
class Days:
    """A figure day by day, None for days without data; `objective` is what it is held to, above it or below.

    `days` ascend, each once; they may be weeks, months or hours too, by their beginnings.

    `latest` says its last value in words, and `unit` stands behind the figures of the axis.
    """

    title: str
    latest: str
    days: Sequence[date]
    values: Sequence[float | None]
    unit: str
    objective: float | None = None
    above: bool = True

    def misses(self, value: float) -> bool:
        """Whether the value is on the wrong side of the objective."""
        return self.objective is not None and (value < self.objective if self.above else value > self.objective)


@dataclass(frozen=True, slots=True)
class Bars:
    """A figure for each of a few names, the first at the top; `latest` stands beside the title."""

    title: str
    latest: str
    names: Sequence[str]
    values: Sequence[float]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A share for each row and column, the darker the greater; NaN where there is none. `latest` says of what."""

    title: str
    latest: str
    rows: Sequence[str]
    columns: Sequence[str]
    shares: Sequence[Sequence[float]]


Panel = Days | Bars | Grid


def draw(panels: Sequence[Panel], columns: int = 2) -> bytes:
    """The panels side by side as one PNG, row by row."""
    rows = -(-len(panels) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches around each panel
    figure = Figure(figsize=(WIDTH, HEIGHT * rows), dpi=_DPI, facecolor=_PAPER, layout=layout)
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        _prepare(axes, panel)
        if isinstance(panel, Days):
            _draw_days(axes, panel)
        elif isinstance(panel, Bars):
            _draw_bars(axes, panel)
        else:
            _draw_grid(axes, panel)
    if any(isinstance(panel, Days) and None in panel.values for panel in panels):
        no_data = Patch(**_NO_DATA, label="no data")
        figure.legend(handles=[no_data], loc="outside lower right", fontsize=7, labelcolor=_QUIET, frameon=False)
    return _png(figure)


def image(png: bytes, alternative: str) -> str:
    """The picture as Markdown that holds it; `alternative` says what is seen, for who cannot."""
    return f"![{alternative}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _prepare(axes: Axes, panel: Panel) -> None:
    axes.set_facecolor(_PAPER)
    axes.set_title(panel.title, loc="left", fontsize=8.5, fontweight="bold", color=_INK, pad=7)
    axes.tick_params(length=0, labelsize=7, labelcolor=_QUIET, pad=3)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _say_latest(axes: Axes, text: str, colour: str) -> None:
    axes.set_title(text, loc="right", fontsize=8.5, color=colour, pad=7)


def _draw_days(axes: Axes, panel: Days) -> None:
    places = [float(place) for place in date2num(list(panel.days))]  # type: ignore[no-untyped-call]
    step = min((after - before for before, after in pairwise(places)), default=1.0)
    values = [float("nan") if value is None else value for value in panel.values]
    missed = [(place, value) for place, value in zip(places, values, strict=True) if panel.misses(value)]
    axes.plot(places, values, color=_LINE, linewidth=1.3, solid_capstyle="round", marker="o", markersize=1.6)
    axes.plot([place for place, _ in missed], [value for _, value in missed], "o", color=_BAD, markersize=3)
    if panel.objective is not None:
        axes.axhline(panel.objective, color=_QUIET, linewidth=0.8, dashes=(4, 3))
    for place, value in zip(places, panel.values, strict=True):
        if value is None:
            axes.axvspan(place - step / 2, place + step / 2, zorder=0, **_NO_DATA)
    _say_latest(axes, panel.latest, _colour_of(panel))
    _fit(axes, panel)
    _mark_days(axes, panel.days, places, step)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)


def _mark_days(axes: Axes, days: Sequence[date], places: Sequence[float], step: float) -> None:
    """Some five days along the axis, with the year if there are several, or the hour if a day has several."""
    first, last = (places[0], places[-1]) if places else (0.0, 0.0)
    below = "%Y" if len({day.year for day in days}) > 1 else "%H:%M" if step < 1 else ""
    apart = (last - first + step) / step // 4 * step
    marked: dict[float, str] = {}
    for place, day in zip(places, days, strict=True):
        if not marked or place - max(marked) > apart - step / 2:
            marked[place] = f"{day:%b} {day.day}\n{day:{below}}" if below else f"{day:%b} {day.day}"
    axes.set_xticks(list(marked), list(marked.values()))
    axes.set_xlim(first - step / 2, last + step / 2)


def _colour_of(panel: Days) -> str:
    """That of the last value: no data is no success."""
    latest = panel.values[-1] if panel.values else None
    if latest is None:
        return _QUIET
    return _BAD if panel.misses(latest) else _LINE


def _fit(axes: Axes, panel: Days) -> None:
    """A scale that has the objective in it; it begins about 0 where less is better, and ends at 100 % where more is."""
    known = [value for value in [*panel.values, panel.objective] if value is not None]
    lowest, highest = min(known, default=0.0), max(known, default=1.0)
    room = (highest - lowest) * 0.15 or abs(highest) * 0.1 or 1.0
    if not panel.above:
        axes.set_ylim(-0.7 * room, highest + room)
    else:
        axes.set_ylim(lowest - room, 100 + 0.25 * room if panel.unit == "%" else highest + room)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} {panel.unit}".strip()))


def _draw_bars(axes: Axes, panel: Bars) -> None:
    places = range(len(panel.names))
    axes.barh(places, panel.values, height=0.62, color=_LINE)
    axes.set_yticks(places, panel.names)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_xlim(0, max(panel.values, default=0) * 1.25 or 1)
    for place, value in zip(places, panel.values, strict=True):
        axes.annotate(
            f"{value:,g} {panel.unit}".strip(), (value, place), xytext=(3, 0), textcoords="offset points",
            va="center", fontsize=7, color=_QUIET,
        )  # fmt: skip
    _say_latest(axes, panel.latest, _LINE)


def _draw_grid(axes: Axes, panel: Grid) -> None:
    axes.set_xticks(range(len(panel.columns)), panel.columns)
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    axes.set_xlim(-0.5, len(panel.columns) - 0.5)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    for row, shares in enumerate(panel.shares):
        for column, share in enumerate(shares):
            if share == share:  # noqa: PLR0124  not NaN
                shade = [1 - share * (1 - part) for part in to_rgb(_LINE)]
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=shade, edgecolor=_PAPER))
                ink = _PAPER if share > _DARK else _INK
                axes.annotate(f"{share:.0%}", (column, row), ha="center", va="center", fontsize=6, color=ink)
    _say_latest(axes, panel.latest, _LINE)


def _png(figure: Figure) -> bytes:
    large, small = io.BytesIO(), io.BytesIO()
    figure.savefig(large, format="png")
    picture = Image.open(large).convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    return small.getvalue()


def _palette() -> Image.Image:
    """The colours in use, and what lies between the paper's and theirs."""
    inks = [to_rgb(colour) for colour in (_INK, _QUIET, _LINE, _BAD)]
    shades = [tuple(1 - step / _SHADES * (1 - part) for part in ink) for ink in inks for step in range(_SHADES + 1)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([round(255 * part) for colour in [to_rgb(_PAPER), to_rgb(_GRID), *shades] for part in colour])
    return palette
