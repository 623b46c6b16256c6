"""The job `webhook-sweep`."""

from prefect import State
from prefect.states import Completed

from flows.runtime.job import job
from tasks.webhook_dead_letters import sweep_inbox


@job("webhook-sweep")
async def webhook_sweep() -> State[dict[str, int]]:
    """Put webhooks that are due and not handled into the queue. Consumers do it by themselves every five seconds."""
    queued = await sweep_inbox()
    return Completed(message=f"Webhooks put into the queue: {queued:,}.", data={"queued": queued})
