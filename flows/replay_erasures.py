"""The job `replay-erasures`."""

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.replay_erasures import find_erasures
from tasks.replay_erasures import replay_erasures as replay


@job("replay-erasures")
async def replay_erasures(dry_run: bool = False) -> State[dict[str, int]]:
    """Erase again the people and shops that were erased after the backup from which PostgreSQL was restored.

    It reads the journal in FILES_URL, which has numbers and hashes only. Without a restore it changes nothing.

    Args:
        dry_run: Count the registries that would be deleted or changed, and erase nothing.
    """
    results = await run_batches(replay, await find_erasures(), dry_run=dry_run)
    return await summarise("replay-erasures", results, noun="erasure")
