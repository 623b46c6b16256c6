"""How a task is tried: what is worth a retry, and how one shop's trouble is kept from the others of its batch."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypedDict

from prefect import State
from prefect.client.schemas.objects import TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.tasks import Task, exponential_backoff
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from wishcraft.domain.outcomes import ShopOutcome
from wishcraft.errors import TransientError, WishCraftError
from wishcraft.resources import Resources, open_resources
from wishcraft.services.progress import Checkpoint, no_checkpoint
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

Work = Callable[[Resources, ShopRef, Checkpoint], Awaitable[dict[str, int]]]
"""What a job does for one shop: its counts."""

TRANSIENT: Final = (TransientError, OperationalError, InterfaceError, PoolTimeout)
ATTEMPTS: Final = 4


class Retries(TypedDict):
    """The retry options of `prefect.task`, so that all tasks are tried alike."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], Awaitable[bool]]


async def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the failure may be gone on the next try."""
    return isinstance(await state.aresult(raise_on_failure=False), TRANSIENT)


RETRIES: Final[Retries] = {
    "retries": ATTEMPTS - 1,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


def shop_names(verb: str) -> Callable[[], str]:
    """Names a task run by what it does to which shops: `warm a.myshopify.com and 2 more`."""

    def name() -> str:
        domains: list[str] = task_run.parameters["domains"]
        more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
        return f"{verb} {domains[0]}{more}"

    return name


async def for_each_shop(domains: Sequence[str], work: Work) -> list[ShopOutcome]:
    """Do the work for each shop in turn; a shop's failure is its own outcome and stops no other.

    Raises:
        TransientError: Some shop failed in a way that may pass and attempts are left. The shops that went well are
            done again then, which is cheap: the work finds nothing to do.
    """
    async with open_resources(redis_timeout=5) as resources:
        async with resources.db.snapshot() as session:
            found = await shops.find_active(session, domains)
        outcomes = [await _attempt(resources, shop, work) for shop in found]
    passing = [f"{outcome.shop} ({outcome.problem})" for outcome, may_pass in outcomes if may_pass]
    if passing and task_run.run_count < ATTEMPTS:
        raise TransientError("; ".join(passing))
    return [outcome for outcome, _ in outcomes]


async def _attempt(resources: Resources, shop: ShopRef, work: Work) -> tuple[ShopOutcome, bool]:
    """The shop's outcome, and whether its failure may pass."""
    started = time.perf_counter()
    try:
        counts = await work(resources, shop, no_checkpoint)
    except Exception as error:  # noqa: BLE001  whatever it is, the other shops of the batch go on
        if not isinstance(error, WishCraftError):
            get_run_logger().exception("%s failed", shop.domain)
        problem = f"{type(error).__name__}: {error}".partition("\n")[0]
        failed = ShopOutcome(shop.domain, {}, time.perf_counter() - started, problem)
        return failed, isinstance(error, TRANSIENT)
    return ShopOutcome(shop.domain, counts, time.perf_counter() - started), False
