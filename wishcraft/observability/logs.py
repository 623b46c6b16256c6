"""Log lines: for machines one JSON object each, for a terminal a short line; without secrets and personal data.

What is taken out goes before any handler sees the record, so it is in no file, no terminal, and not in Prefect's UI.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from wishcraft.observability.context import current_context, known_secrets
from wishcraft.observability.redaction import redact_text
from wishcraft.settings import Settings

_make_record: Final = logging.getLogRecordFactory()
_plain: Final = logging.Formatter()


def install_redaction() -> None:
    """From now on, whatever this process logs, by any logger, is redacted; safe to repeat."""
    logging.setLogRecordFactory(_redacted)


def configure_logging(settings: Settings) -> None:
    """Log to standard error, in the way that LOG_FORMAT and LOG_LEVEL say."""
    install_redaction()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request to Shopify tells nobody anything


def formatter(settings: Settings) -> logging.Formatter:
    """What turns a record into a line."""
    return JsonLines() if writes_json(settings) else Lines()


def writes_json(settings: Settings) -> bool:
    """Whether lines are for machines."""
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())


class JsonLines(logging.Formatter):
    """One JSON object for each record: `time` (UTC), `level`, `logger`, `message`, what it is about, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The object on one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_text:
            line["exception"] = record.exc_text
        return orjson.dumps(line).decode()


class Lines(logging.Formatter):
    """A line for a person: `14:03:07 WARNING  wishcraft.cache.circuit_breaker: Redis does not answer  request_id=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback if there is one."""
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        about = "".join(f"  {name}={value}" for name, value in _about(record).items())
        line = f"{moment} {record.levelname:<8} {record.name}: {record.getMessage()}{about}"
        return f"{line}\n{record.exc_text}" if record.exc_text else line


def _about(record: logging.LogRecord) -> dict[str, str]:
    """What the line was written about; Prefect's own lines name their run by themselves."""
    run = getattr(record, "flow_run_id", None)
    return {**({"run_id": str(run)} if run else {}), **(getattr(record, "about", None) or {})}


def _redacted(*arguments: Any, **options: Any) -> logging.LogRecord:
    """A record whose text is final: no handler, and nothing that formats it later, sees what was taken out."""
    record = _make_record(*arguments, **options)
    known = known_secrets()
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # the caller's format does not fit: the line matters more
        text = f"{record.msg} {record.args}"
    record.msg, record.args = _writable(redact_text(text, known)), None
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = _writable(redact_text(_plain.formatException(record.exc_info), known))
    record.about = {name: _writable(redact_text(value, known)) for name, value in current_context().items()}
    return record


def _writable(text: str) -> str:
    """The text as UTF-8 can have it: half a character, which JSON may bring, would cost the line."""
    return text.encode(errors="backslashreplace").decode()
