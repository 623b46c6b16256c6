import dataclasses
import io
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from wishcraft.reports import plots
from wishcraft.reports.plots import BarChart, Heatmap, Panel, TimeSeries, draw, make_figure

MONTH = [date(2026, 3, 1) + timedelta(days=number) for number in range(30)]
RED, GREEN, GREY = (194, 69, 45), (47, 111, 94), (232, 236, 238)


def series(values: Sequence[float | None], objective: float | None = 99.0, *, above: bool = True) -> TimeSeries:
    return TimeSeries("Jobs", "100 %", MONTH[: len(values)], values, "%", objective, above)


def colours(png: bytes) -> set[object]:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}


@pytest.mark.parametrize(
    ("panel", "missed"),
    [
        (series([100.0] * 29 + [99.5]), False),
        (series([100.0] * 29 + [98.5]), True),
        (series([100.0] * 15 + [98.5] + [None] * 14), True),
        (series([0.5, 0.2], 1.0, above=False), False),
        (series([0.5, 1.2], 1.0, above=False), True),
        (series([None] * 30), False),
        (series([], None), False),
    ],
)
def test_only_missed_values_are_red(panel: TimeSeries, missed: bool) -> None:
    assert (RED in colours(draw([panel]))) is missed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BarChart("t", "", ["a"], [1, 2], "%"), "there are 1 names and 2 values"),
        (lambda: BarChart("t", "", ["a"], [1], marks=[1, 2]), "there are 1 names and 2 marks"),
        (lambda: TimeSeries("t", "", MONTH, [1.0], "%"), "there are 30 days and 1 values"),
        (lambda: Heatmap("t", "", ["a"], ["b", "c"], [[0.5]]), "there are 2 columns and 1 shares of a row"),
    ],
)
def test_panel_with_too_many_or_too_few_values_is_refused(make: Callable[[], Panel], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_value_of_a_period_that_is_not_over_is_hollow_and_named() -> None:
    panel = series([1.0, 2.0, 9.0], 5.0, above=False)
    marked = dataclasses.replace(panel, open_values=1, ranges=[(0.5, 1.5), None, (5.0, 12.0)])
    for shown, names in ((panel, []), (marked, ["not over"])):
        figure = make_figure([shown])
        assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == names
        lines = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "#ffffff"]
        assert [np.asarray(line.get_ydata()).tolist() for line in lines] == [[9.0]] * len(names)
    assert plots._latest_colour(panel) == plots._BAD
    assert plots._latest_colour(marked) == plots._LINE
    assert figure.axes[0].get_ylim()[1] > 12


@pytest.mark.parametrize(
    ("last", "solid", "dotted", "hollow", "names"),
    [
        ([2.0, 3.0], [1.0], [1.0, 2.0, 3.0], [2.0, 3.0], ["not over"]),
        ([2.0, None], [1.0], [1.0, 2.0], [2.0], ["no data", "not over"]),
        ([None, 3.0], [1.0], [3.0], [3.0], ["no data", "not over"]),
        ([None, None], [1.0], [], [], ["no data"]),
    ],
)
def test_each_known_value_of_open_periods_is_hollow(
    last: list[float | None], solid: list[float], dotted: list[float], hollow: list[float], names: list[str]
) -> None:
    panel = dataclasses.replace(series([1.0, *last], None), open_values=2)
    figure = make_figure([panel])
    drawn = {line.get_linestyle(): np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines[:3]}
    known = [drawn.get(style, np.empty(0)) for style in ("-", ":", "None")]
    assert [heights[~np.isnan(heights)].tolist() for heights in known] == [solid, dotted, hollow]
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == names
    assert plots._latest_colour(panel) == plots._LINE


@pytest.mark.parametrize("number", [-1, 4])
def test_more_open_values_than_there_are_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"there are 3 values, so {number} of them cannot be open"):
        dataclasses.replace(series([1.0, 2.0, 9.0]), open_values=number)


def test_missing_data_is_neither_green_nor_red() -> None:
    without_data = colours(draw([series([None] * 30)]))
    assert not {RED, GREEN} & without_data
    assert GREY in without_data
    assert GREEN in colours(draw([series([100.0] * 29 + [None])]))


def test_every_cell_of_a_heatmap_is_a_shade_of_green() -> None:
    shares = [number / 97 for number in range(10, 97, 6)]
    picture = Image.open(io.BytesIO(draw([Heatmap("Had a gift, %", "", ["May"], list("abcdefghijklmno"), [shares])])))
    pixels = picture.width * picture.height
    large = [found for number, found in picture.convert("RGB").getcolors() or [] if number > pixels / 50]
    shades = [found for found in large if isinstance(found, tuple) and found != (255, 255, 255)]
    assert len(shades) >= 5
    assert all(green - red >= 5 for red, green, _ in shades)


