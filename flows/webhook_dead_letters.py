"""The job `webhook-dead-letters`."""

from typing import Annotated, Final, Literal

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.webhook_dead_letters import decide_dead_letters, inspect_dead_letters, list_dead_letters
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.errors import QueryRefused

Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
MOST_INSPECTED: Final = 20


@job("webhook-dead-letters")
async def webhook_dead_letters(
    action: Literal["list", "inspect", "replay", "discard"] = "list",
    ids: Annotated[list[Id], Field(max_length=500)] | None = None,
    shop: str | None = None,
    every: bool = False,
) -> State[None]:
    """List the webhooks that failed for good, show why, handle them again, or discard them.

    Args:
        action: list them, inspect some (failures, and the payload without personal data), replay or discard them.
        ids: Ids of dead letters, as the list shows them: to inspect (at most 20), to replay or to discard.
        shop: Only those of this shop, such as maple-and-pine.myshopify.com. All shops if empty.
        every: Replay or discard every dead letter of the shop, or of all shops, at most 10,000, instead of ids.
    """
    domain = shop.strip().lower() if shop and shop.strip() else None
    if action == "list":
        if ids or every:
            raise QueryRefused("the action list takes no ids: choose inspect, replay or discard")
        page = await list_dead_letters(domain)
    elif bool(ids) == every or (every and action == "inspect"):
        raise QueryRefused(f"{action} needs ids{'' if action == 'inspect' else ', or every'}: the list shows the ids")
    elif action == "inspect":
        if len(ids or ()) > MOST_INSPECTED:
            raise QueryRefused(f"inspect takes at most {MOST_INSPECTED} ids")
        page = await inspect_dead_letters(domain, ids or [])
    else:
        page = await decide_dead_letters(domain, None if every else ids, action)
    return await publish("webhook-dead-letters", page)
