import ast
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

ROOT = Path(__file__).parents[1]
PACKAGES = ("wishcraft", "tasks", "flows", "api", "deployments")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "versions" not in path.parts]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
UNDERSTOOD = {  # Prefect ignores a key that it does not know, so a slip would go unseen
    "name", "entrypoint", "description", "tags", "parameters", "schedules", "concurrency_limit", "work_pool",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | named}


def test_the_domain_imports_the_standard_library_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"wishcraft"}
    foreign = {str(path): imported(path) - allowed for path in (ROOT / "wishcraft/domain").rglob("*.py")}
    assert not any(foreign.values()), foreign


def test_the_environment_is_read_in_one_place_of_the_core() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.parts[len(ROOT.parts)] != "deployments" and "os.environ" in path.read_text().replace("`os.environ`", "")
    }
    assert not readers


def test_no_flow_file_hides_another_package() -> None:
    names = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert not names & {*PACKAGES, "redis", "prefect", "httpx", "sqlalchemy", "pandas"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: str(deployment["name"]))
def test_every_deployment_loads_and_its_form_explains_itself(deployment: dict[str, Any]) -> None:
    assert set(deployment) == UNDERSTOOD
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.name == deployment["name"]
    form = parameter_schema(flow)
    assert set(deployment["parameters"]) == set(form.properties)
    assert all(field.get("description") for field in form.properties.values()), form.properties
