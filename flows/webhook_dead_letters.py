"""The job `webhook-dead-letters`."""

from typing import Annotated, Literal

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.webhook_dead_letters import decide_dead_letters, list_dead_letters
from wishcraft.errors import QueryRefused


@job("webhook-dead-letters")
async def webhook_dead_letters(
    action: Literal["list", "replay", "discard"] = "list",
    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] | None = None,
    shop: str | None = None,
) -> State[None]:
    """List the webhooks that failed for good, handle some of them anew, or discard them.

    Args:
        action: What to do: list them, replay those with these ids, or discard them.
        ids: Ids of dead letters, as the list shows them, to replay or to discard.
        shop: List only those of this shop, such as maple-and-pine.myshopify.com. All shops if empty.
    """
    if action == "list":
        page = await list_dead_letters(shop.strip().lower() if shop else None)
    elif ids:
        page = await decide_dead_letters(ids, action)
    else:
        raise QueryRefused(f"{action} needs ids: run this job with the action list to see them")
    return await publish("webhook-dead-letters", "Dead letters of webhooks", page)
