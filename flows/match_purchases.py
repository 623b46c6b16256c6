"""The job `match-purchases`."""

from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.match_purchases import list_unmatched, match_line_item
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.errors import QueryRefused

Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]


@job("match-purchases")
async def match_purchases(
    shop: str, unmatched: Id | None = None, item: Id | None = None, dismiss: bool = False
) -> State[None]:
    """Match a line item that names no item of its variant with an item, or dismiss it; then show those that are left.

    Args:
        shop: Domain of the shop, such as maple-and-pine.myshopify.com.
        unmatched: Id of a line item, as the table shows it. Empty: only show the table.
        item: Id of the item that it was bought for. Its variant may differ.
        dismiss: The line item was bought for no item.
    """
    if unmatched and dismiss == bool(item):
        raise QueryRefused("unmatched needs either item or dismiss")
    if not unmatched and (item or dismiss):
        raise QueryRefused("item and dismiss need unmatched")
    if unmatched:
        await match_line_item(shop, unmatched, item)
    return await publish("match-purchases", await list_unmatched(shop))
