import re
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet
from pydantic import SecretStr

from api.app import create_app
from api.problem_kinds import kinds_table
from deployments.sandbox.processes import ROOT
from tests.support.docs import section
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.settings import Settings

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
HEADINGS_OF_A_DECISION = ["Status", "Date", "Context", "Decision", "Consequences"]


def first_cells(page: str, title: str) -> list[str]:
    """The names in code font in the first column of the section's table."""
    rows = re.findall(r"^\| (.+?) \|", section(page, title), re.MULTILINE)
    return [name for row in rows[1:] for name in re.findall(r"`([^`]+)`", row)]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_has_at_most_1000_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_prose_have_at_most_120_characters(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")]


def test_settings_page_lists_every_setting_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.+?) \|$", section("docs/settings.md", "All settings"), re.MULTILINE)
    expected = []
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`" if field.default not in {None, ""} else ""
        expected.append((name.upper(), default, field.description))
    assert [(name, default.strip(), meaning) for name, default, meaning in rows] == expected


def test_api_page_lists_exactly_the_endpoints() -> None:
    app = create_app(
        Settings(
            database_url="postgresql://nowhere/none",
            redis_url="redis://nowhere",
            encryption_keys=SecretStr(Fernet.generate_key().decode()),
            shopify_api_key="none",
            shopify_api_secret=SecretStr("none"),
        )
    )
    hidden = {str(getattr(route, "path", "")) for route in app.routes}
    served = set(app.openapi()["paths"]) | hidden
    assert set(first_cells("docs/api.md", "Endpoints")) == served - {"/api/docs/assets", ""}


def test_api_page_has_all_values_of_fields_that_have_few() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section("docs/api.md", "Names of fields"), re.MULTILINE)
    named = {field.strip("`"): set(re.findall(r"`(\w+)`", values)) for field, values in rows}
    assert named["event.type"] == set(EventType)
    assert named["visibility"] == set(Visibility)
    assert named["status` of a registry"] == set(RegistryStatus)
    assert named["status` of an item"] == {*ItemStatus} - {ItemStatus.HIDDEN}  # that of a removed item
    assert named["priority"] == set(Priority)


def test_jobs_page_lists_exactly_the_deployments() -> None:
    deployed = [each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
    assert first_cells("docs/jobs.md", "All jobs") == deployed


def test_contributing_lists_exactly_the_make_targets() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = [name.removeprefix("make").strip() for name in first_cells("CONTRIBUTING.md", "Commands")]
    assert sorted(name or "help" for name in listed) == sorted(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_code_paths_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    links = {page.parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)}
    named = re.findall(r"`((?:wishcraft|tests|docs|deployments|api|tasks|flows|benchmarks)/[\w./-]+)`", text)
    missing = [str(each) for each in links | {ROOT / path for path in named} if not each.exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_of_a_page_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    missing = [anchor for link, anchor in links if anchor not in headings(page.parent / link if link else page)]
    assert not missing


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: str(page.stem))
def test_a_decision_has_the_five_sections_and_a_date(page: Path) -> None:
    found = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert found == HEADINGS_OF_A_DECISION
    name = str(page.relative_to(ROOT))
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", section(name, "Date").strip())
    assert re.match(r"(Accepted|Superseded by)\b", section(name, "Status").strip())


def test_every_function_that_a_page_names_exists() -> None:
    for page in PAGES:
        for path, name in re.findall(r"`([\w/]+\.py):(\w+)`", page.read_text()):
            source = (ROOT / path).read_text()
            assert re.search(rf"^(async def|def|class) {name}\b", source, re.MULTILINE), f"{page.name}: {path}:{name}"


def test_api_page_has_the_table_of_the_kinds_of_problems() -> None:
    assert kinds_table() in section("docs/api.md", "Errors")


def test_every_action_of_the_audit_log_is_in_its_table() -> None:
    sources = [path.read_text() for path in (ROOT / "wishcraft/services").rglob("*.py")]
    written = {action for source in sources for action in re.findall(r'"([a-z]+\.[a-z_]+)"', source)}
    table = re.findall(r"^\| (`[a-z]+\.[^|]+)\|", (ROOT / "docs/jobs.md").read_text(), re.MULTILINE)
    documented = {action for row in table for action in re.findall(r"`([a-z]+\.[a-z_]+)`", row)}
    assert "mail.suppressed" in written
    assert written - documented == {"requirements.lock"}  # a file, which matches too


@pytest.mark.parametrize("page", ["docs/analysts.md", "docs/jobs.md"])
def test_example_without_a_stack_says_how_to_start_one(page: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```bash\n(stack\(\) .*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    end = subprocess.run(["/bin/bash", "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603  ours
    assert (end.stdout, end.stderr) == ("", "No stack is ready: make up starts one\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_look_for_a_stack_before_they_read_its_addresses(page: Path) -> None:
    text = page.read_text()
    assert text.count("open('.wishcraft/board.json')") == text.count("stack() { test -e .wishcraft/board.json || {")


def test_texts_avoid_the_phrase_is_no() -> None:
    sources = [
        path for name in ("api", "deployments", "flows", "tasks", "wishcraft") for path in (ROOT / name).rglob("*.py")
    ]
    found = [
        (path.name, said)
        for path in (*PAGES, *sources)
        for said in re.findall(
            r"\b(?:it|that|which|`\w+`) is no (?!longer\b|such\b|\w+er\b)\w+", path.read_text(), re.IGNORECASE
        )
    ]
    assert not found
