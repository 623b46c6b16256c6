"""The Grafana dashboard as far as the page draws it: its rows and panels, and their queries."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

KINDS: Final = {"stat", "bargauge", "timeseries", "state-timeline"}
"""Types of panels that the page draws. The only other one is the table of firing alerts, which the page has anyway."""
SCRAPE_SECONDS: Final = 15
POINTS: Final = 240
"""Of a series, at most about."""
_RUNBOOKS: Final = re.compile(r"[.;]\s*[Rr]unbooks?: docs/runbooks/[^.]+\.md(?: and [\w-]+\.md)?\.")


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel in PromQL with Grafana's variables, and the template of its series' names."""

    expression: str
    legend: str

    def filled(self, shop: str | None, step: int) -> str:
        """The query for one shop, or for all, at this distance of points in seconds."""
        chosen = ".*" if shop is None else json.dumps(re.escape(shop))[1:-1]  # within a string's quotes
        window = max(step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)  # as Grafana computes it
        return self.expression.replace("$__rate_interval", f"{window}s").replace("$shop", chosen)

    def name(self, labels: Mapping[str, str], title: str) -> str:
        """The name of a series with these labels; `title` if the template has none."""
        if self.legend == "__auto":
            return ", ".join(value for name, value in sorted(labels.items()) if name != "__name__") or title
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), self.legend).strip() or title


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel; its `style` is what the page's script needs to draw it."""

    id: int
    title: str
    kind: str
    queries: Sequence[Query]
    colors: Mapping[str, str]  # of series, by name
    style: Mapping[str, Any]

    @property
    def is_instant(self) -> bool:
        """Whether it shows the present values only."""
        return self.kind in {"stat", "bargauge"}


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The rows of a dashboard."""

    title: str
    rows: Sequence[Row]

    def panel(self, number: int) -> Panel | None:
        """The panel with this id."""
        return next((panel for row in self.rows for panel in row.panels if panel.id == number), None)


def read_dashboard(file: Path) -> Dashboard:
    """Read the dashboard from Grafana's JSON."""
    found = json.loads(file.read_text())
    rows: list[tuple[str, list[Panel]]] = []
    for panel in sorted(found["panels"], key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"])):
        if panel["type"] == "row":
            rows.append((panel["title"], []))
        elif panel["type"] in KINDS:
            rows[-1][1].append(_read_panel(panel))
    return Dashboard(found["title"], [Row(title, panels) for title, panels in rows])


def step_of(seconds: int) -> int:
    """The distance of points in a range of `seconds`: a multiple of the scrape interval."""
    return max(1, -(-seconds // (POINTS * SCRAPE_SECONDS))) * SCRAPE_SECONDS


def _read_panel(panel: Mapping[str, Any]) -> Panel:
    defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
    return Panel(
        id=panel["id"],
        title=panel["title"],
        kind=panel["type"],
        queries=[Query(target["expr"], target["legendFormat"]) for target in panel["targets"]],
        colors={
            each["matcher"]["options"]: setting["value"]["fixedColor"]
            for each in overrides
            for setting in each["properties"]
            if setting["id"] == "color"
        },
        style=_style(panel["description"], panel["gridPos"], defaults),
    )


def _style(description: str, place: Mapping[str, int], defaults: Mapping[str, Any]) -> dict[str, Any]:
    custom = defaults.get("custom", {})
    named = _RUNBOOKS.search(description)
    return {
        "description": _RUNBOOKS.sub(".", description),
        "runbooks": re.findall(r"[\w-]+\.md", named[0]) if named else [],
        "width": place["w"],
        "unit": defaults["unit"],
        "decimals": defaults.get("decimals"),
        "min": defaults.get("min"),
        "max": defaults.get("max"),
        "bars": custom.get("drawStyle") == "bars",
        "stacked": custom.get("stacking", {}).get("mode") == "normal",
        "limits": custom.get("thresholdsStyle", {}).get("mode") == "line",
        "thresholds": defaults["thresholds"]["steps"],
        "texts": {
            value: {"text": shown["text"], "color": shown["color"]}
            for mapping in defaults["mappings"]
            if mapping["type"] == "value"
            for value, shown in mapping["options"].items()
        },
        "empty": defaults.get("noValue", "no data"),
    }
