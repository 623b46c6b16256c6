import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from matplotlib.figure import Figure
from PIL import Image

from wishcraft.reports import plots
from wishcraft.reports.plots import Bars, Days, draw

MONTH = [date(2026, 3, 1) + timedelta(days=ago) for ago in range(30)]
RED, GREEN, GREY = (194, 69, 45), (47, 111, 94), (232, 236, 238)


def days(values: Sequence[float | None], objective: float | None = 99.0, *, above: bool = True) -> Days:
    return Days("Jobs", "100 %", MONTH[: len(values)], values, "%", objective, above)


def colours(png: bytes) -> set[object]:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}


@pytest.mark.parametrize(
    ("panel", "missed"),
    [
        (days([100.0] * 29 + [99.5]), False),
        (days([100.0] * 29 + [98.5]), True),
        (days([100.0] * 15 + [98.5] + [None] * 14), True),
        (days([0.5, 0.2], 1.0, above=False), False),
        (days([0.5, 1.2], 1.0, above=False), True),
        (days([None] * 30), False),
        (days([], None), False),
    ],
)
def test_what_misses_its_objective_stands_out_and_nothing_else(panel: Days, missed: bool) -> None:
    assert (RED in colours(draw([panel]))) is missed


def test_no_data_has_neither_the_colour_of_success_nor_that_of_a_miss() -> None:
    nothing = colours(draw([days([None] * 30)]))
    assert not {RED, GREEN} & nothing
    assert GREY in nothing
    assert GREEN in colours(draw([days([100.0] * 29 + [None])]))


def test_a_legend_says_what_is_hatched_where_there_are_no_data_and_only_there() -> None:
    whole, holed = (Image.open(io.BytesIO(draw([days([100.0] * 29 + [last])]))) for last in (100.0, None))
    beside = (whole.width // 2 + 80, 0, whole.width, whole.height)  # where a second panel would be
    assert len(whole.crop(beside).getcolors() or []) == 1
    assert len(holed.crop(beside).getcolors() or []) > 1


def test_a_day_stands_where_it_belongs_in_time() -> None:
    bad = Days("Jobs", "", [date(2026, 3, 1), date(2026, 3, 11), date(2026, 3, 31)], [1.0, 1.0, 1.0], "%", 99.0)
    picture = Image.open(io.BytesIO(draw([bad], columns=1))).convert("RGB")
    red = [x for x in range(picture.width) if RED in (picture.getpixel((x, y)) for y in range(60, picture.height))]
    first, second, third = (round(sum(dot) / len(dot)) for dot in dots(red))
    assert (third - second) / (second - first) == pytest.approx(2, rel=0.02)


def dots(places: Sequence[int]) -> list[list[int]]:
    """The places, those side by side together."""
    found = [[places[0]]]
    for place in places[1:]:
        if place > found[-1][-1] + 1:
            found.append([])
        found[-1].append(place)
    return found


@pytest.mark.parametrize(
    ("moments", "marks"),
    [
        (MONTH, ["Mar 1", "Mar 8", "Mar 15", "Mar 22", "Mar 29"]),
        ([date(2025, 10, 1), date(2025, 11, 1), date(2026, 9, 1)], ["Oct 1\n2025", "Sep 1\n2026"]),
        ([datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(3)], [f"Mar 1\n0{hour}:00" for hour in range(3)]),
        ([], []),
    ],
)
def test_days_are_marked_with_what_tells_them_apart(moments: Sequence[date], marks: list[str]) -> None:
    axes = Figure().add_subplot()
    plots._draw_days(axes, Days("Jobs", "", moments, [1.0] * len(moments), ""))
    assert [mark.get_text() for mark in axes.get_xticklabels()] == marks


def test_many_panels_are_one_sharp_picture_and_a_small_file() -> None:
    noisy = [90 + (day * 37 % 100) / 10 for day in range(30)]
    png = draw([days(noisy)] * 5 + [Bars("Runs", "12", ["a", "b"], [0, 12])])
    assert Image.open(io.BytesIO(png)).size == (1440, 1050)
    assert len(png) < 80_000


def test_bars_of_nothing_are_drawn_too() -> None:
    assert draw([Bars("Runs", "none", [], [])], columns=1).startswith(b"\x89PNG")
    assert draw([Bars("Runs", "none", ["a"], [0])], columns=1).startswith(b"\x89PNG")
