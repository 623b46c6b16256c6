"""Receivers, consumers, Redis and PostgreSQL are killed at random while webhooks come repeated and out of order."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import httpx
import orjson
import psycopg
import pytest

from deployments.sandbox.demo import add_key, seed
from deployments.sandbox.http_probe import responds
from deployments.sandbox.postgres import confine_analysts, prepare_postgres
from deployments.sandbox.processes import ROOT, Program, free_port
from tests.support.aliases import Demo
from tests.support.job_processes import environment
from tests.support.killable_process import KillableProcess
from tests.support.valkey import OwnValkey
from tests.support.waiting import block_until, wait_until
from tests.support.webhooks import WishedItem, apply, find_items, life_of_an_order, order_state, signed_headers
from wishcraft.migrations import upgrade
from wishcraft.resources import open_resources
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.settings import Settings
from wishcraft.store import shops

pytestmark = [pytest.mark.chaos, pytest.mark.long]
SHOP = "maple-and-pine.myshopify.com"
MESSAGES: Final = int(os.environ.get("WISHCRAFT_CHAOS_WEBHOOKS", "2000"))
"""How many are sent, a third of them repetitions."""
SERIAL: Final = "serial"
"""The database in which each webhook is handled once, in order."""
MESSAGES_PER_KILL: Final = 150
SENDERS: Final = 16


class Killable(Protocol):
    """A process that can be killed and started again."""

    def kill(self) -> None: ...
    def start(self) -> None: ...


class OwnPostgres(KillableProcess):
    """A PostgreSQL of its own. A killed one keeps what it has committed."""

    def __init__(self, folder: Path) -> None:
        self._server = prepare_postgres(folder)
        self.url = self._server.url
        super().__init__(self._server.program, folder / "postgres.log")
        block_until(self._server.ready)

    def start(self) -> None:
        super().start()  # it exits at once while children of the killed one hold its memory
        block_until(lambda: self._server.ready() or not self.is_running(), self._log.read_text)
        if not self.is_running():
            self.start()


class Stack(NamedTuple):
    """Everything that takes part."""

    settings: Settings
    postgres: OwnPostgres
    valkey: OwnValkey
    api: KillableProcess
    consumers: Sequence[KillableProcess]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    def killable(self) -> list[Killable]:
        return [self.api, *self.consumers, self.valkey, self.postgres]


@pytest.fixture
def stack(tmp_path: Path, base_settings: Settings, own_valkey: OwnValkey) -> Iterator[Stack]:
    """An API process and two consumers on stores of their own, with demo data."""
    postgres = OwnPostgres(tmp_path)
    url = postgres.url.replace("postgresql:", "postgresql+psycopg:")
    settings = base_settings.model_copy(
        update={
            "database_url": url,
            "database_replica_url": None,
            "redis_url": own_valkey.url,
            "api_port": free_port(),
            "rate_limit_per_minute": 1_000_000,
        }
    )
    confine_analysts(postgres.url)
    upgrade(url)
    seed(settings, 12, 7, date(2026, 3, 14))
    with connected(postgres.url) as connection:
        connection.execute("TRUNCATE webhook_events")
    with connected(f"{postgres.url.rpartition('/')[0]}/template1") as connection:
        connection.execute(f"CREATE DATABASE {SERIAL} TEMPLATE postgres".encode())

    def module(*arguments: str) -> KillableProcess:
        program = Program("", (sys.executable, "-m", *arguments), cwd=ROOT, env=environment(settings))
        return KillableProcess(program, tmp_path / f"{arguments[0]}.log")

    stack = Stack(settings, postgres, own_valkey, module("api"), [module("deployments.webhooks") for _ in range(2)])
    try:
        block_until(lambda: responds(f"{stack.url}/health/readiness"))
        yield stack
        # The last one to be killed may not be far enough yet to end in its own way.
        assert {each.stop(signal.SIGTERM) for each in (stack.api, *stack.consumers)} <= {0, -signal.SIGTERM}
    finally:
        for each in (stack.api, *stack.consumers):
            each.kill()
        postgres.stop(signal.SIGINT)


@contextmanager
def connected(url: str) -> Iterator[Demo]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class Traffic:
    """Sends webhooks as Shopify does: again until they are answered 200."""

    def __init__(self, stack: Stack, messages: Sequence[Message]) -> None:
        self._stack = stack
        self._left = list(messages)
        self.accepted = 0

    async def send(self) -> None:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            while self._left:
                message = self._left.pop()
                while not await self._is_accepted(client, message):  # noqa: ASYNC110  as Shopify, it has no event
                    await asyncio.sleep(0.05)
                self.accepted += 1

    async def _is_accepted(self, client: httpx.AsyncClient, message: Message) -> bool:
        body = orjson.dumps(message.payload)
        secret = self._stack.settings.shopify_api_secret.get_secret_value()
        headers = signed_headers(secret, body, message.topic, SHOP, f"webhook-{message.id}")
        assert message.triggered_at
        headers["X-Shopify-Triggered-At"] = message.triggered_at.isoformat()
        try:
            answer = await client.post(f"{self._stack.url}/api/webhooks/shopify", content=body, headers=headers)
        except httpx.TransportError:
            return False
        assert answer.status_code in {200, 503}, answer.text
        return answer.status_code == 200


async def kill_at_random(stack: Stack, traffic: Traffic, chance: random.Random) -> int:
    """Kill and start one process after the other while webhooks are accepted, each at least once; how many."""
    kills = 0
    for due in range(MESSAGES_PER_KILL // 2, MESSAGES, MESSAGES_PER_KILL):
        await wait_until(lambda due=due: traffic.accepted >= due, "webhooks are not accepted")  # type: ignore[misc]
        victims = stack.killable()
        victim = victims[kills] if kills < len(victims) else chance.choice(victims)
        victim.kill()
        await asyncio.sleep(chance.uniform(0, 0.5))  # it is gone for this time
        await asyncio.to_thread(victim.start)
        kills += 1
    return kills


def received(items: Sequence[WishedItem], chance: random.Random) -> tuple[list[list[Message]], list[Message]]:
    """The webhooks of many orders, in order and up to a random one; and what is sent: a third repeated, shuffled."""
    lives = list[list[Message]]()
    while sum(map(len, lives)) < MESSAGES * 3 // 4:
        life = life_of_an_order(items[len(lives) % len(items)], len(lives))
        lives.append(life[: chance.randint(1, len(life))])
    once = [each for life in lives for each in life]
    sent = once + chance.choices(once, k=MESSAGES - len(once))
    chance.shuffle(sent)
    return lives, sent


async def handle_one_after_the_other(settings: Settings, lives: Sequence[Sequence[Message]]) -> None:
    """Handle each webhook once, in the order of its events, while nothing fails."""
    async with open_resources(settings, redis_timeout=5) as resources:
        async with resources.db.autocommit() as session:
            [shop] = await shops.find_active(session, [SHOP])
        for life in lives:
            await apply(resources, shop, HANDLERS["orders/create"], life)


async def purchased_in_api(stack: Stack, connection: Demo) -> dict[str, int]:
    """Items' purchased pieces as the API answers, by item id."""
    headers = {"X-API-Key": add_key(connection, 1).key}
    slugs = connection.execute("SELECT slug FROM registries WHERE shop_id = 1 AND status = 'active'").fetchall()
    found = dict[str, int]()
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30, trust_env=False) as client:
        for (slug,) in slugs:
            answer = await client.get(f"/api/registries/{slug}")
            if answer.status_code == 200:  # not a private one
                found |= {str(item["id"]): item["purchased"] for item in answer.json()["items"]}
    return found


