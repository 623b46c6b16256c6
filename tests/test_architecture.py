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
MAX_LINES = 400
UNDERSTOOD = {  # Prefect ignores a key that it does not know, so a slip would go unseen
    "name", "entrypoint", "description", "tags", "parameters", "schedules", "concurrency_limit", "work_pool",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | named}


def test_the_domain_imports_the_standard_library_and_tables_of_unicode_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"wishcraft", "idna"}
    foreign = {str(path): imported(path) - allowed for path in (ROOT / "wishcraft/domain").rglob("*.py")}
    assert not any(foreign.values()), foreign


def test_the_environment_is_read_in_one_place_of_the_core() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.parts[len(ROOT.parts)] != "deployments" and "os.environ" in path.read_text().replace("`os.environ`", "")
    }
    assert not readers


def test_no_module_takes_an_advisory_lock_which_any_role_can_take_too() -> None:
    assert not [path for path in SOURCES if "advisory_" in path.read_text()]


def test_the_oldest_entry_of_a_bounded_mapping_is_found_without_a_search() -> None:
    # The first key of a dict that deletes its first keys again and again lies behind as many deleted ones.
    assert not [path for path in SOURCES if re.search(r"del .+\[next\(iter\(", path.read_text())]


def test_no_flow_file_hides_another_package() -> None:
    names = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert not names & {*PACKAGES, "redis", "prefect", "httpx", "sqlalchemy", "pandas"}


def called_classes(path: Path) -> set[str]:
    """The names of the classes that a module calls."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {ast.unparse(function).rpartition(".")[2] for function in calls}
    return {name for name in names if name[:1].isupper()}


def test_only_resources_builds_clients() -> None:
    resources = ROOT / "wishcraft/resources.py"
    made = {"Resources", "AsyncExitStack", "Semaphore", "Timeout", "ConfigurationError"}
    clients = called_classes(resources) - made
    assert {"Database", "AnalystsDatabase", "SmtpMailer", "FileStore"} <= clients
    builders = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "wishcraft/services")
        or path.is_relative_to(ROOT / "wishcraft/reports")
        or path.parts[len(ROOT.parts)] in {"tasks", "flows", "api"}
        for name in called_classes(path) & clients
    }
    assert not builders


WRITE = "wishcraft/services/registries/write.py"
QUERIES = {"wishcraft/store/registries.py", "wishcraft/store/registry_items.py"}
SQL_QUERIES = QUERIES | {"wishcraft/store/item_readings.py"}
WRITES_IN_SQL = re.compile(
    r"(?is)\b(?:insert\s+into|update(?:\s+only)?|delete\s+from(?:\s+only)?|merge\s+into|copy|truncate(?:\s+table)?)"
    r"\s+(?:\w+\.)?\"?(?:registries|registry_items)\b"
)
STEPS_OF_A_WRITE = {
    "bump_versions": {WRITE, "wishcraft/store/registries.py"},
    # The others invalidate a connection.
    "invalidate": {WRITE, "wishcraft/analytics/database.py", "wishcraft/store/engine.py"},
    "pending_invalidations.record": {WRITE},
    "pending_invalidations.delete": {WRITE},
    "forget": {WRITE},
    "lease": {"wishcraft/cache/registries.py"},
    "after_write": {WRITE},
    "registries.lock": {WRITE},
    "registries.lock_one": {WRITE},
    "registries.lock_each": {WRITE},
    "WriteSession()": {WRITE, "wishcraft/store/registries.py"},
    "delete(Shop)": {"wishcraft/store/shop_erasure.py"},
    "SQL": SQL_QUERIES,
    "ORM": QUERIES,
}
"""The steps of `registry_write`, and the only modules that may contain each."""


def steps_in(source: str) -> set[str]:  # noqa: C901  one case for each way to write
    """The steps of a write in a module: names that it uses, imports or makes, SQL, and statements of the ORM."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if f"{module}.{name}" in STEPS_OF_A_WRITE:
                found.add(f"{module}.{name}")
            case ast.ImportFrom(module=str(module), names=names):
                found |= {f"{module.rpartition('.')[2]}.{each.name}" for each in names} & STEPS_OF_A_WRITE.keys()
            case ast.Attribute(attr="bump_versions" | "invalidate" | "forget" | "lease" | "after_write" as name):
                found.add(name)
            case ast.Name(id="bump_versions" as name):
                found.add(name)
            case ast.Call(func=ast.Name(id="delete"), args=[entity]) if name_of(entity) == "Shop":
                found.add("delete(Shop)")
            case ast.alias(name="bump_versions" as name) | ast.FunctionDef(name="bump_versions" as name):
                found.add(name)
            case ast.Call(func=ast.Name(id="WriteSession")):
                found.add("WriteSession()")
            case ast.Call(
                func=ast.Name(id="cast" | "NewType"),
                args=[ast.Constant(value="WriteSession") | ast.Name(id="WriteSession"), *_],
            ):
                found.add("WriteSession()")
            case ast.Call(func=ast.Name(id="insert" | "update" | "delete"), args=[entity]) if is_registry(entity):
                found.add("ORM")
            case ast.Call(func=ast.Attribute(attr="add" | "delete" | "merge"), args=[ast.Call(func=entity)]) if (
                is_registry(entity)
            ):
                found.add("ORM")
            case ast.Constant(value=str(text)) if WRITES_IN_SQL.search(text):
                found.add("SQL")
    return found


