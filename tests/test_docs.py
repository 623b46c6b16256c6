import re
from pathlib import Path

import yaml
from pydantic import SecretStr

from api.app import create_app
from api.routes import metrics
from wishcraft.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]


def section(title: str) -> str:
    """The text under a second-level heading of the README."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> list[str]:
    """What the rows of the section's table are about."""
    rows = re.findall(r"^\| (.+?) \|", section(title), re.MULTILINE)
    return [name for row in rows[1:] for name in re.findall(r"`([^`]+)`", row)]


def test_every_setting_is_told_with_its_default_and_meaning_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.+?) \|$", section("Settings"), re.MULTILINE)
    expected = []
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`" if field.default not in {None, ""} else ""
        expected.append((name.upper(), default, field.description))
    assert [(name, default.strip(), meaning) for name, default, meaning in rows] == expected


def test_every_endpoint_is_told_and_no_other() -> None:
    app = create_app(
        Settings(
            database_url="postgresql://nowhere/none",
            redis_url="redis://nowhere",
            encryption_keys=SecretStr("none"),
            shopify_api_key="none",
            shopify_api_secret=SecretStr("none"),
        )
    )
    hidden = {str(getattr(route, "path", "")) for route in (*app.routes, *metrics.router.routes)}
    served = set(app.openapi()["paths"]) | hidden
    assert set(first_cells("API")) == served - {"/api/docs/assets", ""}


def test_every_job_is_told_and_no_other() -> None:
    deployed = [each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
    assert first_cells("Jobs") == deployed


def test_every_make_target_is_told_and_no_other() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = [name.removeprefix("make").strip() for name in first_cells("Commands")]
    assert sorted(name or "help" for name in told) == sorted(targets)


def test_every_path_and_page_that_the_docs_name_exists() -> None:
    for page in PAGES:
        text = page.read_text()
        links = {page.parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)}
        named = re.findall(r"`((?:wishcraft|tests|docs|deployments|api|tasks|flows)/[\w./-]+)`", text)
        paths = {ROOT / path for path in named}
        missing = [str(each) for each in links | paths if not each.exists()]
        assert not missing, f"{page.name}: {missing}"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
