"""A job whose machine is lost right after its run became Running, before the first heartbeat."""

from typing import Any

from prefect import State
from prefect.states import Completed

from flows.runtime.job import job
from tests.support.worker_loss import die_with_worker


@job("dying-job")
async def _work() -> State[None]:
    """Do nothing."""
    return Completed(message="done")


def die(*_: Any, **__: Any) -> None:
    """Hook of Prefect."""
    die_with_worker()


dying_job = _work.with_options(on_running=[die])