def is_registry(entity: ast.expr) -> bool:
    return name_of(entity) in {"Registry", "RegistryItem"}


def name_of(entity: ast.expr) -> str:
    return ast.unparse(entity).removesuffix(".__table__").rpartition(".")[2]


def offenders(steps: dict[str, set[str]]) -> list[str]:
    return [f"{path}: {step}" for path, found in steps.items() for step in found if path not in STEPS_OF_A_WRITE[step]]


def test_only_the_write_primitive_changes_what_a_guest_can_see() -> None:
    steps = {str(path.relative_to(ROOT)): steps_in(path.read_text()) for path in SOURCES}
    assert not offenders(steps)
    assert all(step in steps[path] for step, paths in STEPS_OF_A_WRITE.items() for path in paths)


@pytest.mark.parametrize(
    "line",
    [
        "resources.cache.invalidate(shop_id, versions)",
        "CoherenceCommands(server).invalidate(shop_id, versions)",
        "registries.bump_versions(session, shop_id, ids, 10)",
        "from wishcraft.store.registries import bump_versions as raise_them",
        "registries.update_columns(WriteSession(session), shop_id, registry_id, values)",
        "registries.update_columns(cast('WriteSession', session), shop_id, registry_id, values)",
        "text('UPDATE registries SET title = :title')",
        "text('update only\\n public.\"registry_items\" set price = 0')",
        "text(f'DELETE FROM registries WHERE {condition}')",
        "cursor.copy('COPY registry_items (id) FROM STDIN')",
        "update(RegistryItem).values(price=0)",
        "update( schema.RegistryItem ).values(price=0)",
        "delete(Registry.__table__)",
        "session.add(Registry(title='x'))",
        "pending_invalidations.record(session, shop_id, versions)",
        "from wishcraft.store.pending_invalidations import record",
        "resources.cache.forget(shop_id, slugs)",
        "resources.cache.lease(shop_id, slugs)",
        "resources.after_write(shop_id, versions)",
        "registries.lock(session, shop_id, ids)",
        "from wishcraft.store.registries import lock_each",
        "delete(Shop).where(Shop.id == shop_id)",
    ],
)
def test_a_write_past_the_primitive_is_noticed(line: str) -> None:
    assert offenders({"wishcraft/services/inventory/sync.py": steps_in(line)})


def test_functions_that_write_registries_take_a_write_session() -> None:
    for module in sorted(SQL_QUERIES):
        tree = ast.parse((ROOT / module).read_text())
        constants = {
            ast.unparse(node.target)
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and "SQL" in steps_in(ast.unparse(node))
        }
        assert constants
        for function in (node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)):
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            if names & (constants | {"insert", "update", "delete"}):
                annotation = function.args.args[0].annotation
                assert annotation is not None
                assert ast.unparse(annotation) == "WriteSession", function.name


def test_only_services_of_registries_send_statements_that_write_registries() -> None:
    writers: set[str] = set()
    for module in sorted(QUERIES):
        tree = ast.parse((ROOT / module).read_text())
        statements = {
            ast.unparse(node.target)
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and steps_in(ast.unparse(node)) & {"SQL", "ORM"}
        }
        for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
            if statements & {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}:
                writers.add(f"{Path(module).stem}.{function.name}")
    assert {"registries.add", "registries.bump_versions", "registry_items.set_registrant_values"} <= writers
    for path in SOURCES:
        if not path.is_relative_to(ROOT / "wishcraft/services/registries"):
            nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
            used = {f"{node.value.id}.{node.attr}" for node in nodes if isinstance(node.value, ast.Name)}
            assert not used & writers, path


