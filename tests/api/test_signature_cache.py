"""What the process keeps of signed queries, which visitors can make as long and as many as they like."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from psycopg import Connection

from tests.support.api import app_state_of, public_slug
from wishcraft.settings import Settings

Demo = Connection[tuple[Any, ...]]
OpenClient = Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]


async def test_padded_queries_are_kept_by_their_digests(
    client: httpx.AsyncClient, demo: Demo, signed: Callable[..., str]
) -> None:
    path = f"/api/registries/{public_slug(demo)}"
    for number in range(5):
        answer = await client.get(f"{path}?{signed(pad='x' * 20_000, n=str(number))}")
        assert answer.status_code == 200
    kept = app_state_of(client).authenticator._verified
    assert len(kept) == 5
    assert all(len(key) == 16 for key in kept)


@pytest.mark.usefixtures("one_window")
async def test_query_over_the_rate_limit_is_not_kept(
    settings: Settings, demo: Demo, open_client: OpenClient, signed: Callable[..., str]
) -> None:
    path = f"/api/registries/{public_slug(demo)}"
    async with open_client(settings.model_copy(update={"rate_limit_per_minute": 2})) as client:
        statuses = [(await client.get(f"{path}?{signed(n=str(number))}")).status_code for number in range(9)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert len(app_state_of(client).authenticator._verified) == statuses.count(200)
