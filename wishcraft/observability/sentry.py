"""Sentry: errors, traces, profiles and check-ins of scheduled jobs, redacted. Without SENTRY_DSN nothing is sent."""

import hmac
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from random import random
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit
from uuid import UUID

import sentry_sdk
from pydantic import SecretStr
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.tracing import Transaction
from sentry_sdk.types import Event, Hint

from wishcraft.domain.callers import Caller
from wishcraft.observability import profiler
from wishcraft.observability.context import current_context, known_secrets, register_secrets
from wishcraft.observability.redaction import redact
from wishcraft.settings import Settings

Program = Literal["api", "worker", "job", "webhooks"]
FLUSH_SECONDS: Final = 2.0
HITS_PER_TRACE: Final = 1_000
"""Hits on the fast path are traced this many times more rarely than other requests: one costs as much as 150 hits."""
_HEADERS: Final = frozenset({"accept", "content-length", "content-type", "host", "user-agent", "x-request-id"})
"""The only request headers that are sent."""
_SDK_FIELDS: Final = frozenset(
    {"sdk", "modules", "release", "environment", "platform", "level", "type", "timestamp", "profile"}
)
"""Event fields that the SDK fills itself: they hold no data of the application."""
_ANONYMOUS_ID: Final = re.compile(r"[0-9a-f]{32}")
_URL_PASSWORD: Final = re.compile(r"[^:/?#]*://[^:/?#]*:([^/?#]*)@")
"""The password of a URL. `urlsplit` raises ValueError if the password contains one square bracket."""
_OPTION_PASSWORD: Final = re.compile(r"[?&](?:ssl_?)?password=([^&]+)")
"""The passwords among the options of a URL."""
_URL_KEY: Final = re.compile(r"[^:/?#]*://([^:/?#@]+)@")
"""The userinfo of a URL, such as the API key of `sendgrid://KEY@…`."""
_pseudonym_key = b""
"""Without the client secret, neither a pseudonym nor its person can be computed."""
_FRAME_FIELDS: Final = ("filename", "abs_path", "function", "module", "lineno", "in_app")


class MonitorSchedule(NamedTuple):
    """A job's cron schedule, and the minutes that a run may start late and last before Sentry raises an issue."""

    cron: str
    timezone: str
    start_minutes: int
    run_minutes: int


def start_sentry(settings: Settings, program: Program) -> None:
    """Start the SDK, once a process, and register the settings' secrets for redaction.

    Log records of level ERROR become events, except in a job: Prefect logs an error again on each retry, so jobs call
    `capture_error` themselves.
    """
    register_secrets(secrets_of(settings))
    if settings.sentry_dsn is None or sentry_sdk.get_client().is_active():
        return
    global _pseudonym_key  # noqa: PLW0603  secrets of settings belong to the process
    _pseudonym_key = hmac.digest(settings.shopify_api_secret.get_secret_value().encode(), b"sentry user", "sha256")
    profiler.prevent_deadlock()
    sentry_sdk.init(
        settings.sentry_dsn.get_secret_value(),
        release=settings.release or f"wishcraft@{version('wishcraft')}",
        environment=settings.environment,
        traces_sample_rate=settings.sentry_traces_sample_rate,
        profile_session_sample_rate=settings.sentry_profiles_sample_rate,
        profile_lifecycle="trace",
        include_local_variables=False,
        include_source_context=False,  # redacting source lines took longer than all else
        max_request_body_size="never",
        auto_enabling_integrations=False,
        integrations=_integrations(program),
        trace_propagation_targets=_own_hosts(settings),
        before_send=scrub,
        before_send_transaction=scrub,
    )
    if not sentry_sdk.get_client().options["debug"]:
        # The SDK's own messages are shown only then, but each would be made, with a redacted traceback, and dropped.
        logging.getLogger("sentry_sdk.errors").setLevel(logging.CRITICAL)
    ignore_logger("uvicorn.error")  # the middleware has logged the exception before
    sentry_sdk.set_tag("program", program)


def _integrations(program: Program) -> list[Integration]:
    """The worker itself asks no database, and SQLAlchemy would be an eighth of its memory."""
    level = None if program == "job" else logging.ERROR
    integrations = [LoggingIntegration(level=logging.INFO, event_level=level), HttpxIntegration()]
    if program == "worker":
        return integrations
    from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration

    return [*integrations, SqlalchemyIntegration()]


def capture_error(error: BaseException, **tags: str) -> None:
    """Send an exception as an event, with these tags."""
    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        scope.capture_exception(error)


def capture_message(message: str) -> None:
    """Send an error event without an exception, such as the crash of a run's process."""
    sentry_sdk.capture_message(message, level="error")


@contextmanager
def isolated() -> Iterator[None]:
    """Keep the block's breadcrumbs and tags out of the events of concurrent requests and runs."""
    with sentry_sdk.isolation_scope() if sentry_sdk.get_client().is_active() else nullcontext():
        yield


@contextmanager
def traced(operation: str, name: Callable[[], str]) -> Iterator[None]:
    """As `isolated`, and trace the block as a new transaction, in SENTRY_TRACES_SAMPLE_RATE of the cases.

    `name` is called only then. A trace header of the caller is ignored: clients do not decide what is sampled.
    """
    client = sentry_sdk.get_client()
    if not client.is_active():
        yield
        return
    rate = client.options.get("traces_sample_rate") or 0
    is_sampled = random() < rate  # noqa: S311  not the SDK, which makes a transaction first
    with sentry_sdk.isolation_scope(), open_trace(operation, name(), rate) if is_sampled else nullcontext():
        yield


