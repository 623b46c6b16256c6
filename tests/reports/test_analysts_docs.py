"""docs/analysts.md: its examples and notebook run with only a database URL, and its pictures are of all reports."""

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from PIL import Image
from playwright.async_api import Browser

from deployments.sandbox.demo import DEFAULT_REGISTRIES, DEFAULT_SEED
from tests.support.aliases import Demo
from tests.support.analysts_docs import PICTURES, draw_pictures, execute_notebook
from tests.support.demo_data import DemoData
from tests.support.notebook import NOTEBOOK, execute, outline
from wishcraft.reports.titles import ANALYSTS, TITLES
from wishcraft.resources import open_analysts_database
from wishcraft.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def examples() -> str:
    """The Python examples of the page."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / "analysts.md").read_text(), re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def docs_data() -> DemoData:
    """The data of `make analysts-docs`, to be put back before each test."""
    return DemoData(DEFAULT_REGISTRIES, reminders=True, random_seed=DEFAULT_SEED, today=datetime.now(UTC).date())


@pytest.fixture
def demo_url(demo: Demo, settings: Settings, docs_data: DemoData) -> str:
    """The analysts' URL of a database that is filled as the one of `make analysts-docs`."""
    docs_data.restore(demo, settings)
    return str(settings.database_replica_url)


def test_docs_examples_run_with_only_a_database_url(demo_url: str, tmp_path: Path) -> None:
    environment = {
        "DATABASE_REPLICA_URL": demo_url,
        "PATH": os.environ["PATH"],
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(  # noqa: S603  this Python
        [sys.executable, "-W", "error", "-c", examples()],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_questions_of_the_docs_have_an_answer(demo_url: str) -> None:
    questions = re.findall(r"^```sql\n(.*?)^```", (DOCS / "analysts.md").read_text(), re.MULTILINE | re.DOTALL)
    assert questions
    with open_analysts_database(demo_url) as db:
        for question in questions:
            assert len(db.query(question, 100, 5))


def test_docs_list_exactly_the_columns_of_the_views(demo: Demo) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.+`) \|$", (DOCS / "analysts.md").read_text(), re.MULTILINE)
    documented = {(view, name) for view, columns in rows for name in re.findall(r"\w+", columns)}
    columns_of_views = demo.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'analytics'"
    ).fetchall()
    assert documented == set(columns_of_views)


def test_notebook_is_committed_with_the_outputs_that_it_has(demo_url: str) -> None:
    committed = json.loads(NOTEBOOK.read_text("utf-8"))
    executed = json.loads(execute_notebook(demo_url))  # a warning is an error
    assert outline(committed) == outline(executed), "run `make analysts-docs`"
    kinds = [kind for cell in outline(committed) for output in cell["outputs"] for kind in output["kinds"]]
    assert min(kinds.count("image/png"), kinds.count("text/html")) >= 4


@pytest.mark.parametrize(
    ("source", "error"),
    [("import warnings\nwarnings.warn('old')", UserWarning), ("print(1)", RuntimeError), ("1 / 0", ZeroDivisionError)],
)
def test_cell_that_warns_prints_or_fails_is_not_committed(source: str, error: type[Exception]) -> None:
    cell = {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": []}
    with pytest.raises(error):
        execute({"cells": [cell]})


def test_outline_of_a_notebook_has_names_and_shapes_and_no_values() -> None:
    def outline_of(values: str) -> object:
        source = f"import pandas as pd\npd.DataFrame({{'a': {values}}})"
        return outline(execute({"cells": [{"cell_type": "code", "source": [source]}]}))[0]["outputs"]

    assert (
        outline_of("[1, 2]")
        == outline_of("[3]")
        == [{"kinds": ["text/html", "text/plain"], "names": ["", "a"], "rows": True}]
    )
    assert outline_of("[]") != outline_of("[1]")
    assert outline_of("range(10)") != outline_of("range(9)")


def read(picture: Path) -> Image.Image:
    """The picture of a file, which is closed."""
    return Image.open(io.BytesIO(picture.read_bytes()))


def test_each_report_has_its_picture_on_the_page_and_they_are_small() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(pictures/([\w-]+)\.png\)", (DOCS / "analysts.md").read_text())
    pictures = sorted(PICTURES.iterdir())
    assert sorted(shown) == [picture.stem for picture in pictures] == sorted(ANALYSTS)
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000
    assert {read(picture).width for picture in pictures} == {800}


@pytest.mark.asyncio(loop_scope="session")
async def test_pictures_are_drawn_again_by_the_command(demo_url: str, browser: Browser, tmp_path: Path) -> None:
    with open_analysts_database(demo_url) as db:
        await draw_pictures(browser, db, datetime.now(UTC), tmp_path)
    for committed in PICTURES.iterdir():
        drawn = read(tmp_path / committed.name)
        assert drawn.width == read(committed).width
        assert len(drawn.getcolors() or []) > 8  # no empty page


def test_every_title_is_that_of_a_deployment() -> None:
    deployments = yaml.safe_load((DOCS.parent / "prefect.yaml").read_text())["deployments"]
    assert set(TITLES) <= {each["name"] for each in deployments}
