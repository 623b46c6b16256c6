"""The deployed alerts and dashboard, and the metrics that they query."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as ast
import yaml

from tests.support.metric_samples import Samples
from tests.support.promql import evaluate

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deployments/monitoring"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())


def queries() -> Iterator[tuple[str, str]]:
    """Yield each panel's title and query, with Grafana's variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$shop", ".*")


def metrics(expression: str) -> set[str]:
    """Return the names of the series in the expression."""
    names = set()

    def record(node: Any) -> None:
        if isinstance(node, ast.VectorSelector):
            names.add(node.name)

    ast.walk(ast.parse(expression), record)
    return {str(name) for name in names}


def firing(samples: Samples, at: float) -> dict[str, list[dict[str, str]]]:
    """Return the alerts whose expression holds at that time, with their labels. `for` is ignored."""
    found: dict[str, list[dict[str, str]]] = {}
    for rule in RULES:
        vector = evaluate(rule["expr"], samples, at)
        assert isinstance(vector, dict)
        if vector:
            found.setdefault(rule["alert"], []).extend(
                {name: value for name, value in labels if name != "__name__"} | rule["labels"] for labels in vector
            )
    return found
