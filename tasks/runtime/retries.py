"""The `task` decorator: retry policy, run context, and errors that Prefect may show.

Errors that escape a task leave it redacted: Prefect stores their text in the task run's state.
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from traceback import walk_tb
from typing import Any, Final, ParamSpec, TypedDict, TypeVar, cast

import prefect
from prefect import State
from prefect.client.schemas.objects import TaskRun
from prefect.tasks import Task, exponential_backoff

from tasks.runtime.retry_after import bound_retry_after
from tasks.runtime.run_context import run_context
from wishcraft.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    QueryRefused,
    TransientError,
    WishCraftError,
    in_words,
)
from wishcraft.observability.context import known_secrets
from wishcraft.observability.logs import install_redaction
from wishcraft.observability.redaction import redact_text

# At import: Prefect logs about a run, and calls its server, before the flow starts.
install_redaction()
bound_retry_after()

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGES: Final = frozenset({"api", "deployments", "flows", "tasks", "wishcraft"})
"""Those of the product: a line of a library does not say what the product did."""
MAX_TRIES: Final = 4
TASK_TIMEOUT_SECONDS: Final = 3600.0
"""For one try of a batch: far more than a batch takes, so only a task that hangs is ended, and the failure is seen."""


class RetryPolicy(TypedDict):
    """The retry options of `prefect.task`."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    timeout_seconds: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], Awaitable[bool]]


async def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the task failed with a transient error, which a retry may solve."""
    return isinstance(await state.aresult(raise_on_failure=False), TransientError)


RETRY_POLICY: Final[RetryPolicy] = {
    "retries": MAX_TRIES - 1,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "timeout_seconds": TASK_TIMEOUT_SECONDS,
    "retry_condition_fn": is_transient,
}


def task(
    name: str | Callable[[], str],
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """A Prefect task with the retry policy, the run context and redacted errors; `name` is that of its task runs."""

    def make_task(work: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        @wraps(work)
        async def attempt(*arguments: P.args, **parameters: P.kwargs) -> R:
            with run_context():
                try:
                    return await work(*arguments, **parameters)
                except Exception as error:
                    if isinstance(error, ConfigurationError):
                        raise
                    redacted = _redacted(error)
                    redacted.advice = advice_for(error)  # here: a Dask worker sends neither traceback nor cause
                    if redacted is error:
                        raise
                    raise redacted from error

        return prefect.task(task_run_name=name, **RETRY_POLICY)(attempt)

    return make_task


def problem_of(error: BaseException) -> str:
    """The error as one line without secrets: its kind in words, if its text does not say so, and the text's first line.

    Of two with the same first word (`Shopify unavailable: Shopify answered 503`), the text says more.
    """
    kind = "refused" if isinstance(error, QueryRefused) else in_words(error)  # most refusals are not of a query
    is_said = type(error) in {WishCraftError, TransientError} or str(error).startswith(f"{kind.partition(' ')[0]} ")
    problem = redact_text(str(error) if is_said else f"{kind}: {error}", known_secrets()).partition("\n")[0]
    return problem if is_said else (problem[:1].upper() + problem[1:]).removesuffix(": ")


def advice_for(error: BaseException) -> str:
    """Advice for a person about the error. Of one without advice, which nothing expects, it names type and place.

    It quotes nothing of the error's text, which may hold personal data.
    """
    if advice := getattr(error, "advice", ""):
        return str(advice)
    place = _place_of(error)
    return (
        f"The code does not expect this error: {type(error).__name__}{place and f' in {place}'}. Run the job once more:"
        " what was done is not repeated. If it fails in the same way, report this page and the end of the run's log to"
        " the developers."
    )


def _place_of(error: BaseException) -> str:
    """The last line of the product's own code on the way to the error, or to what caused it; empty if none is known."""
    place, cause = "", cast("BaseException | None", error)
    while cause:
        for frame, line in walk_tb(cause.__traceback__):
            module = str(frame.f_globals.get("__name__"))
            if module.partition(".")[0] in _PACKAGES:
                place = f"{frame.f_code.co_name} ({module.replace('.', '/')}.py, line {line})"
        cause = cause.__cause__
    return place


def _redacted(error: Exception) -> WishCraftError:
    """The error itself if its text holds no secret, else one of the same meaning with a redacted text."""
    text = redact_text(str(error), known_secrets())
    if isinstance(error, WishCraftError) and text == str(error):
        return error
    if isinstance(error, QueryRefused | DatabaseUnavailable):
        return type(error)(text)
    return (TransientError if isinstance(error, TransientError) else WishCraftError)(problem_of(error))