def long_functions(source: str) -> list[str]:
    nodes = ast.walk(ast.parse(source))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60]


def test_files_and_functions_stay_small() -> None:
    paths = SOURCES + [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 800
    sources = {path: path.read_text() for path in paths}
    assert not [path for path, source in sources.items() if source.count("\n") > MAX_LINES]
    assert not [f"{path}: {name}" for path, source in sources.items() for name in long_functions(source)]


def test_names_of_tests_are_short() -> None:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    names = [name for source in sources for name in re.findall(r"def (test_\w+)", source)]
    assert len(names) > 2000
    assert not [name for name in names if len(name) > 80]


PATCHED_CONSTANTS = {
    "tests/api/test_deadline.py": ["MAX_SECONDS"],
    "tests/api/test_fast_protocol.py": ["_REFUSALS"],
    "tests/api/test_own_registry.py": ["DATABASE_READ_SECONDS"],
    "tests/api/test_sentry.py": ["REPORT_AGAIN_SECONDS"],
    "tests/api/test_service_pages.py": ["MAX_SECONDS"],
    "tests/conftest.py": ["REGISTRIES_PER_CHUNK", "REGISTRIES_PER_CHUNK", "_HASHER"],
    "tests/jobs/test_schedule.py": ["PAGE"],
    "tests/local/test_prefect_server.py": ["PAGE"],
    "tests/mail/test_providers.py": ["MAX_BYTES", "MAX_BYTES", "MAX_RAW_BYTES"],
    "tests/monitoring/test_alerts_on_serving.py": ["_CGROUP_LIMIT"],
    "tests/reports/test_export.py": ["REGISTRIES_PER_CHUNK"],
    "tests/reports/test_notebook.py": ["STATEMENT_SECONDS"],
    "tests/sandbox/test_shopping.py": ["_ACTIONS"],
    "tests/services/health/test_replica_probe.py": ["_REPLAYED_POSITION", "_REPLAYED_POSITION"],
    "tests/services/inventory/conftest.py": ["MAX_IDS", "WORTH_A_BULK_OPERATION_SECONDS"],
    "tests/services/privacy/test_steps.py": ["MOST_BYTES"],
    "tests/services/shops/test_webhooks.py": ["SHOPIFY_SECONDS"],
    "tests/services/test_changes.py": ["MAX_IDS"],
    "tests/support/server_fixtures.py": ["FLUSH_SECONDS"],
}
"""Constants that tests replace: a parameter for each would go through layers which only pass it on. Add none: give a
constructor or a function a parameter with the constant as its default, or reach the true limit."""
CONSTANT = re.compile(r"(?:.*[.:])?(_?[A-Z][A-Z0-9_]+)")


def patched_constants(source: str) -> list[str]:
    """The constants that a module replaces with `setattr`, of anything."""
    nodes = ast.walk(ast.parse(source)) if "setattr" in source else ()
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    patches = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == "setattr"]
    names = [name.value for call in patches for name in call.args[:2] if isinstance(name, ast.Constant)]
    return sorted(found[1] for name in names if (found := CONSTANT.fullmatch(str(name))))


def test_tests_replace_no_further_constants() -> None:
    found = {
        str(path.relative_to(ROOT)): patched_constants(path.read_text()) for path in (ROOT / "tests").rglob("*.py")
    }
    assert {path: names for path, names in found.items() if names} == PATCHED_CONSTANTS


@pytest.mark.parametrize(
    "line",
    [
        'monkeypatch.setattr(sync, "MAX_IDS", 10)',
        'patch.setattr("wishcraft.services.inventory.sync.MAX_IDS", 10)',
        'setattr(sync, "MAX_IDS", 10)',
    ],
)
def test_constant_that_a_test_replaces_is_noticed(line: str) -> None:
    assert patched_constants(line) == ["MAX_IDS"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: str(deployment["name"]))
def test_every_deployment_loads_and_its_form_explains_itself(deployment: dict[str, Any]) -> None:
    assert set(deployment) == UNDERSTOOD
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.name == deployment["name"]
    form = parameter_schema(flow)
    assert set(deployment["parameters"]) == set(form.properties)
    assert all(field.get("description") for field in form.properties.values()), form.properties
