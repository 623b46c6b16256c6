"""Reports to Sentry: errors, traces and the check-ins of scheduled jobs. Without SENTRY_DSN nothing is sent.

Nothing here runs on the way of a hit: what answers it stands in front of everything that is reported and traced.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit
from uuid import UUID

import sentry_sdk
from pydantic import SecretStr
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
from sentry_sdk.tracing import Span
from sentry_sdk.types import Event, Hint

from wishcraft.observability.context import current_context, known_secrets, register_secrets
from wishcraft.observability.redaction import redact
from wishcraft.settings import Settings

FLUSH_SECONDS: Final = 2.0
_HEADERS: Final = frozenset({"accept", "content-length", "content-type", "host", "user-agent", "x-request-id"})
"""All that is told of a request's headers."""
_ITS_OWN: Final = frozenset(
    {"sdk", "modules", "release", "environment", "platform", "level", "type", "timestamp", "profile"}
)
"""Fields of an event that the SDK fills, and that no data of ours gets into."""
_PASSWORD: Final = re.compile(r"[^:/?#]*://[^:/?#]*:([^/?#]*)@")
"""A URL with a password, which `urlsplit` does not find in each: it refuses those with one square bracket."""
_FRAME: Final = ("filename", "abs_path", "function", "module", "lineno", "in_app")


class Schedule(NamedTuple):
    """When a job runs, and how many minutes late and long a run may be before somebody is to be told."""

    cron: str
    timezone: str
    start_minutes: int
    run_minutes: int


def start_sentry(settings: Settings, program: Literal["api", "worker", "job"]) -> None:
    """Report errors of this process from now on. A job's are told by `report`, all other programs' as they are logged.

    Prefect logs an error of a run on each try; whoever logs it otherwise means that somebody should look at it.
    """
    register_secrets(secrets_of(settings))
    if settings.sentry_dsn is None or sentry_sdk.get_client().is_active():
        return
    sentry_sdk.init(
        settings.sentry_dsn.get_secret_value(),
        release=settings.release or f"wishcraft@{version('wishcraft')}",
        environment=settings.environment,
        traces_sample_rate=settings.sentry_traces_sample_rate,
        profile_session_sample_rate=settings.sentry_profiles_sample_rate,
        profile_lifecycle="trace",
        include_local_variables=False,
        include_source_context=False,  # files and lines say where; to redact the sources took longer than all else
        max_request_body_size="never",
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=logging.INFO, event_level=None if program == "job" else logging.ERROR),
            HttpxIntegration(),
            SqlalchemyIntegration(),
        ],
        trace_propagation_targets=_own_hosts(settings),
        before_send=scrub,
        before_send_transaction=scrub,
    )
    ignore_logger("uvicorn.error")  # what an application raises is told before it gets there
    sentry_sdk.set_tag("program", program)


def capture_error(error: BaseException, **tags: str) -> None:
    """Report an error that nobody logs, or that a job logs on each try."""
    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        scope.capture_exception(error)


def capture_message(message: str) -> None:
    """Report what went wrong without an error of ours, such as the death of a process."""
    sentry_sdk.capture_message(message, level="error")


@contextmanager
def isolated() -> Iterator[None]:
    """What is told of this block, such as its breadcrumbs, is told of no other that runs at the same time."""
    with sentry_sdk.isolation_scope() if sentry_sdk.get_client().is_active() else nullcontext():
        yield


@contextmanager
def traced(operation: str, name: str) -> Iterator[Span | None]:
    """Trace the block, if this one is to be; nobody outside decides that. Its name may still change."""
    if not sentry_sdk.get_client().options.get("traces_sample_rate"):
        yield None
        return
    with sentry_sdk.start_transaction(op=operation, name=name, source="route") as transaction:
        yield transaction


def check_in(
    job: str, run_id: UUID, status: Literal["in_progress", "ok", "error"], schedule: Schedule | None = None
) -> None:
    """Tell how a scheduled run of the job stands; with its schedule, Sentry knows when the next one is missed."""
    config = schedule and {
        "schedule": {"type": "crontab", "value": schedule.cron},
        "timezone": schedule.timezone,
        "checkin_margin": schedule.start_minutes,
        "max_runtime": schedule.run_minutes,
        "failure_issue_threshold": 1,
        "recovery_threshold": 1,
    }
    capture_checkin(job, run_id.hex, status, monitor_config=cast("Any", config))


def flush() -> None:
    """Wait a little until all that was reported has been sent."""
    sentry_sdk.flush(FLUSH_SECONDS)


def secrets_of(settings: Settings) -> set[str]:
    """The values that the process was started with and must not tell, the passwords within URLs among them."""
    found = {value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)}
    parts = {part.strip() for value in found for part in value.split(",")}
    urls = [
        settings.database_url,
        settings.database_replica_url or "",
        settings.redis_url,
        *(value for value in found if "://" in value),
    ]
    passwords = {match[1] for url in urls if (match := _PASSWORD.match(url))}
    auth = settings.prefect_api_auth_string
    login = {auth.get_secret_value().partition(":")[2]} if auth else set()
    return (found | parts | passwords | {unquote(each) for each in passwords} | login) - {""}


def scrub(event: Event, _hint: Hint) -> Event:
    """The event without what is not to leave the process, and with what it is about as its tags."""
    plain, known = cast("dict[str, Any]", event), known_secrets()
    apart = {"request", "user", "exception", "threads", "stacktrace", "tags"} | _ITS_OWN
    clean = redact({name: value for name, value in plain.items() if name not in apart}, known)
    clean.update({name: plain[name] for name in _ITS_OWN if name in plain})
    if "request" in plain:
        clean["request"] = _request(plain["request"], known)
    if "exception" in plain:
        clean["exception"] = {"values": [_exception(each, known) for each in plain["exception"].get("values", [])]}
    about = current_context()
    clean["tags"] = redact({**dict(plain.get("tags") or {}), **about}, known)
    if "route" in about:  # the trace gets its name when the request has ended, which is after its errors
        clean["transaction"] = f"{about['method']} {about['route']}"
    return cast("Event", clean)


def _request(request: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The method, the address without its query, and the harmless headers."""
    headers = {name: value for name, value in dict(request.get("headers") or {}).items() if name.lower() in _HEADERS}
    address = str(request.get("url", "")).partition("?")[0]
    return {"method": request.get("method"), "url": redact(address, known), "headers": redact(headers, known)}


def _exception(exception: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Its kind, its text, and where it was raised: files and lines, no values of variables."""
    frames = (exception.get("stacktrace") or {}).get("frames", [])
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        "value": redact(exception.get("value"), known),
        "mechanism": redact(exception.get("mechanism"), known),
        "stacktrace": {"frames": [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]},
    }


def _own_hosts(settings: Settings) -> list[str]:
    """Patterns of the addresses that may see which trace a request of ours is part of."""
    addresses = [address for address in (settings.prefect_api_url, settings.public_url) if address]
    origins = {f"{urlsplit(address).scheme}://{urlsplit(address).netloc}" for address in addresses}
    return [f"^{re.escape(origin)}(?:[/?#]|$)" for origin in sorted(origins)]
