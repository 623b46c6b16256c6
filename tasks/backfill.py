"""What a backfill asks Prefect: which of its steps have been done, and whether it is to go on."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run

from tasks.runtime.progress import is_to_end
from wishcraft.domain.batches import batches

_TAGS_AT_ONCE: Final = 100
_RUNS_AT_ONCE: Final = 200
"""What Prefect's server gives out at most."""


async def find_completed(tags: Sequence[str]) -> set[str]:
    """Those of the tags with which some run has ended well."""
    found: set[str] = set()
    async with get_client() as client:
        for some in batches(tags, _TAGS_AT_ONCE):
            chosen = FlowRunFilter.model_validate(
                {"tags": {"any_": list(some)}, "state": {"type": {"any_": [StateType.COMPLETED]}}}
            )
            offset = 0
            while page := await client.read_flow_runs(flow_run_filter=chosen, limit=_RUNS_AT_ONCE, offset=offset):
                found.update(tag for run in page for tag in run.tags)
                offset += len(page)
    return found & set(tags)


async def is_stopping() -> bool:
    """Whether this run was asked to end."""
    async with get_client() as client:
        state = (await client.read_flow_run(UUID(str(flow_run.id)))).state
    return state is not None and is_to_end(state)
