"""Small plots as PNG, for pages of the Prefect UI (light and dark) and mails.

It imports matplotlib, which takes most of a second, as `fonts` does and nothing else.
"""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import chain, pairwise
from statistics import median_low
from typing import Any, Final
from unicodedata import east_asian_width

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image, ImageDraw

from wishcraft.reports.fonts import font_families
from wishcraft.reports.page import format_percent
from wishcraft.reports.panels import BarChart, Heatmap, Panel, TimeSeries

__all__ = ["BarChart", "Heatmap", "Panel", "TimeSeries", "draw", "make_figure", "markdown_image"]

WIDTH: Final = 3.6
HEIGHT: Final = 1.75
"""Inches: the width of the picture, and the least height of a panel. A phone of 390 px shows the picture at 358 px or
more: the least text, of `_SMALL` points, has then 9.6 px.
"""
_SMALL: Final = 7
_LARGE: Final = 8.5
"""Points, of all text and of titles."""
_MARGIN: Final = 0.12
"""Inches on both sides."""
_FRAME_HEIGHT, _LINE_HEIGHT = 0.55, 0.17
"""Inches: of a panel's title and axis, and of each bar or row of a grid."""
_LONG_NAME: Final = 22
"""Characters. If a name is longer, all names of the chart are over their bars, where each has the picture's width."""
_LEAST_BARS: Final = 4
"""A panel has room for this many bars at least, so that one bar is no thicker than others."""
_GAP: Final = 1.75
"""Steps between two days of a series from which the days between them count as missing; months differ by a ninth."""
_DPI: Final = 200
"""Twice the 96 dots per inch of a screen, so that text is sharp on screens with a high resolution too."""
_ROUND: Final = 16
"""Pixels: the radius of the corners, outside which a picture is transparent. On a dark page it looks like a card."""
SHOWN_WIDTH: Final = round(WIDTH * _DPI / 2)
"""Pixels of a screen that a picture fills where its size can be chosen."""
_TITLES: Final = ("title", "subtitle")
"""The names of both texts above a panel."""
_PAPER, _INK, _QUIET, _GRID = "#ffffff", "#22313a", "#66747d", "#e8ecee"
_LINE, _BAD = "#2f6f5e", "#c2452d"
_NO_DATA: Final[dict[str, Any]] = {"facecolor": _PAPER, "edgecolor": _GRID, "hatch": "////", "linewidth": 0}
_HOLLOW: Final[dict[str, Any]] = {
    "marker": "o", "markersize": 3.5, "markerfacecolor": _PAPER, "markeredgecolor": _LINE, "markeredgewidth": 0.9,
}  # fmt: skip
_DARK: Final = 0.55
"""The share above which a cell's shade needs light text."""
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_EXACT: Final = 1_000
"""Numbers from this on are drawn without a fraction."""
_BILLION: Final = 1_000_000_000
_IN_BILLIONS: Final = (10 * _BILLION, 1_000_000 * _BILLION)
"""Numbers between these are drawn in billions: with all digits, they leave the plot no room."""
_SHADES: Final = 8
"""Shades of each colour, enough for smooth edges. A palette of only these makes the file a quarter as large."""


def draw(panels: Sequence[Panel]) -> bytes:
    """Draw the panels one below the other as one PNG."""
    return _png(make_figure(panels))


def make_figure(panels: Sequence[Panel]) -> Figure:
    """The panels one below the other as a figure of matplotlib, which notebooks show."""
    heights = list(map(_height, panels))
    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=0.1)  # inches around each panel
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=_DPI, facecolor=_PAPER, layout=layout)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    at_edge: list[Text] = []  # begin at the edge of the picture, not of their axes
    names: list[list[Text]] = []
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(grid[place, 0])
        at_edge.append(_prepare(axes, panel))
        if isinstance(panel, TimeSeries):
            _draw_time_series(axes, panel)
        elif isinstance(panel, BarChart):
            names.append(_draw_bar_chart(axes, panel))
        else:
            _draw_heatmap(axes, panel)
    if handles := _legend([panel for panel in panels if isinstance(panel, TimeSeries)]):
        style: dict[str, Any] = {"fontsize": _SMALL, "labelcolor": _QUIET, "frameon": False}
        figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), **style)
    families = font_families("".join(map(str, panels)))
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # else a text with two dollar signs is a formula
        text.set_fontfamily(families)
    layout.execute(figure)
    at_edge += chain.from_iterable(filter(_need_the_whole_width, names))
    _begin_at_edge(at_edge)
    if broken := [subtitle for subtitle in map(_break_titles, figure.axes) if subtitle]:
        layout.execute(figure)
        _begin_at_edge([*at_edge, *broken])
    figure.set_layout_engine("none")  # the layout is known, and stays
    return figure