@contextmanager
def open_trace(operation: str, name: str, rate: float) -> Iterator[Transaction]:
    """Trace the block. `rate` is the share of such blocks that are traced: Sentry extrapolates its counts from it."""
    transaction = sentry_sdk.start_transaction(op=operation, name=name, source="route", sampled=True)
    transaction = cast("Transaction", transaction)
    transaction.sample_rate = rate  # the SDK takes it for 1, as it did not sample itself
    with transaction:
        yield transaction


def record_trace(operation: str, name: str, rate: float, seconds: float, caller: Caller) -> None:
    """Send the trace of something that has taken `seconds` and ends now, without its parts."""
    with sentry_sdk.isolation_scope():
        set_user(caller)
        transaction = sentry_sdk.start_transaction(
            op=operation, name=name, source="route", sampled=True, start_timestamp=time.time() - seconds
        )
        transaction = cast("Transaction", transaction)
        transaction.sample_rate = rate
        transaction.finish()


def set_user(caller: Caller) -> None:
    """Count the errors and traces of this request for its customer or guest, under a pseudonym.

    A server that acts for no customer has none. A customer has another pseudonym in each shop.
    """
    if not sentry_sdk.get_client().is_active() or (caller.is_server and caller.customer_id is None):
        return
    is_customer = caller.customer_id is not None
    name = f"customer:{caller.shop_id}:{caller.customer_id}" if is_customer else caller.name
    sentry_sdk.set_user({"id": hmac.digest(_pseudonym_key, name.encode(), "sha256")[:16].hex()})


def check_in(
    job: str, run_id: UUID, status: Literal["in_progress", "ok", "error"], schedule: MonitorSchedule | None = None
) -> None:
    """Send the check-in of a scheduled run. With `schedule`, Sentry also updates its monitor of missed runs."""
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
    """Wait until all events are sent, for `FLUSH_SECONDS` at most."""
    sentry_sdk.flush(FLUSH_SECONDS)


def secrets_of(settings: Settings) -> set[str]:
    """Return the secret values in the settings, with their comma-separated parts and the passwords in URLs."""
    values = {value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)}
    parts = {part.strip() for value in values for part in value.split(",")}
    urls = [
        settings.database_url,
        settings.database_replica_url or "",
        settings.redis_url,
        *(value for value in values if "://" in value),
    ]
    passwords = {match[1] for url in urls if (match := _URL_PASSWORD.match(url))}
    passwords |= {password for url in urls for password in _OPTION_PASSWORD.findall(url)}
    passwords |= {match[1] for value in values if (match := _URL_KEY.match(value))}
    auth = settings.prefect_api_auth_string
    login = {auth.get_secret_value().partition(":")[2]} if auth else set()
    return (values | parts | passwords | {unquote(password) for password in passwords} | login) - {""}


def scrub(event: Event, _hint: Hint) -> Event:
    """Return a redacted copy of the event, its tags from the current context, its user only an anonymous id."""
    fields, known = cast("dict[str, Any]", event), known_secrets()
    handled = {"request", "user", "exception", "threads", "stacktrace", "tags"} | _SDK_FIELDS
    clean = redact({name: value for name, value in fields.items() if name not in handled}, known)
    clean.update({name: fields[name] for name in _SDK_FIELDS if name in fields})
    if sampling := (fields.get("contexts") or {}).get("trace", {}).get("dynamic_sampling_context"):
        clean["contexts"]["trace"]["dynamic_sampling_context"] = sampling  # becomes the envelope's header
    user_id = str((fields.get("user") or {}).get("id"))
    if _ANONYMOUS_ID.fullmatch(user_id):
        clean["user"] = {"id": user_id}
    if "request" in fields:
        clean["request"] = _scrub_request(fields["request"], known)
    if "exception" in fields:
        exceptions = fields["exception"].get("values", [])
        clean["exception"] = {"values": [_scrub_exception(exception, known) for exception in exceptions]}
    context = current_context()
    clean["tags"] = redact({**dict(fields.get("tags") or {}), **context}, known)
    if "route" in context:  # the transaction is named at the end of the request, after its errors were sent
        clean["transaction"] = f"{context['method']} {context['route']}"
    return cast("Event", clean)


def _scrub_request(request: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the method, the URL without its query, and the allowed headers."""
    headers = {name: value for name, value in dict(request.get("headers") or {}).items() if name.lower() in _HEADERS}
    url = str(request.get("url", "")).partition("?")[0]
    return {"method": request.get("method"), "url": redact(url, known), "headers": redact(headers, known)}


def _scrub_exception(exception: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return type, redacted text and stack frames: files and lines, no values of variables."""
    frames = (exception.get("stacktrace") or {}).get("frames", [])
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        "value": redact(exception.get("value"), known),
        "mechanism": redact(exception.get("mechanism"), known),
        "stacktrace": {"frames": [{name: frame[name] for name in _FRAME_FIELDS if name in frame} for frame in frames]},
    }


def _own_hosts(settings: Settings) -> list[str]:
    """Return patterns of the URLs that outgoing trace headers are sent to: Prefect's and the API's own."""
    urls = [url for url in (settings.prefect_api_url, settings.public_url) if url]
    origins = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls}
    return [f"^{re.escape(origin)}(?:[/?#]|$)" for origin in sorted(origins)]
