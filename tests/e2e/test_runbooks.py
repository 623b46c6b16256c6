"""What a runbook tells to type can be typed: its blocks, one after the other, into one shell."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]  # the first test may have to start the stack
ROOT = Path(__file__).parents[2]
PAGES = sorted(set((ROOT / "docs/runbooks").glob("*.md")) - {ROOT / "docs/runbooks/README.md"})


def commands(page: Path) -> list[str]:
    """The page's blocks of shell commands."""
    tokens = MarkdownIt().parse(page.read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == "bash"]


def typed(blocks: list[str]) -> str:
    """What a shell says to these blocks, none of which may fail."""
    ended = subprocess.run(  # noqa: S603  our own pages
        ["/bin/bash", "-euxo", "pipefail", "-c", "\n".join(blocks)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_commands_of_a_runbook_run_without_errors(page: Path, board: dict[str, Any]) -> None:
    assert board["api"]
    blocks = commands(page)
    assert blocks
    typed(blocks)


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("job-stale", r"│ sync-inventory │ [\w-]+ +│ COMPLETED │ .+ ago +│"),
        ("shopify-throttling", r"│ sync-inventory │ [\w-]+ +│ COMPLETED │ .+ ago +│"),
        ("job-crashed", r"^local ONLINE 20"),
        ("scheduler", r"^local ONLINE 20"),
    ],
)
def test_runbook_commands_show_run_states_and_online_workers(page: str, shown: str, board: dict[str, Any]) -> None:
    assert board["api"]
    first = commands(ROOT / f"docs/runbooks/{page}.md")[0]
    assert re.search(shown, typed([first]), re.MULTILINE)
