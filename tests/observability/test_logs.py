"""Log lines in JSON and in text, with their context, and redacted."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from wishcraft.errors import QueryRefused
from wishcraft.observability.context import bind, log_context, register_secrets
from wishcraft.observability.logs import JsonFormatter, TextFormatter, configure_logging, formatter, install_redaction
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("process_globals")
log = logging.getLogger("wishcraft.tested")


@pytest.fixture
def written() -> Iterator[StringIO]:
    """The log output as JSON lines."""
    install_redaction()
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    yield handler.stream
    log.removeHandler(handler)


@pytest.mark.parametrize(
    ("name", "text", "level"),
    [
        ("prefect.flow_runs", "Finished in state Refused('Refused: there is no such shop', type=CANCELLED)", "info"),
        ("prefect.flow_runs", "Finished in state Cancelled('stopped', type=CANCELLED)", "info"),
        ("prefect.task_runs", "Task run failed with exception: UnknownShop('x') - Retries are exhausted", "info"),
        ("prefect.task_runs", "Finished in state Failed('Task run encountered an exception QueryRefused: x')", "info"),
        ("prefect.flow_runs", "Finished in state Failed('Flow run encountered an exception: QueryRefused: x')", "info"),
        ("prefect.flows", "Parameter validation failed for flow 'audit-trail': [redacted]", "info"),
        ("prefect.task_runs", "Finished in state Failed('Task run encountered an exception ValueError: x')", "error"),
        (
            "prefect.task_runs",
            "Finished in state Failed('Task run encountered an exception E: exception QueryRefused: x')",
            "error",
        ),
        ("prefect.task_runs", "Task run failed with exception: ValueError('subjob exception: QueryRefused')", "error"),
        ("wishcraft.tested", "Finished in state Refused('')", "error"),
    ],
)
def test_refused_or_cancelled_run_is_no_error_in_the_log(
    written: StringIO, monkeypatch: pytest.MonkeyPatch, name: str, text: str, level: str
) -> None:
    monkeypatch.setattr(log, "name", name)
    log.error(text, exc_info=QueryRefused("x"))
    line = json.loads(written.getvalue())
    assert (line["level"], "exception" in line) == (level, level == "error")


def test_a_json_line_is_one_object_with_the_context(written: StringIO) -> None:
    with log_context(request_id="request-1"):
        bind(shop_id="7")
        log.warning("%d entries\nof two lines", 3)
    log.warning("afterwards")
    first, second = map(json.loads, written.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning",
        "logger": "wishcraft.tested",
        "message": "3 entries\nof two lines",
        "request_id": "request-1",
        "shop_id": "7",
    }
    assert "request_id" not in second


def test_a_traceback_is_redacted(written: StringIO) -> None:
    log.warning("It failed", exc_info=ValueError("shpat_0123456789 of emma@example.com"))
    line = json.loads(written.getvalue())
    assert line["exception"] == "ValueError: [redacted] of [redacted]"


def test_registered_secrets_are_redacted(written: StringIO) -> None:
    register_secrets({"correct horse battery"})
    log.warning("The server sent: %s", "correct horse battery")
    assert json.loads(written.getvalue())["message"] == "The server sent: [redacted]"


def test_a_line_with_a_lone_surrogate_is_written(written: StringIO) -> None:
    with log_context(path="/\udfff"):
        log.warning("no registry \ud83d", exc_info=ValueError("\ud83d"))
    line = json.loads(written.getvalue())
    assert (line["message"], line["exception"], line["path"]) == (
        "no registry \\ud83d",
        "ValueError: \\ud83d",
        "/\\udfff",
    )


def test_a_line_whose_arguments_do_not_fit_its_format_is_written(written: StringIO) -> None:
    log.warning("%d of %d", *["one"])
    assert "%d of %d" in json.loads(written.getvalue())["message"]


def test_log_format_selects_text_or_json(settings: Settings) -> None:
    kinds = {kind: formatter(settings.model_copy(update={"log_format": kind})) for kind in ("text", "json", "auto")}
    assert isinstance(kinds["text"], TextFormatter)
    assert isinstance(kinds["json"], JsonFormatter)
    assert isinstance(kinds["auto"], JsonFormatter)  # standard error is not a terminal here
    record = logging.LogRecord("wishcraft", logging.WARNING, __file__, 1, "Redis does not answer", None, None)
    record.log_context = {"shop": "a"}
    assert kinds["text"].format(record).endswith("WARNING  wishcraft: Redis does not answer  shop=a")


def test_what_strangers_send_to_the_server_of_bounces_is_not_logged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    quieted = [logging.getLogger(name) for name in ("mail.log", "httpx")]
    levels = [each.level for each in quieted]
    try:
        configure_logging(settings)
        assert not quieted[0].isEnabledFor(logging.WARNING)
    finally:
        for each, level in zip(quieted, levels, strict=True):
            each.setLevel(level)
