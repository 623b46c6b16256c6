"""Conditional reads on the fast path: the header of an entry says whether the client has the last version."""

import asyncio
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.fast_path import FastPath, Read
from tests.support.aliases import Demo
from tests.support.api import app_state_of, public_slug
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache import entries
from wishcraft.cache.batched_reader import OnReply
from wishcraft.cache.keys import entry_key
from wishcraft.cache.registries import CacheState


async def test_client_with_the_last_version_costs_no_read_of_the_body(
    client: httpx.AsyncClient, demo: Demo, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    whole = [await client.get(url, headers=key) for _ in range(2)][1]
    lengths = list[int]()
    finish = FastPath.finish

    def record(fast_path: FastPath, read: Read, slug: str, raw: bytes, loaded: CacheState | None) -> Any:
        lengths.append(len(raw) - entries.HEADER_SIZE)
        return finish(fast_path, read, slug, raw, loaded)

    monkeypatch.setattr(FastPath, "finish", record)
    same = await client.get(url, headers={**key, "If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.headers["x-cache"], lengths) == (304, "hit", [0])
    other = await client.get(url, headers={**key, "If-None-Match": '"1-0000000000000000"'})
    assert (other.status_code, other.headers["x-cache"], other.content) == (200, "hit", whole.content)
    assert lengths == [0, 0, len(whole.content)]


async def test_entry_that_goes_after_its_header_was_read_is_loaded(
    client: httpx.AsyncClient, demo: Demo, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    whole = [await client.get(url, headers=key) for _ in range(2)][1]
    reader = app_state_of(client).resources.redis.batched_reader
    read = reader.read

    def read_late(key: str, on_reply: OnReply, *, only_header: bool = False) -> None:
        read(key if only_header else "none", on_reply, only_header=only_header)

    monkeypatch.setattr(reader, "read", read_late)
    loaded = await client.get(url, headers={**key, "If-None-Match": '"1-0000000000000000"'})
    assert (loaded.status_code, loaded.headers["x-cache"], loaded.content) == (200, "miss", whole.content)


async def test_entry_without_a_body_is_a_miss(
    client: httpx.AsyncClient, demo: Demo, key: dict[str, str], redis: Redis
) -> None:
    slug = public_slug(demo)
    url, entry = f"/api/registries/{slug}", entry_key(1, slug)
    whole = await client.get(url, headers=key)
    for conditions in ({}, {"If-None-Match": '"1-0000000000000000"'}):
        await redis.set(entry, (await redis.get(entry) or b"")[: entries.HEADER_SIZE], ex=60)
        answer = await asyncio.wait_for(client.get(url, headers=key | conditions), PATIENCE_SECONDS)
        assert (answer.status_code, answer.headers["x-cache"], answer.content) == (200, "miss", whole.content)
