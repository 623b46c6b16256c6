"""The shell commands of the runbooks run without errors against a running stack."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from deployments.sandbox.processes import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]  # the first test may have to start the stack
RUNBOOKS = sorted(set((ROOT / "docs/runbooks").glob("*.md")) - {ROOT / "docs/runbooks/README.md"})


def commands(runbook: Path) -> list[str]:
    """The shell blocks of a runbook."""
    tokens = MarkdownIt().parse(runbook.read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == "bash"]


def run_in_shell(blocks: list[str]) -> str:
    """Run the blocks in one shell; returns the output, fails on an error."""
    ended = subprocess.run(  # noqa: S603  our own runbooks
        ["/bin/bash", "-euxo", "pipefail", "-c", "\n".join(blocks)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda runbook: str(runbook.stem))
def test_commands_of_a_runbook_run_without_errors(runbook: Path, stack: dict[str, Any]) -> None:
    assert stack["api"]
    blocks = commands(runbook)
    assert blocks
    run_in_shell(blocks)


@pytest.mark.parametrize(
    ("runbook", "shown"),
    [
        ("job-stale", r"│ sync-inventory │ sync-inventory · [^│]+│ COMPLETED │ .+ ago +│"),
        ("shopify-throttling", r"│ sync-inventory │ sync-inventory · [^│]+│ COMPLETED │ .+ ago +│"),
        ("job-crashed", r"^local ONLINE 20"),
        ("scheduler", r"^local ONLINE 20"),
    ],
)
def test_runbook_commands_show_run_states_and_online_workers(runbook: str, shown: str, stack: dict[str, Any]) -> None:
    assert stack["api"]
    first = commands(ROOT / f"docs/runbooks/{runbook}.md")[0]
    assert re.search(shown, run_in_shell([first]), re.MULTILINE)


def test_examples_of_the_local_stack_leave_each_other_what_they_need(stack: dict[str, Any]) -> None:
    assert stack["api"]
    blocks = [each for each in commands(ROOT / "docs/sandbox.md") if not each.startswith("apt-get")]
    [last] = [number for number, each in enumerate(blocks) if "apps/registry/my-registries" in each]
    shown = run_in_shell(blocks[: last + 1])
    assert '"price":"1.23"' in shown
    assert "/redact" in shown
    own = shown.rpartition("/apps/registry/my-registries")[2]
    assert re.search(r'"total":[1-9]', own)
