"""How a task is tried: what is worth a retry, and how one shop's trouble is kept from the others of its batch.

And what is told of it: neither its logs nor its errors, which Prefect shows, hold what is not to be told.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypedDict, TypeVar

import prefect
from prefect import State
from prefect.client.schemas.objects import TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.tasks import Task, exponential_backoff

from tasks.runtime.progress import BatchProgress
from tasks.runtime.run_context import run_context
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import (
    ConfigurationError,
    DatabaseRejected,
    DatabaseUnavailable,
    QuestionRefused,
    RunStopped,
    TransientError,
    WishCraftError,
)
from wishcraft.observability.context import known_secrets, log_context
from wishcraft.observability.logs import install_redaction
from wishcraft.observability.redaction import redact_text
from wishcraft.observability.sentry import capture_error
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

install_redaction()  # here, for what Prefect logs of a run begins before its flow does

P = ParamSpec("P")
R = TypeVar("R")
Work = Callable[[Resources, ShopRef, Checkpoint], Awaitable[dict[str, int]]]
"""What a job does for one shop: its counts."""

ATTEMPTS: Final = 4
TASK_SECONDS: Final = 3600.0
"""Each try of a batch: far more than one ever takes, so that what hangs ends, and is seen."""


class Retries(TypedDict):
    """The retry options of `prefect.task`, so that all tasks are tried alike."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    timeout_seconds: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], Awaitable[bool]]


async def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the failure may be gone on the next try."""
    return isinstance(await state.aresult(raise_on_failure=False), TransientError)


RETRIES: Final[Retries] = {
    "retries": ATTEMPTS - 1,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "timeout_seconds": TASK_SECONDS,
    "retry_condition_fn": is_transient,
}


def task(
    name: str | Callable[[], str],
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """A Prefect task whose runs have this name, that is tried as often as is worth it, and reports as its run does."""

    def make_task(work: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        @wraps(work)
        async def attempt(*arguments: P.args, **parameters: P.kwargs) -> R:
            with run_context():
                try:
                    return await work(*arguments, **parameters)
                except Exception as error:
                    if isinstance(error, ConfigurationError) or (shown := _presentable(error)) is error:
                        raise
                    raise shown from error

        return prefect.task(task_run_name=name, **RETRIES)(attempt)

    return make_task


def _presentable(error: Exception) -> WishCraftError:
    """The error as Prefect may show it: it writes the text of one that escapes a task into the task run's state."""
    text = redact_text(str(error), known_secrets())
    if isinstance(error, WishCraftError) and text == str(error):
        return error
    if isinstance(error, QuestionRefused | DatabaseUnavailable):
        return type(error)(text)
    return (TransientError if isinstance(error, TransientError) else WishCraftError)(problem_of(error))


def shop_names(verb: str) -> Callable[[], str]:
    """Names a task run by what it does to which shops: `warm a.myshopify.com and 2 more`."""

    def name() -> str:
        domains: list[str] = task_run.parameters["domains"]
        more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
        return f"{verb} {domains[0]}{more}"

    return name


async def for_each_shop(domains: Sequence[str], work: Work) -> list[WorkResult]:
    """Do the work for each shop in turn; a shop's failure is its own outcome and stops no other.

    Once the run is asked to stop, the shop at hand ends at its next checkpoint, and no other begins.

    Raises:
        TransientError: Some shop failed in a way that may pass and attempts are left. The shops that went well are
            done again then, which is cheap: the work finds nothing to do.
    """
    async with open_resources(redis_timeout=5) as resources:
        async with resources.db.repeatable_read() as session:
            found = await shops.find_active(session, domains)
        outcomes, failures = await _in_turn(resources, found, work)
    may_pass = [f"{o.shop} ({o.problem})" for o, error in failures if isinstance(error, TransientError)]
    if may_pass and task_run.run_count < ATTEMPTS and not any(outcome.stopped for outcome in outcomes):
        raise TransientError("; ".join(may_pass))
    for outcome, error in failures:  # of the last try alone
        capture_error(error, shop=outcome.shop)
    return outcomes


Failure = tuple[WorkResult, Exception]


async def _in_turn(
    resources: Resources, found: Sequence[ShopRef], work: Work
) -> tuple[list[WorkResult], list[Failure]]:
    """The shops' outcomes, and the failures among them with their errors."""
    progress = BatchProgress(len(found))
    outcomes: list[WorkResult] = []
    failures: list[Failure] = []
    for shop in found:
        started = time.perf_counter()
        try:
            with log_context(shop=shop.domain):
                await progress.checkpoint(0, 1)
                counts = await work(resources, shop, progress.checkpoint)
        except RunStopped:
            undone = found[len(outcomes) :]
            return [*outcomes, *(WorkResult(each.domain, stopped=True) for each in undone)], failures
        except Exception as error:  # noqa: BLE001  whatever it is, the other shops of the batch go on
            outcome = _failed(shop, error, time.perf_counter() - started)
            failures.append((outcome, error))
        else:
            outcome = WorkResult(shop.domain, counts, time.perf_counter() - started, tries=task_run.run_count)
        outcomes.append(outcome)
        progress.finish_shop()
    return outcomes, failures


def _failed(shop: ShopRef, error: Exception, seconds: float) -> WorkResult:
    if isinstance(error, DatabaseRejected) or not isinstance(error, WishCraftError):
        get_run_logger().error("%s failed", shop.domain, exc_info=error)
    return WorkResult(shop.domain, {}, seconds, problem_of(error), advice_for(error), task_run.run_count)


def problem_of(error: BaseException) -> str:
    """The error as one line: its kind, if that says anything, and the first line of its text, without secrets."""
    kind = "" if type(error) in {WishCraftError, TransientError} else f"{type(error).__name__}: "
    return redact_text(f"{kind}{error}".partition("\n")[0], known_secrets())


def advice_for(error: BaseException) -> str:
    """What a person can do about the error."""
    return getattr(error, "advice", WishCraftError.advice)
