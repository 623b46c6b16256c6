"""The tasks of the job `replay-erasures`. Only the names of the journal's entries become parameters."""

from collections.abc import Mapping

from tasks.runtime.retries import task
from tasks.runtime.work_items import WorkState, work_on_items
from wishcraft.domain.batches import batches
from wishcraft.resources import open_resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.services.privacy import journal

_PER_TASK = 100


@task("read the journal of erasures")
async def find_erasures() -> list[list[str]]:
    """The names of all entries, the oldest first, in one batch per task.

    Raises:
        ConfigurationError: A file is not an entry.
    """
    async with open_resources() as resources:
        names = [entry.name for entry in await journal.read(resources.files)]
    return [list(batch) for batch in batches(names, _PER_TASK)]


@task("replay erasures")
async def replay_erasures(names: list[str], *, dry_run: bool) -> WorkState:
    """Erase again what the entries with these names say.

    Raises:
        TransientError: As `work_on_items`.
    """
    async with open_resources(redis_timeout=5) as resources:
        entries = {entry.name: entry for entry in await journal.read(resources.files) if entry.name in names}

        async def work(entry: journal.JournalEntry, _checkpoint: Checkpoint, _changes: Changes) -> Mapping[str, int]:
            return await journal.replay(resources, entry, dry_run=dry_run)

        return await work_on_items(entries, work, "erasure")
