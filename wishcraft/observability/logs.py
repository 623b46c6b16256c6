"""Logging: JSON lines for machines, short lines for a terminal, both redacted.

The record factory redacts, before any handler sees the record: files, terminals and Prefect's UI get the same text.
"""

import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from wishcraft.domain import times
from wishcraft.errors import QueryRefused
from wishcraft.observability.context import current_context, known_secrets
from wishcraft.observability.redaction import redact_text
from wishcraft.settings import Settings

_make_record: Final = logging.getLogRecordFactory()
_REFUSALS: Final[Sequence[type[QueryRefused]]] = (QueryRefused, *QueryRefused.__subclasses__())
_REFUSAL: Final = "|".join(kind.__name__ for kind in _REFUSALS)
_NO_ERROR: Final = re.compile(
    r"Finished in state (?:Refused|Cancelled)\(|Parameter validation failed for flow "
    rf"|Task run failed with exception: (?:{_REFUSAL})\("
    rf"|Finished in state Failed\(.(?:Task|Flow) run encountered an exception:? (?:{_REFUSAL})\b"
)
"""What Prefect logs as an error although no person has to act: a run was refused or cancelled."""
_traceback_formatter: Final = logging.Formatter()


def install_redaction() -> None:
    """Redact every record that this process creates from now on, by any logger. Idempotent."""
    logging.setLogRecordFactory(_make_redacted_record)


def configure_logging(settings: Settings) -> None:
    """Log to standard error in the format LOG_FORMAT from the level LOG_LEVEL, redacted."""
    install_redaction()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs each request to Shopify
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd: below it logs what strangers send


def formatter(settings: Settings) -> logging.Formatter:
    """Return the formatter for LOG_FORMAT: with `auto`, lines are JSON unless standard error is a terminal."""
    writes_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    return JsonFormatter() if writes_json else TextFormatter()


class JsonFormatter(logging.Formatter):
    """One JSON object a record: `time` (UTC), `level`, `logger`, `message`, the context's fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        line = {
            "time": times.utc(datetime.fromtimestamp(record.created, UTC), "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context_of(record),
        }
        if record.exc_text:
            line["exception"] = record.exc_text
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """One text line a record: `14:03:07Z WARNING  wishcraft.cache.circuit_breaker: Redis does not …  request_id=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        time = f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S}Z"
        context = "".join(f"  {name}={value}" for name, value in _context_of(record).items())
        line = f"{time} {record.levelname:<8} {record.name}: {record.getMessage()}{context}"
        return f"{line}\n{record.exc_text}" if record.exc_text else line


def _context_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the record's context; a record of Prefect's run loggers carries its run in attributes instead."""
    attributes = {"run": "flow_run_name", "run_id": "flow_run_id", "task": "task_run_name"}
    run = {name: str(value) for name, each in attributes.items() if (value := getattr(record, each, None))}
    return {**run, **(getattr(record, "log_context", None) or {})}


def _make_redacted_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Create a record with its final, redacted text: no argument is left that a handler could format again.

    Its attribute `log_context` holds the context. The plain name `context` would raise a KeyError in a library that
    passes `extra={"context": …}`.
    """
    record = _make_record(*args, **kwargs)
    secrets = known_secrets()
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit the format: keep the line
        text = f"{record.msg} {record.args}"
    record.msg, record.args = _encodable(redact_text(text, secrets)), None
    if record.levelno == logging.ERROR and record.name.startswith("prefect.") and _NO_ERROR.match(record.msg):
        record.levelno, record.levelname, record.exc_info = logging.INFO, logging.getLevelName(logging.INFO), None
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = _encodable(redact_text(_traceback_formatter.formatException(record.exc_info), secrets))
    record.log_context = {name: _encodable(redact_text(value, secrets)) for name, value in current_context().items()}
    return record


def _encodable(text: str) -> str:
    """Escape what UTF-8 cannot encode: a lone surrogate, which JSON may contain, would lose the line."""
    return text.encode(errors="backslashreplace").decode()
