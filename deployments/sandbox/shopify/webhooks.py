"""Sends webhooks to the app as Shopify does: signed, delayed, out of order, sometimes twice, and again if they fail.

https://shopify.dev/docs/apps/build/webhooks
"""

import asyncio
import base64
import hmac
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx
import orjson

from wishcraft.errors import in_words

PATH: Final = "/api/webhooks/shopify"
API_VERSION: Final = "2026-10"
ANSWER_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 1.0
RETRY_SECONDS: Final = (60, 180, 420, 900, 1_800, 2_700, 3_600, 4_740)
"""Between the tries: eight in four hours, as Shopify documents; its exact times are not published."""
MAX_PENDING: Final = 20_000
"""Webhooks on their way at once; more are lost, as Shopify guarantees no delivery."""
AT_ONCE: Final = 32
"""Requests at once."""
SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Habits:
    """Delivery habits of webhooks."""

    delayed: float = 0.3
    """Share of the webhooks that are delayed, so that later ones overtake them."""
    longest_delay: float = 5.0
    """Seconds."""
    repeated: float = 0.1
    """Share of those that were accepted that are sent a second time."""
    lost: float = 0.0
    """Share of those that are never sent."""
    compression: float = 60.0
    """How many times faster than Shopify failed ones are sent again."""


@dataclass(slots=True)
class Delivery:
    """A webhook on its way, as people see it."""

    shop: str
    topic: str
    description: str
    webhook_id: str
    triggered_at: str
    tries: int = 0
    answer: str = "waits"
    """Status of the last answer, or what went wrong."""
    milliseconds: int = 0
    state: str = "on its way"
    """Afterwards `accepted`, `given up` or `lost`."""


@dataclass(slots=True)
class Totals:
    """Webhooks since the start."""

    sent: int = 0
    accepted: int = 0
    repeated: int = 0
    tried_again: int = 0
    given_up: int = 0
    lost: int = 0
    pending: int = 0


@dataclass(slots=True)
class WebhookSender:
    """Sends the webhooks of all shops. Without an `http` client, whose base URL is the app's, it sends nothing."""

    secret: str
    clock: Callable[[], float]
    random: random.Random
    habits: Habits = field(default_factory=Habits)
    http: httpx.AsyncClient | None = None
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    totals: Totals = field(default_factory=Totals)
    recent: deque[Delivery] = field(default_factory=lambda: deque(maxlen=SHOWN))
    """Newest first."""
    answer_seconds: float = ANSWER_SECONDS
    max_pending: int = MAX_PENDING
    _microseconds: int = 0
    """Time of the last event."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def publish(self, shop: str, topic: str, payload: dict[str, Any], description: str) -> None:
        """Send a webhook about an event of this moment."""
        if self.http is None:
            return
        # Later events have later times, however coarse the clock is.
        self._microseconds = max(int(self.clock() * 1_000_000), self._microseconds + 1)
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self._microseconds)
        at = moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        # Not of the generator: after a restart, its ids would be those of webhooks that the app has had.
        delivery = Delivery(shop, topic, description, str(uuid4()), at)
        self.recent.appendleft(delivery)
        if self.totals.pending >= self.max_pending or self.random.random() < self.habits.lost:
            self.totals.lost += 1
            delivery.state = "lost"
            return
        body = orjson.dumps(payload)
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": base64.b64encode(hmac.digest(self.secret.encode(), body, "sha256")).decode(),
            "X-Shopify-Shop-Domain": shop,
            "X-Shopify-Webhook-Id": delivery.webhook_id,
            "X-Shopify-Event-Id": str(uuid4()),
            "X-Shopify-Triggered-At": at,
            "X-Shopify-API-Version": API_VERSION,
        }
        task = asyncio.create_task(self._deliver(delivery, body, headers))
        self.totals.pending += 1
        self._tasks.add(task)
        task.add_done_callback(self._discard_task)

    async def drain(self) -> None:
        """Wait until no webhook is on its way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Stop sending; what is on its way is lost."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def overview(self, most: int) -> dict[str, Any]:
        """The totals and the newest deliveries, for people."""
        return {"totals": asdict(self.totals), "deliveries": [asdict(each) for each in list(self.recent)[:most]]}

    def _discard_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.totals.pending -= 1

    async def _deliver(self, delivery: Delivery, body: bytes, headers: dict[str, str]) -> None:
        await self._delay()
        for pause in (*RETRY_SECONDS, None):
            if await self._is_accepted(delivery, body, headers):
                break
            if pause is None:
                self.totals.given_up += 1
                delivery.state = "given up"
                return
            self.totals.tried_again += 1
            await self.sleep(pause / self.habits.compression)
        self.totals.accepted += 1
        delivery.state = "accepted"
        if self.random.random() < self.habits.repeated:
            self.totals.repeated += 1
            await self._delay()
            await self._is_accepted(delivery, body, headers)

    async def _delay(self) -> None:
        if self.random.random() < self.habits.delayed:
            await self.sleep(self.random.uniform(0, self.habits.longest_delay))

    async def _is_accepted(self, delivery: Delivery, body: bytes, headers: dict[str, str]) -> bool:
        """Send it once. As with Shopify, only an answer of the two hundreds within five seconds accepts it."""
        if self.http is None:
            raise RuntimeError("The sender is closed")
        async with self._places:
            delivery.tries += 1
            self.totals.sent += 1
            began = time.perf_counter()
            try:
                async with asyncio.timeout(self.answer_seconds):
                    timeout = httpx.Timeout(self.answer_seconds, connect=CONNECT_SECONDS)
                    answer = await self.http.post(PATH, content=body, headers=headers, timeout=timeout)
                delivery.answer = str(answer.status_code)
                is_accepted = answer.is_success
            except (httpx.HTTPError, TimeoutError) as error:
                delivery.answer = in_words(error)
                is_accepted = False
            delivery.milliseconds = round((time.perf_counter() - began) * 1000)
        return is_accepted
