"""Log lines: for machines or for people, about something, and without what is not to be told."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from wishcraft.observability.context import bind, log_context, register_secrets
from wishcraft.observability.logs import JsonFormatter, TextFormatter, formatter, install_redaction
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("process_globals")
log = logging.getLogger("wishcraft.tested")


@pytest.fixture
def written() -> Iterator[StringIO]:
    """What is logged, as JSON."""
    install_redaction()
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    yield handler.stream
    log.removeHandler(handler)


def test_a_line_is_one_object_that_says_what_it_is_about(written: StringIO) -> None:
    with log_context(request_id="request-1"):
        bind(shop_id="7")
        log.warning("%d entries\nof two lines", 3)
    log.warning("afterwards")
    first, second = map(json.loads, written.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "warning",
        "logger": "wishcraft.tested",
        "message": "3 entries\nof two lines",
        "request_id": "request-1",
        "shop_id": "7",
    }
    assert "request_id" not in second


def test_the_traceback_of_an_error_is_told_without_its_secrets(written: StringIO) -> None:
    log.warning("It failed", exc_info=ValueError("shpat_0123456789 of emma@example.com"))
    line = json.loads(written.getvalue())
    assert line["exception"] == "ValueError: [redacted] of [redacted]"


def test_what_the_process_was_started_with_is_not_told(written: StringIO) -> None:
    register_secrets({"correct horse battery"})
    log.warning("It said: %s", "correct horse battery")
    assert json.loads(written.getvalue())["message"] == "It said: [redacted]"


def test_a_line_with_half_a_character_is_told_all_the_same(written: StringIO) -> None:
    with log_context(path="/\udfff"):
        log.warning("no registry \ud83d", exc_info=ValueError("\ud83d"))
    line = json.loads(written.getvalue())
    assert (line["message"], line["exception"], line["path"]) == (
        "no registry \\ud83d",
        "ValueError: \\ud83d",
        "/\\udfff",
    )


def test_a_line_whose_arguments_do_not_fit_is_told_all_the_same(written: StringIO) -> None:
    log.warning("%d of %d", *["one"])
    assert "%d of %d" in json.loads(written.getvalue())["message"]


def test_a_person_reads_a_line_and_a_machine_an_object(settings: Settings) -> None:
    kinds = {kind: formatter(settings.model_copy(update={"log_format": kind})) for kind in ("text", "json", "auto")}
    assert isinstance(kinds["text"], TextFormatter)
    assert isinstance(kinds["json"], JsonFormatter)
    assert isinstance(kinds["auto"], JsonFormatter)  # nobody looks at a terminal here
    record = logging.LogRecord("wishcraft", logging.WARNING, __file__, 1, "Redis is away", None, None)
    record.log_context = {"shop": "a"}
    assert kinds["text"].format(record).endswith("WARNING  wishcraft: Redis is away  shop=a")
