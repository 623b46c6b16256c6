import ast
import re
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


WRITE = "wishcraft/services/registries/write.py"
STEPS_OF_A_WRITE = {
    r"\bbump_versions\(": {WRITE, "wishcraft/store/registries.py"},
    r"\bcache\.invalidate\(": {WRITE},
    r"\bpending_invalidations\.(record|delete)\(": {WRITE},
    r"\bWriteSession\(": {WRITE},
    r"\bWriteSession = ": {"wishcraft/store/registries.py"},
    r"(?i)\b(insert\s+into|update|delete\s+from)\s+(registries|registry_items)\b": {
        "wishcraft/store/registries.py", "wishcraft/store/registry_items.py",
    },
    r"\b(insert|update|delete)\((Registry|RegistryItem)\)": {
        "wishcraft/store/registries.py", "wishcraft/store/registry_items.py",
    },
}  # fmt: skip
"""What `registry_write` does for every writer, as patterns, and the only modules that may contain each."""


def offenders(sources: dict[str, str]) -> list[str]:
    return [
        f"{path}: {match[0]}"
        for pattern, allowed in STEPS_OF_A_WRITE.items()
        for path, source in sources.items()
        if path not in allowed
        for match in re.finditer(pattern, source)
    ]


def test_only_the_write_primitive_changes_what_a_guest_can_see() -> None:
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in SOURCES}
    assert not offenders(sources)
    assert all(re.search(pattern, sources[path]) for pattern, paths in STEPS_OF_A_WRITE.items() for path in paths)


@pytest.mark.parametrize(
    "line",
    [
        "await resources.cache.invalidate(shop_id, versions)",
        "await registries.bump_versions(session, shop_id, ids, 10)",
        "await registries.update_columns(WriteSession(session), shop_id, registry_id, values)",
        'text("UPDATE registries SET title = :title")',
        "update(RegistryItem).values(price=0)",
        "await pending_invalidations.record(session, shop_id, versions)",
    ],
)
def test_a_write_past_the_primitive_is_noticed(line: str) -> None:
    assert offenders({"wishcraft/services/inventory/sync.py": line})


def test_functions_that_write_registries_take_a_write_session() -> None:
    for module in ("registries", "registry_items"):
        tree = ast.parse((ROOT / f"wishcraft/store/{module}.py").read_text())
        statements = {"insert", "update", "delete"}
        for function in (node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)):
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            if names & (statements | {"_APPLY", "_BUMP", "_RECOUNT"}):
                annotation = function.args.args[0].annotation
                assert annotation is not None
                assert ast.unparse(annotation) == "WriteSession", function.name


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