def _legend(panels: Sequence[TimeSeries]) -> list[Artist]:
    """What explains the hatched days and the hollow values of the panels."""
    missing = sorted({panel.missing for panel in panels if _gaps(panel)})
    unfinished = sorted({panel.unfinished for panel in panels if _has_known_open_value(panel)})
    hatched = [Patch(**_NO_DATA, label=", ".join(missing))] if missing else []
    return [*hatched, *(Line2D([], [], linestyle="", **_HOLLOW, label=each) for each in unfinished)]


def _has_known_open_value(panel: TimeSeries) -> bool:
    return any(value is not None for value in panel.values[panel.first_open :])


def _need_the_whole_width(names: Iterable[Text]) -> bool:
    return any(name.get_window_extent().x1 > (WIDTH - _MARGIN) * _DPI for name in names)


def _begin_at_edge(texts: Iterable[Text]) -> None:
    for text in texts:
        assert text.axes  # noqa: S101  each belongs to a panel
        text.set_x(float(text.axes.transAxes.inverted().transform((_MARGIN * _DPI, 0))[0]))


def _break_titles(axes: Axes) -> Text | None:
    """Put the subtitle under the title if they would touch; return it then.

    The title gets an empty line below it, whose place the subtitle takes.
    """
    texts = {text.get_gid(): text for text in axes.findobj(Text) if isinstance(text, Text)}
    title, subtitle = (texts[kind] for kind in _TITLES)
    if subtitle.get_window_extent().x0 > title.get_window_extent().x1 + _MARGIN * _DPI / 2:
        return None
    title.set_text(f"{title.get_text()}\n ")
    subtitle.set_horizontalalignment("left")
    subtitle.set_x(0)
    return subtitle


def markdown_image(png: bytes, alt: str) -> str:
    """Markdown with the picture embedded as a `data:` URL; `alt` is the alternative text."""
    alt = _label(alt).translate({ord("["): "(", ord("]"): ")", ord("\\"): "/"})  # what would end it
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _height(panel: Panel) -> float:
    """Inches that the panel needs."""
    lines = 0
    if isinstance(panel, BarChart):
        lines = len(panel.names) * (2 if _has_long_names(panel) else 1)
    elif isinstance(panel, Heatmap):
        lines = len(panel.rows)
    return max(HEIGHT, _FRAME_HEIGHT + _LINE_HEIGHT * lines)


def _has_long_names(panel: BarChart) -> bool:
    return any(sum(2 if east_asian_width(each) in "FW" else 1 for each in name) > _LONG_NAME for name in panel.names)


def _label(text: str) -> str:
    """A text in one line: matplotlib draws control characters as boxes."""
    return _CONTROL_CHARACTERS.sub(" ", text).strip()


def _number(value: float) -> str:
    """A number of an axis or a bar, with grouped digits and four digits at least: `1,234,567`, `12.35`, `12.35 bn`."""
    least, most = _IN_BILLIONS
    if least <= abs(value) < most:
        return f"{_number(value / _BILLION)} bn"
    return f"{round(value) if abs(value) >= _EXACT else float(f'{value:.4g}'):,.10g}"


def _with_unit(value: float, unit: str) -> str:
    return format_percent(value, 100) if unit == "%" else f"{_number(value)} {unit}"


def _prepare(axes: Axes, panel: Panel) -> Text:
    """Set what all panels have in common; return the title."""
    axes.set_facecolor(_PAPER)
    axes.tick_params(length=0, labelsize=_SMALL, labelcolor=_QUIET, pad=3)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    style: dict[str, Any] = {"fontsize": _LARGE, "fontweight": "bold", "color": _INK, "gid": _TITLES[0]}
    return axes.set_title(_label(panel.title), loc="left", pad=7, **style)


def _set_subtitle(axes: Axes, text: str, colour: str) -> None:
    axes.set_title(_label(text), loc="right", fontsize=_LARGE, color=colour, pad=7, gid=_TITLES[1])


