"""The shell commands of the runbooks: what they need is there, and they end when a store does not answer."""

import re
import socket
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.support.alert_rules import ROOT
from tests.support.aliases import Demo

RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
NEEDS = {
    ".venv/bin/prefect ": "export PREFECT_API_URL=",
    'sql "': "sql() {",
    "$API": "API=$(",
    "$(stack": "stack() {",
    "$WRONG": "WRONG=",
}
"""What a command uses, and what defines it."""

STATEMENT = re.compile(r'^ +sql "((?:UPDATE|DELETE)[^"]*)"', re.MULTILINE)
WRONG = re.compile(r'^ +WRONG="([^"]*)"', re.MULTILINE)
SQL = re.compile(r"^sql\(\) \{.*?\}$", re.MULTILINE | re.DOTALL)


def shell_blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Each shell block of a runbook, with the heading above it."""
    heading = ""
    tokens = MarkdownIt().parse(page.read_text())
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            heading = token.content
        if token.type == "fence" and token.info == "bash":
            yield heading, token.content


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: str(page.stem))
def test_a_step_of_a_runbook_needs_no_other_step(page: Path) -> None:
    """The steps are alternatives: each needs only the diagnosis. Prefect's command starts a server without a URL."""
    diagnosis = ""
    for heading, block in shell_blocks(page):
        text = diagnosis + block
        assert [use for use, definition in NEEDS.items() if use in block and definition not in text] == []
        diagnosis = text if heading == "Diagnose" else diagnosis


def test_the_runbook_for_both_stores_asks_each_of_them_also_if_the_first_hangs() -> None:
    [(_, block)] = shell_blocks(ROOT / "docs/runbooks/both-stores-away.md")
    [program] = re.findall(r"<<'EOF'\n(.*?)EOF\n", block, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as hangs, socket.create_server(("127.0.0.1", 0)) as closed:
        hanging, closed_port = hangs.getsockname()[1], closed.getsockname()[1]
        closed.close()
        urls = f"postgresql://nobody@127.0.0.1:{hanging}/none", f"redis://127.0.0.1:{closed_port}/0"
        ended = subprocess.run(  # noqa: S603  our own page
            [".venv/bin/python", "-", *urls], input=program, cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert re.fullmatch("PostgreSQL: .*timeout expired.*\nRedis: .*refused.*\n", ended.stdout)


def test_the_runbook_query_times_out_if_postgresql_hangs() -> None:
    functions = {function for page in RUNBOOKS for function in SQL.findall(page.read_text())}
    assert functions
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stack = f"stack() {{ echo postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none; }}"
        processes = [
            subprocess.Popen(  # noqa: S603  our own pages
                ["/bin/bash", "-c", f'{stack}\n{function}\nsql "SELECT 1"'], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            for function in functions
        ]
        assert all("timeout expired" in process.communicate(timeout=60)[1] for process in processes)


def test_the_runbook_of_mail_makes_due_what_a_wrong_suppression_has_kept_back(demo: Demo) -> None:
    """The mail that was refused, and those to the same address that later runs have not sent."""
    text = (ROOT / "docs/runbooks/mail.md").read_text()
    [wrong] = WRONG.findall(text)
    statements = [each.replace("$WRONG", wrong) for each in STATEMENT.findall(text) if "email_suppressions" in each]
    demo.execute(
        """DELETE FROM reminders; DELETE FROM email_suppressions;
        INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, last_error)
        SELECT shop_id, id, kind, current_date + 1, recipient, 'suppressed', error
        FROM (SELECT shop_id, id FROM registries ORDER BY id LIMIT 1) AS r,
        (VALUES ('week', 'a@example.com', 'refused: 550'), ('day', 'a@example.com', NULL),
            ('day', 'b@example.com', NULL)) AS m (kind, recipient, error);
        UPDATE invitations SET state = 'suppressed', answer = NULL WHERE id = (SELECT min(id) FROM invitations);
        INSERT INTO email_suppressions (shop_id, address_hash, reason)
        SELECT DISTINCT shop_id, sha256(convert_to(shop_id || ':' || recipient, 'UTF8')),
            CASE recipient WHEN 'b@example.com' THEN 'complaint' ELSE 'bounce' END
        FROM (SELECT shop_id, recipient FROM reminders UNION SELECT shop_id, recipient FROM invitations
            WHERE state = 'suppressed') AS m"""
    )
    for statement in statements:
        demo.execute(statement)
    assert demo.execute("SELECT recipient, state FROM reminders ORDER BY id").fetchall() == [
        ("a@example.com", "pending"),
        ("a@example.com", "pending"),
        ("b@example.com", "suppressed"),
    ]
    assert demo.execute("SELECT count(*) FROM invitations WHERE state = 'suppressed'").fetchone() == (0,)
    assert demo.execute("SELECT reason FROM email_suppressions").fetchall() == [("complaint",)]
