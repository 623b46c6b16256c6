"""The examples of docs/analysts.md and its notebook run in a process with only a database URL."""

import ast
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from deployments.sandbox.demo import seed
from wishcraft.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
Demo = Connection[tuple[Any, ...]]


def examples() -> str:
    """The Python examples of the page."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / "analysts.md").read_text(), re.MULTILINE | re.DOTALL))


def cells() -> str:
    """The notebook's code; as in a notebook, a cell shows its last expression."""
    notebook = json.loads((DOCS / "analysts.ipynb").read_text())
    return "\n".join(_shown("".join(cell["source"])) for cell in notebook["cells"] if cell["cell_type"] == "code")


def _shown(source: str) -> str:
    last = ast.parse(source).body[-1]
    if not isinstance(last, ast.Expr):
        return source
    lines = source.splitlines()
    expression = "\n".join(lines[last.lineno - 1 :])
    return "\n".join([*lines[: last.lineno - 1], f"print({expression})"])


@pytest.mark.parametrize("source", [examples, cells])
def test_docs_examples_run_with_only_a_database_url(
    source: Any, demo: Demo, settings: Settings, tmp_path: Path
) -> None:
    demo.execute("TRUNCATE shops, pending_invalidations, webhook_events CASCADE")
    seed(settings, 60, 7, datetime.now(UTC).date())
    environment = {
        "DATABASE_REPLICA_URL": str(settings.database_replica_url),
        "MPLBACKEND": "agg",
        "PATH": os.environ["PATH"],
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(  # noqa: S603  this Python
        [sys.executable, "-W", "error::DeprecationWarning", "-c", source()],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_docs_list_exactly_the_columns_of_the_views(demo: Demo) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.+`) \|$", (DOCS / "analysts.md").read_text(), re.MULTILINE)
    documented = {(view, name) for view, columns in rows for name in re.findall(r"\w+", columns)}
    columns_of_views = demo.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'analytics'"
    ).fetchall()
    assert documented == set(columns_of_views)


def test_notebook_is_committed_without_outputs() -> None:
    for cell in json.loads((DOCS / "analysts.ipynb").read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