def _draw_time_series(axes: Axes, panel: TimeSeries) -> None:
    positions, step = _positions(panel.days)
    values = [float("nan") if value is None else value for value in panel.values]
    misses = [(position, value) for position, value in zip(positions, values, strict=True) if panel.misses(value)]
    gaps = _gaps(panel)
    points = [*zip(positions, values, strict=True), *((begin, float("nan")) for begin, _ in gaps)]
    line = sorted(points, key=lambda point: point[0])  # a NaN ends the line
    places, heights = [place for place, _ in line], [height for _, height in line]
    over = len(places)
    if panel.open_values:
        over = places.index(positions[panel.first_open])
    for place, bound in zip(positions, panel.ranges, strict=False):
        if bound:
            axes.plot((place, place), bound, color=_INK, linewidth=0.7)
    axes.plot(
        places[:over], heights[:over], color=_LINE, linewidth=1.3, solid_capstyle="round", marker="o", markersize=1.6
    )
    if _has_known_open_value(panel):
        last_over = max(over - 1, 0)
        axes.plot(places[last_over:], heights[last_over:], color=_LINE, linewidth=1.0, linestyle=":")
        axes.plot(places[over:], heights[over:], linestyle="", **_HOLLOW)
    axes.plot([position for position, _ in misses], [value for _, value in misses], "o", color=_BAD, markersize=3)
    if panel.objective is not None:
        axes.axhline(panel.objective, color=_QUIET, linewidth=0.8, dashes=(4, 3))
    for begin, end in gaps:
        axes.axvspan(begin, end, zorder=0, **_NO_DATA)
    _set_subtitle(axes, panel.subtitle, _latest_colour(panel))
    _set_scale(axes, panel)
    _set_day_ticks(axes, panel.days, positions, step)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)


def _positions(days: Sequence[date]) -> tuple[list[float], float]:
    """The days' places on the axis, and the usual step between them."""
    positions = [float(position) for position in date2num(list(days))]  # type: ignore[no-untyped-call]
    return positions, median_low([after - before for before, after in pairwise(positions)] or [1.0])


def _gaps(panel: TimeSeries) -> list[tuple[float, float]]:
    """Begin and end of each time without data."""
    positions, step = _positions(panel.days)
    known = [
        (position - step / 2, position + step / 2)
        for position, value in zip(positions, panel.values, strict=True)
        if value is None
    ]
    left_out = [
        (before + step / 2, after - step / 2) for before, after in pairwise(positions) if after - before >= _GAP * step
    ]
    return known + left_out


def _set_day_ticks(axes: Axes, days: Sequence[date], positions: Sequence[float], step: float) -> None:
    """Label about five days of the axis, with the year if there are several, or the hour if steps are shorter."""
    first, last = (positions[0], positions[-1]) if positions else (0.0, 0.0)
    second_line = "%Y" if len({day.year for day in days}) > 1 else "%H:%M" if step < 1 else ""
    spacing = (last - first + step) / step // 4 * step
    labels: dict[float, str] = {}
    for position, day in zip(positions, days, strict=True):
        if not labels or position - max(labels) > spacing - step / 2:
            labels[position] = f"{day:%b} {day.day}\n{day:{second_line}}" if second_line else f"{day:%b} {day.day}"
    axes.set_xticks(list(labels), list(labels.values()))
    axes.set_xlim(first - step / 2, last + step / 2)


def _latest_colour(panel: TimeSeries) -> str:
    """The colour of the last value of a period that is over; grey without data."""
    latest = panel.values[panel.first_open - 1] if panel.first_open else None
    if latest is None:
        return _QUIET
    return _BAD if panel.misses(latest) else _LINE


def _set_scale(axes: Axes, panel: TimeSeries) -> None:
    """Scale the axis to include the objective: from about 0 where less is better, up to 100 % where more is better.

    Negative values, as of a question, are below 0.
    """
    bounds = [bound for each in panel.ranges if each for bound in each]
    known = [value for value in [*panel.values, *bounds, panel.objective] if value is not None]
    lowest, highest = min(known, default=0.0), max(known, default=1.0)
    margin = (highest - lowest) * 0.15 or abs(highest) * 0.1 or 1.0
    if not panel.above:
        axes.set_ylim(lowest - margin if lowest < 0 else -0.7 * margin, max(highest, 0) + margin)
    else:
        axes.set_ylim(lowest - margin, 100 + 0.25 * margin if panel.unit == "%" else highest + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _label(f"{_number(value)} {panel.unit}")))