def test_only_the_round_corners_of_a_plot_are_transparent() -> None:
    picture = Image.open(io.BytesIO(draw([series([100.0] * 30)]))).convert("RGBA")
    right, bottom = picture.width - 1, picture.height - 1
    alphas = picture.getchannel("A").point(lambda alpha: 255 - alpha)
    assert [alphas.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))] == [255] * 4
    assert 0 < (alphas.histogram()[255] / (picture.width * picture.height)) < 0.001


def test_legend_explains_hatched_days_only_if_there_are_any() -> None:
    complete, with_gap = (make_figure([series([100.0] * 29 + [last])]) for last in (100.0, None))
    assert not complete.legends
    [legend] = with_gap.legends
    assert [text.get_text() for text in legend.get_texts()] == ["no data"]


@pytest.mark.parametrize(
    ("days", "gaps"),
    [
        ([date(2026, 3, 1), date(2026, 3, 8), date(2026, 12, 6), date(2026, 12, 13)], 1),
        ([date(2025, month, 1) for month in (1, 2, 3, 4, 5)], 0),
        ([date(2025, month, 1) for month in (1, 2, 3, 5, 6)], 1),
        (MONTH, 0),
        (MONTH[:1], 0),
    ],
)
def test_time_without_rows_is_a_gap(days: Sequence[date], gaps: int) -> None:
    panel = TimeSeries("Events", "", days, [1.0] * len(days), "", above=False)
    axes = Figure().add_subplot()
    plots._draw_time_series(axes, panel)
    assert len(axes.patches) == gaps
    assert np.isnan(np.asarray(axes.lines[0].get_ydata(), float)).sum() == gaps  # NaN ends the line


def test_cells_of_a_grid_show_neither_0_nor_100_for_other_shares() -> None:
    axes = Figure().add_subplot()
    plots._draw_heatmap(axes, Heatmap("Had a gift, %", "", ["May"], list("abcde"), [[0.001, 0.999, 0.5, 0, 1]]))
    assert [text.get_text() for text in axes.texts] == ["<1", "99", "50", "0", "100"]


def test_title_begins_at_the_edge_of_the_picture_however_long_the_names_of_bars_are() -> None:
    figure = make_figure([BarChart("A title", "", ["x" * 45], [1.0]), series([100.0] * 30)])
    edges = {
        round(title.get_window_extent().x0) for title in figure.findobj(Text) if title.get_text() in {"A title", "Jobs"}
    }
    assert len(edges) == 1
    assert edges.pop() < 30


LONG_NAMES = [
    "Hand-thrown dinner plate · maple-and-pine · out of stock",
    "Mug",
    "花瓶と桜の大きなお皿セット 四枚組 特大",
    "the-very-long-name-of-a-shop-for-gifts",
]
CROWDED: list[Panel] = [
    BarChart("Wishes given by event type and month", "share of what is wished for", LONG_NAMES, [1234567, 99.99, 0, 1]),
    BarChart("Conversion", "by event type", ["anniversary: 12,345", "b"], [12.34, None], "%", missing="too few"),
    TimeSeries("Mail complaints", "under 0.01 % in 30 days", MONTH, [0.01] * 30, "%", 0.1, above=False),
    Heatmap(
        "Had a gift, %",
        "months later; 12 older left out",
        [f"Mar 2026 ({100 + place:,})" for place in range(12)],
        list(map(str, range(13))),
        [[0.99] * 13] * 12,
    ),
]


@pytest.mark.parametrize("panels", [CROWDED, *([panel] for panel in CROWDED)])
def test_no_text_is_cut_or_overlaps_another(panels: Sequence[Panel]) -> None:
    figure = make_figure(panels)
    boxes = [
        (text.get_text(), box_of(text))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and not text.get_text().startswith("-")  # beyond the axis
    ]
    assert [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1] == []
    touching = [(one, other) for (one, box), (other, place) in combinations(boxes, 2) if box.overlaps(place)]
    assert touching == []


def box_of(text: Text) -> Bbox:
    """The place of the text, without a blank second line."""
    box = text.get_window_extent().padded(-2)
    return Bbox.from_extents(box.x0, (box.y0 + box.y1) / 2, box.x1, box.y1) if text.get_text().endswith("\n ") else box


def test_least_text_is_legible_on_a_phone() -> None:
    sizes = {float(text.get_fontsize()) for text in make_figure(CROWDED).findobj(Text) if text.get_text().strip()}
    pixels_shown = 358  # by the Prefect UI in a window of 390 px; a mail shows it wider
    assert min(sizes) / 72 * pixels_shown / plots.WIDTH >= 9.5


def test_value_that_is_too_little_to_tell_has_no_bar() -> None:
    axes = Figure().add_subplot()
    chart = BarChart("Share", "", ["a", "b"], [None, 2.0], ranges=[None, (1.0, 4.0)], marks=[None, 99.0], missing="few")
    plots._draw_bar_chart(axes, chart)
    assert [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)] == [2.0]
    assert [text.get_text() for text in axes.texts] == ["few", "2"]
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[1.0, 4.0]]  # no room for the mark


