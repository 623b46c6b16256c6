"""The one rule for times: docs/operations.md, Time zones."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from wishcraft.domain import times

ROOT = Path(__file__).parents[2]
MOMENT = datetime(2026, 3, 14, 10, 0, 7, tzinfo=UTC)
WITHOUT_ZONE = {
    "wishcraft/reports/plots.py",  # the axis of a plot has no room; the page around it names the zone
    "deployments/sandbox/monitoring/charts.js",  # as above
    "deployments/sandbox/monitoring/page.js",  # {timeStyle: "long"} has the zone
}
CLOCK = re.compile(r"%H:%M(?!(:%S)?(\.%f000)?\}*( %Z|Z|\.\{| UTC|\{zone\}))")
"""A time of day that no zone follows; `.{` begins a protocol's milliseconds."""
IN_BROWSER = re.compile(r"\bnew Date\((?!.*timeZoneName).*\.toLocale(Time)?String\(")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (times.minute, "2026-03-14 06:00 EDT"),
        (times.second, "2026-03-14 06:00:07 EDT"),
        (times.clock, "06:00 EDT"),
        (times.day, "2026-03-14"),
    ],
)
def test_times_for_people_have_their_zone(text: object, expected: str) -> None:
    assert callable(text)
    assert text(MOMENT, ZoneInfo("America/New_York")) == expected


def test_times_for_programs_are_utc_with_z() -> None:
    assert times.utc(MOMENT.astimezone(ZoneInfo("Asia/Tokyo"))) == "2026-03-14T10:00:07Z"
    assert times.utc(MOMENT, "milliseconds") == "2026-03-14T10:00:07.000Z"


def test_no_source_or_template_writes_a_time_without_its_zone() -> None:
    found = [
        f"{path}: {line.strip()}"
        for folder in ("wishcraft", "tasks", "flows", "api", "deployments")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".html", ".txt", ".js", ".yaml"} and str(path.relative_to(ROOT)) not in WITHOUT_ZONE
        for line in path.read_text().splitlines()
        if CLOCK.search(line) or IN_BROWSER.search(line)
    ]
    assert found == []
