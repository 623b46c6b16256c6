"""Consistency of the alert rules, the dashboard, the runbooks and the metrics."""

import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from api.exposition import metric_help
from tests.support.alert_rules import DASHBOARD, MONITORING, ROOT, RULES, metrics, queries
from tests.support.metric_samples import Samples
from tests.support.promql import evaluate
from wishcraft.domain.service_levels import LATENCY_SECONDS

T = 10_000.0
PAGE = """\
wishcraft_overdue_runs{{job="cache-warm"}} 0
wishcraft_invariant_violations{{invariant="money"}} 0
wishcraft_request_seconds_bucket{{route="/",le="0.1"}} {0}
wishcraft_request_seconds_bucket{{route="/",le="+Inf"}} {0}
"""
RUNBOOKS = ROOT / "docs/runbooks"
PROMETHEUS_METRICS = {"up", "ALERTS"}


def family(name: str) -> str:
    """Return the metric that a series belongs to."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


def queried_by_alerts() -> set[str]:
    return {family(name) for rule in RULES for name in metrics(rule["expr"])}


def queried_by_the_dashboard() -> set[str]:
    return {family(name) for _, query in queries() for name in metrics(query)}


def test_alerts_and_panels_query_only_existing_metrics() -> None:
    known = set(metric_help()) | PROMETHEUS_METRICS
    assert not queried_by_alerts() - known
    assert not queried_by_the_dashboard() - known


def test_every_metric_is_used_by_an_alert_or_a_panel() -> None:
    assert not set(metric_help()) - queried_by_alerts() - queried_by_the_dashboard()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_each_alert_has_a_severity_a_summary_and_a_runbook(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    page = (ROOT / rule["annotations"]["runbook"]).read_text()
    assert f"`{rule['alert']}`" in page


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_a_number_in_an_alert_has_a_plural_behind_it_only_if_it_is_over_one(rule: dict[str, Any]) -> None:
    texts = " ".join(rule["annotations"].values())
    if re.search(r"\$value \}\} [a-z]", texts):
        assert all(int(bound) >= 1 for bound in re.findall(r"\) > (\d+)$", rule["expr"], re.MULTILINE))


def test_each_runbook_belongs_to_an_alert_and_is_in_the_index() -> None:
    pages = {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}
    assert pages == {rule["annotations"]["runbook"].removeprefix("docs/runbooks/") for rule in RULES}
    listed = re.findall(
        r"^\| `(\w+)` \| ([\w ]+) \| \[.+\]\((.+)\) \|$", (RUNBOOKS / "README.md").read_text(), re.MULTILINE
    )
    indexed = {(alert, severity, page) for alert, severities, page in listed for severity in severities.split(" or ")}
    assert indexed == {
        (rule["alert"], rule["labels"]["severity"], rule["annotations"]["runbook"].removeprefix("docs/runbooks/"))
        for rule in RULES
    }


def test_the_example_configuration_scrapes_the_job_of_the_alerts() -> None:
    example = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    [scrape] = example["scrape_configs"]
    assert (scrape["job_name"], scrape["honor_labels"]) == ("wishcraft", True)
    assert all((MONITORING / name).exists() for name in example["rule_files"])


def test_every_panel_has_a_unit_thresholds_and_the_chosen_datasource() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    for panel in panels:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["thresholds"]["steps"], panel["title"]
        assert "unit" in defaults or panel["type"] == "table", panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_tiles_are_unknown_while_the_api_does_not_answer() -> None:
    """Old samples would show them green."""
    samples = Samples()
    for seconds in (0, 15, 30):
        samples.scrape(PAGE.format(seconds), T + seconds)
    unreachable = deepcopy(samples)
    unreachable.scrape(None, T + 45)
    for title in ("Overdue runs", "Invariant violations", "p95 response time"):
        [tile] = [each for each in DASHBOARD["panels"] if (each["type"], each["title"]) == ("stat", title)]
        [target] = tile["targets"]
        assert evaluate(target["expr"], samples, T + 30)
        assert evaluate(target["expr"], unreachable, T + 45) == {}
        assert tile["fieldConfig"]["defaults"]["noValue"].startswith("unknown")


def test_increases_that_count_are_whole_numbers() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            if "increase(" in target["expr"] and panel["fieldConfig"]["defaults"]["unit"] == "short":
                assert target["expr"].startswith("round(") or " / " in target["expr"], target["expr"]


def test_response_time_is_amber_only_beyond_the_objective() -> None:
    [tile] = [each for each in DASHBOARD["panels"] if each["title"] == "p95 response time"]
    amber = next(each for each in tile["fieldConfig"]["defaults"]["thresholds"]["steps"] if each["color"] == "orange")
    assert amber["value"] == LATENCY_SECONDS


def test_panels_do_not_overlap() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Status", "API", "Cache", "Jobs", "Shopify and mail", "Stores and health", "Webhooks"]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
