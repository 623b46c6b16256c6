"""Errors in messages to people: words, and no names of classes."""

import re
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

from wishcraft import errors
from wishcraft.errors import DatabaseUnavailable, MailUnavailable, database_fault, in_words

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


def test_no_page_for_operators_names_an_error_by_its_class() -> None:
    classes = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    groups = yaml.safe_load((ROOT / "deployments/monitoring/alerts.yaml").read_text())["groups"]
    alerts = {rule.get("alert") for group in groups for rule in group["rules"]}
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/runbooks").glob("*.md")]
    named = {(page.name, name) for page in pages for name in re.findall(r"`(\w+)`", page.read_text())}
    assert not {(page, name) for page, name in named if name in classes - alerts}