async def test_killed_at_random_each_webhook_counts_once(
    stack: Stack, redis_url: str, request: pytest.FixtureRequest
) -> None:
    seed_of_chance = request.config.getoption("randomly_seed", 0)
    chance = random.Random(seed_of_chance)  # noqa: S311  test data
    serial = stack.settings.model_copy(
        update={"database_url": f"{stack.settings.database_url.rpartition('/')[0]}/{SERIAL}", "redis_url": redis_url}
    )
    with connected(plain(serial.database_url)) as oracle:
        find_items(oracle)
    with connected(stack.postgres.url) as connection:
        items = find_items(connection)
    lives, sent = received(items, chance)
    traffic = Traffic(stack, sent)
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(traffic.send())
        killing = group.create_task(kill_at_random(stack, traffic, chance))
    assert killing.result() >= len(stack.killable())
    await handle_one_after_the_other(serial, lives)
    with connected(stack.postgres.url) as connection, connected(plain(serial.database_url)) as oracle:
        await wait_until(lambda: count(connection, None) == 0, "webhooks are left", pause=0.2)
        assert count(connection, "applied") + count(connection, "ignored") == sum(map(len, lives))
        assert count(connection, "dead") == 0
        assert order_state(connection) == order_state(oracle)
        shown = await purchased_in_api(stack, connection)
        rows = connection.execute("SELECT id::text, quantity_purchased FROM registry_items").fetchall()
        assert shown.items() <= dict(rows).items()
        assert sum(shown.values()) > 0


def count(connection: Demo, outcome: str | None) -> int:
    query = "SELECT count(*) FROM webhook_events WHERE outcome IS NOT DISTINCT FROM %s"
    [(number,)] = connection.execute(query, [outcome]).fetchall()
    return int(number)


def plain(url: str) -> str:
    """For psycopg."""
    return url.replace("+psycopg", "")
