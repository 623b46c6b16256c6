import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from wishcraft.cache.client import Server, connect
from wishcraft.errors import CacheUnavailable

TIMEOUT_SECONDS: Final = 2.0
"""Waited for in full where a test stops the server; otherwise enough on a busy machine."""


@pytest.fixture
async def guarded(own_valkey: OwnValkey) -> AsyncIterator[Server]:
    server = connect(own_valkey.url, timeout=TIMEOUT_SECONDS, with_breaker=True, breaker_read_timeout=TIMEOUT_SECONDS)
    await server.learn_era()
    yield server
    await server.close()


async def wait_until_closed(server: Server) -> None:
    """Wait until the breaker has closed."""
    breaker = server.breaker
    assert breaker
    await wait_until(lambda: not breaker.is_open)


async def test_first_timeout_opens_and_later_commands_fail_at_once(
    guarded: Server, own_valkey: OwnValkey, caplog: pytest.LogCaptureFixture
) -> None:
    assert guarded.breaker
    await guarded.batched_reader.get("k")
    own_valkey.pause()
    with pytest.raises(CacheUnavailable):
        await guarded.batched_reader.get("k")
    assert guarded.breaker.is_open
    assert "until it does: no reply for 2.0 s" in caplog.text
    for _ in range(1000):
        with pytest.raises(CacheUnavailable, match="a moment ago"):  # the breaker's refusal, not a timeout
            await guarded.batched_reader.get("k")
    own_valkey.resume()
    await wait_until_closed(guarded)
    assert await guarded.batched_reader.get("k") is None


@pytest.mark.parametrize("kind", ["read", "script", "ping"])
async def test_breaker_closes_after_a_killed_server_has_restarted(
    guarded: Server, own_valkey: OwnValkey, kind: str
) -> None:
    commands = {"read": lambda: guarded.batched_reader.get("k"), "script": guarded.learn_era, "ping": guarded.memory}
    await asyncio.to_thread(own_valkey.kill)
    with pytest.raises(CacheUnavailable):
        await commands[kind]()
    await asyncio.to_thread(own_valkey.start)
    await wait_until_closed(guarded)
    assert await guarded.batched_reader.get("k") is None


@pytest.mark.parametrize("error", [CacheUnavailable("gone again"), ValueError("a bug")])
async def test_breaker_stays_open_while_the_probe_fails(
    guarded: Server, own_valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert guarded.breaker
    probes = 0

    async def probe() -> None:
        nonlocal probes
        probes += 1
        with pytest.raises(CacheUnavailable):
            await guarded.batched_reader.get("k")
        if probes < 3:
            raise error

    monkeypatch.setattr(guarded.breaker, "_probe", probe)
    await asyncio.to_thread(own_valkey.kill)
    with pytest.raises(CacheUnavailable):
        await guarded.batched_reader.get("k")
    await asyncio.to_thread(own_valkey.start)
    await wait_until_closed(guarded)
    assert probes == 3
