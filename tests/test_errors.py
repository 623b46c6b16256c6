"""Errors in messages to people: words, and no names of classes."""

import ast
import re
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

from wishcraft import errors
from wishcraft.errors import DatabaseUnavailable, MailUnavailable, database_fault, in_words
from wishcraft.observability.redaction import redact_text

ROOT = Path(__file__).parents[1]


class SMTPServerLostError(Exception):
    """An abbreviation in a name."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ReadTimeout(""), "read timeout"),
        (OSError(), "OS error"),
        (SMTPServerLostError(), "SMTP server lost error"),
        (psycopg.errors.NotNullViolation(), "not null violation"),
        (MailUnavailable(), "mail unavailable"),
    ],
)
def test_kinds_of_errors_are_named_in_words(error: Exception, words: str) -> None:
    assert in_words(error) == words


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("disk full: could not extend file", "has no disk space left"),
        ("timed out", "does not answer: check DATABASE_URL"),
    ],
)
def test_fault_of_the_database_is_a_full_disk_or_a_setting(text: str, fault: str) -> None:
    assert database_fault(DatabaseUnavailable(text)) == f"PostgreSQL {fault}. {text}"


def test_no_message_has_the_class_of_an_error() -> None:
    cache_and_worker = {"wishcraft/cache/client.py", "wishcraft/cache/shared_connection.py", "deployments/worker.py"}
    found = {
        str(path.relative_to(ROOT))
        for folder in ("wishcraft", "tasks", "flows", "api", "deployments/local")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"type\((error|original)\)\.__name__|\{error!r\}", path.read_text())
    }
    for_developers = {"wishcraft/errors.py", "wishcraft/services/webhooks/inbox.py", "tasks/runtime/retries.py"}
    assert found - cache_and_worker <= for_developers


@pytest.mark.parametrize("folder", ["wishcraft/services", "wishcraft/shopify", "wishcraft/store", "tasks", "flows"])
def test_redaction_leaves_the_words_of_an_error(folder: str) -> None:
    """`token: …` is taken for a secret: what follows in a message, such as what to do, would be hidden in runs."""
    raised = (
        node.exc.args[0]
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
    )
    messages = {_words(message) for message in raised if isinstance(message, (ast.Constant, ast.JoinedStr))}
    assert messages
    assert {message: redact_text(message) for message in messages if redact_text(message) != message} == {}


def _words(message: ast.Constant | ast.JoinedStr) -> str:
    """The text of a message, with `…` for each value."""
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def test_no_page_for_operators_names_an_error_by_its_class() -> None:
    classes = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    groups = yaml.safe_load((ROOT / "deployments/monitoring/alerts.yaml").read_text())["groups"]
    alerts = {rule.get("alert") for group in groups for rule in group["rules"]}
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/runbooks").glob("*.md")]
    named = {(page.name, name) for page in pages for name in re.findall(r"`(\w+)`", page.read_text())}
    assert not {(page, name) for page, name in named if name in classes - alerts}