def _draw_bar_chart(axes: Axes, panel: BarChart) -> list[Text]:
    """Draw the bars; return the names that are over them."""
    is_over = _has_long_names(panel)
    axes.set_yticks(range(len(panel.names)), [""] * len(panel.names) if is_over else list(map(_label, panel.names)))
    places, height = [place + 0.22 * is_over for place in range(len(panel.names))], 0.4 if is_over else 0.62
    style: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "center",
        "fontsize": _SMALL,
        "color": _QUIET,
    }
    names = [
        axes.text(0, place - 0.24, _label(name), in_layout=False, **style)
        for place, name in enumerate(panel.names if is_over else ())
    ]
    axes.set_ylim(max(len(panel.names), _LEAST_BARS) - 0.5, -0.5)
    axes.set_xticks([])
    bounds = [bound for each in panel.ranges if each for bound in each]
    drawn = [number for number in (*panel.values, *bounds) if number is not None]
    lowest, highest = min(drawn, default=0.0), max(drawn, default=0.0)
    span = max(highest, 0.0) - min(lowest, 0.0) or 1.0
    axes.set_xlim(min(lowest - 0.25 * span, 0.0) if lowest < 0 else 0, max(highest, 0.0) + 0.25 * span)
    ranges, marks = panel.ranges or [None] * len(panel.names), panel.marks or [None] * len(panel.names)
    for place, value, bound, mark in zip(places, panel.values, ranges, marks, strict=True):
        if value is not None:
            axes.barh(place, value, height=height, color=_LINE)
        if bound:
            axes.plot(bound, (place, place), color=_INK, linewidth=1, marker="|", markersize=4)
        if mark is not None and mark <= axes.get_xlim()[1]:
            axes.plot((mark, mark), (place - 0.68 * height, place + 0.68 * height), color=_BAD, linewidth=1.6)
        text = panel.missing if value is None else _with_unit(value, panel.unit)
        end = max(value or 0.0, *(bound or ()), 0.0)
        axes.annotate(
            _label(text), (end, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=_SMALL, color=_QUIET,
        )  # fmt: skip
    _set_subtitle(axes, panel.subtitle, _LINE)
    return names


def _draw_heatmap(axes: Axes, panel: Heatmap) -> None:
    axes.set_xticks(range(len(panel.columns)), list(map(_label, panel.columns)))
    axes.set_yticks(range(len(panel.rows)), list(map(_label, panel.rows)))
    axes.set_xlim(-0.5, len(panel.columns) - 0.5)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    for row, shares in enumerate(panel.shares):
        for column, share in enumerate(shares):
            if share == share:  # noqa: PLR0124  not NaN
                step = round(share * _SHADES) / _SHADES  # one of the palette: else the nearest colour may be a grey
                shade = [1 - step * (1 - part) for part in to_rgb(_LINE)]
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=shade, edgecolor=_PAPER))
                ink = _PAPER if share > _DARK else _INK
                text = format_percent(share, decimals=0).replace("under ", "<").removesuffix(" %")
                axes.annotate(
                    text, (column, row), ha="center", va="center", fontsize=_SMALL, color=ink, in_layout=False
                )
    _set_subtitle(axes, panel.subtitle, _LINE)


def _png(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # `savefig` draws twice
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), pixels, "raw", "RGBA", 0, 1)
    plot = picture.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    colours = plot.getpalette() or []
    clear = len(colours) // 3
    plot.putpalette(colours + [round(255 * part) for part in to_rgb(_PAPER)])  # for what ignores transparency
    corners = Image.new("1", plot.size, 1)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, plot.width - 1, plot.height - 1), _ROUND, fill=0)
    plot.paste(clear, mask=corners)
    png = io.BytesIO()
    plot.save(png, "PNG", optimize=True, transparency=clear)
    return png.getvalue()


def _palette() -> Image.Image:
    """The palette: each colour in `_SHADES` steps from the background."""
    inks = [to_rgb(colour) for colour in (_INK, _QUIET, _LINE, _BAD)]
    shades = [tuple(1 - step / _SHADES * (1 - part) for part in ink) for ink in inks for step in range(_SHADES + 1)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([round(255 * part) for colour in [to_rgb(_PAPER), to_rgb(_GRID), *shades] for part in colour])
    return palette