def test_numbers_are_drawn_with_grouped_digits_and_large_ones_in_billions() -> None:
    numbers = [0.1, 12.345678, 999.96, 1_234_567.8, 9_876_543_210, 12_345_678_901, -2e13, 1e300]
    texts = ["0.1", "12.35", "1,000", "1,234,568", "9,876,543,210", "12.35 bn", "-20,000 bn", "1e+300"]
    assert [plots._number(number) for number in numbers] == texts


@pytest.mark.parametrize("values", [[-100.0, 20.0], [-100.0, -50.0], [0.0, -1e-6], [0.0, 0.0], [5.0, 9.0]])
def test_all_values_of_a_series_and_0_are_within_its_axis(values: list[float]) -> None:
    panel = TimeSeries("n", "by day", [date(2026, 3, day) for day in (1, 2)], values, "", above=False)
    [axes] = make_figure([panel]).axes
    low, high = axes.get_ylim()
    assert low < min(*values, 0) <= max(*values, 0) < high


def test_days_are_placed_to_scale() -> None:
    bad = TimeSeries("Jobs", "", [date(2026, 3, 1), date(2026, 3, 11), date(2026, 3, 31)], [1.0, 1.0, 1.0], "%", 99.0)
    picture = Image.open(io.BytesIO(draw([bad]))).convert("RGB")
    red = [x for x in range(picture.width) if RED in (picture.getpixel((x, y)) for y in range(60, picture.height))]
    first, second, third = (round(sum(dot) / len(dot)) for dot in dots(red))
    assert (third - second) / (second - first) == pytest.approx(2, rel=0.02)


def dots(places: Sequence[int]) -> list[list[int]]:
    """Group adjacent positions."""
    groups = [[places[0]]]
    for place in places[1:]:
        if place > groups[-1][-1] + 1:
            groups.append([])
        groups[-1].append(place)
    return groups


@pytest.mark.parametrize(
    ("moments", "labels"),
    [
        (MONTH, ["Mar 1", "Mar 8", "Mar 15", "Mar 22", "Mar 29"]),
        ([date(2025, 10, 1), date(2025, 11, 1), date(2026, 9, 1)], ["Oct 1\n2025", "Sep 1\n2026"]),
        ([datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(3)], [f"Mar 1\n0{hour}:00" for hour in range(3)]),
        ([], []),
    ],
)
def test_day_ticks_have_a_year_or_hour_where_needed(moments: Sequence[date], labels: list[str]) -> None:
    axes = Figure().add_subplot()
    plots._draw_time_series(axes, TimeSeries("Jobs", "", moments, [1.0] * len(moments), ""))
    assert [label.get_text() for label in axes.get_xticklabels()] == labels


def test_many_panels_are_one_sharp_picture_in_a_small_file() -> None:
    noisy = [90 + (day * 37 % 100) / 10 for day in range(30)]
    png = draw([series(noisy)] * 5 + [BarChart("Runs", "12", ["a", "b"], [0, 12])])
    assert Image.open(io.BytesIO(png)).size == (720, 2100)
    assert len(png) < 80_000


def test_empty_bar_chart_is_drawn() -> None:
    assert draw([BarChart("Runs", "none", [], [])]).startswith(b"\x89PNG")
    assert draw([BarChart("Runs", "none", ["a"], [0])]).startswith(b"\x89PNG")


ODD_TEXTS = [
    "Ba$$in", "Gift Card $25 - $50", r"$x^2$", r"\frac $a", r"$\undefined$", "花瓶 と 桜", "한국어", "汉字 漢字",
    "Mug 🎁 😀 ❤️ 👩‍👩‍👧 🇯🇵", "قهوة", "קפה", "Чай", "กาแฟ", "चाय", "Καφές", "₿ ™ ½", "tab\tand\x01\x7f\nline", "", " ",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_every_text_is_drawn_as_text_without_missing_glyphs(text: str) -> None:
    panels: list[Panel] = [
        BarChart(text, text, [text], [1], text),
        TimeSeries(text, text, MONTH, [1.0] * 30, text),
        Heatmap(text, text, [text], [text], [[0.5]]),
    ]
    assert draw(panels).startswith(b"\x89PNG")  # a missing glyph is a warning, and so an error


def test_dollars_are_drawn_and_not_read_as_formula() -> None:
    as_text, as_formula, without = (ink(draw([BarChart("", "", [name], [0])])) for name in ("$aaaa$", "aaaa", ""))
    assert as_text > as_formula > without


def ink(png: bytes) -> int:
    """The number of pixels that are not paper."""
    return sum(Image.open(io.BytesIO(png)).convert("L").histogram()[:255])
