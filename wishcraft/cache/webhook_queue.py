"""The queue of received webhooks: a Redis stream for each priority, with the ids of rows of the inbox.

The truth is in the inbox: what Redis loses is found there and enqueued again. Of each shop, a stream has a bounded
number of webhooks, so that one that sends many holds up no other; the rest waits in the inbox.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.lua import Script
from wishcraft.domain.webhooks import TopicPriority

GROUP: Final = "consumers"
MOST_OF_A_SHOP: Final = 1_000
"""Webhooks of a shop in a stream, those that consumers have taken included."""
_ORDER: Final = (TopicPriority.HIGH, TopicPriority.LOW)
SHARE_OF_LOW: Final = 4
"""One in four of the entries that are taken at once may be of low priority, however many of high priority wait."""
_MILLISECOND: Final = timedelta(milliseconds=1)

# If the stream is empty or lost, the set and the counts are stale: delete them.
_ENQUEUE: Final = Script(
    name="enqueue",
    keys=("stream", "queued", "shops"),
    args=("webhook_id", "shop", "most"),
    body="""
    if redis.call('XLEN', stream) == 0 then
        redis.call('DEL', queued, shops)
    end
    if redis.call('SISMEMBER', queued, webhook_id) == 1 then
        return 'known'
    end
    if tonumber(redis.call('HGET', shops, shop) or '0') >= tonumber(most) then
        return 'full'
    end
    redis.call('SADD', queued, webhook_id)
    redis.call('HINCRBY', shops, shop, 1)
    redis.call('XADD', stream, '*', 'id', webhook_id, 'shop', shop)
    return 'queued'
""",
)

# XACK alone leaves the entry in the stream for good. It may exceed the memory limit: it frees.
_ACKNOWLEDGE: Final = Script(
    name="acknowledge",
    keys=("stream", "queued", "shops"),
    args=("group", "entry", "webhook_id", "shop"),
    allow_oom=True,
    body="""
    redis.call('XACK', stream, group, entry)
    redis.call('XDEL', stream, entry)
    if redis.call('SREM', queued, webhook_id) == 1 and redis.call('HINCRBY', shops, shop, -1) <= 0 then
        redis.call('HDEL', shops, shop)
    end
    return 'done'
""",
)


class QueueEntry(NamedTuple):
    """A webhook that waits: its id in the inbox, its shop, and the priority of its topic."""

    id: int
    shop_domain: str
    priority: TopicPriority


class Enqueued(NamedTuple):
    """The result of putting entries into the queue."""

    added: int
    """Number of those that were not in the queue before."""
    full: AbstractSet[tuple[str, TopicPriority]]
    """Shops, each with a priority, that had webhooks left out: the stream has enough of the shop."""


class PendingEntry(NamedTuple):
    """An entry that a consumer has taken, and must acknowledge."""

    id: int
    shop_domain: str
    priority: TopicPriority
    entry: bytes
    """Its id in the stream."""


class WebhookQueue:
    """The streams, with one group of consumers each."""

    def __init__(self, redis: Server) -> None:
        self._server = redis
        self._client: Any = redis.redis  # redis-py's generic commands are untyped

    async def enqueue(self, entries: Iterable[QueueEntry]) -> Enqueued:
        """Add the entries that are not in the queue yet, up to `MOST_OF_A_SHOP` of a shop in a stream.

        Raises:
            CacheUnavailable: Redis does not answer; some may have been added.
        """
        entries = list(entries)
        replies = await self._server.run(
            _ENQUEUE,
            [
                {
                    **_keys(each.priority),
                    "webhook_id": each.id,
                    "shop": each.shop_domain,
                    "most": MOST_OF_A_SHOP,
                }
                for each in entries
            ],
        )
        full = {
            (each.shop_domain, each.priority) for each, reply in zip(entries, replies, strict=True) if reply == b"full"
        }
        return Enqueued(replies.count(b"queued"), full)

    async def take(
        self, consumer: str, most: int, wait: timedelta, *, most_low: int | None = None
    ) -> list[PendingEntry]:
        """Take up to `most` entries for this consumer, `most_low` of low priority; none if none come in time.

        Those of high priority come first, but those of low priority get one in `SHARE_OF_LOW` places if they need it.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        low = most if most_low is None else most_low
        taken = await self._read(TopicPriority.HIGH, consumer, first := most - min(low, most // SHARE_OF_LOW))
        is_high_left = len(taken) == first
        if left := min(low, most - len(taken)):
            taken += await self._read(TopicPriority.LOW, consumer, left)
        if is_high_left and len(taken) < most:
            taken += await self._read(TopicPriority.HIGH, consumer, most - len(taken))
        if taken or not wait:
            return taken
        await self._wait(wait)
        return await self.take(consumer, most, timedelta(0), most_low=most_low)

    async def take_over(self, consumer: str, most: int, idle: timedelta, *, most_low: int) -> list[PendingEntry]:
        """Take over entries that another consumer took `idle` ago and has not acknowledged: it has probably died.

        Up to `most`, `most_low` of low priority; those that the consumer has itself count, too.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        taken_over: list[PendingEntry] = []
        for priority in _ORDER:
            left = most - len(taken_over)
            count = min(left, most_low) if priority is TopicPriority.LOW else left
            if not count:
                continue
            stream = f"{keys.WEBHOOKS}{priority}"
            reply: Any = await self._grouped(
                priority, "XAUTOCLAIM", stream, GROUP, consumer, idle // _MILLISECOND, "0-0", "COUNT", count
            )
            taken_over += _pending_entries(priority, reply[1] if reply else ())
        return taken_over

    async def acknowledge(self, entries: Sequence[PendingEntry]) -> None:
        """Remove the entries from the queue.

        Raises:
            CacheUnavailable: Redis does not answer; they will be delivered again.
        """
        await self._server.run(
            _ACKNOWLEDGE,
            [
                {
                    **_keys(each.priority),
                    "group": GROUP,
                    "entry": each.entry,
                    "webhook_id": each.id,
                    "shop": each.shop_domain,
                }
                for each in entries
            ],
        )

    async def remove_consumers(self, idle: timedelta) -> None:
        """Remove consumers that have nothing pending and were idle for `idle`: each process has a name of its own.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        for priority in _ORDER:
            for facts in await self._consumers(priority):
                if not facts[b"pending"] and facts[b"idle"] > idle // _MILLISECOND:
                    stream = f"{keys.WEBHOOKS}{priority}"
                    await self._grouped(priority, "XGROUP", "DELCONSUMER", stream, GROUP, facts[b"name"])

    async def count_consumers(self, idle_seconds: float) -> int:
        """Number of consumers that have asked for webhooks within `idle_seconds`.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        alive = [each for priority in _ORDER for each in await self._consumers(priority)]
        return len({each[b"name"] for each in alive if each[b"idle"] < 1_000 * idle_seconds})

    async def length(self) -> int:
        """Number of webhooks in the queue, those that consumers have taken included.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        with self._server.guard():
            return sum([int(await self._server.redis.scard(f"{keys.QUEUED}{priority}")) for priority in _ORDER])

    async def _consumers(self, priority: TopicPriority) -> list[dict[bytes, Any]]:
        """Each consumer, as Redis lists it: `name`, `pending`, and `idle` in milliseconds."""
        reply = await self._grouped(priority, "XINFO", "CONSUMERS", f"{keys.WEBHOOKS}{priority}", GROUP)
        return [
            dict(zip(each[::2], each[1::2], strict=True)) if isinstance(each, list) else each for each in reply or ()
        ]

    async def _read(self, priority: TopicPriority, consumer: str, most: int) -> list[PendingEntry]:
        stream = f"{keys.WEBHOOKS}{priority}"
        arguments = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", most, "STREAMS", stream, ">")
        reply: Any = await self._grouped(priority, *arguments)
        entries = reply.values() if isinstance(reply, dict) else [each[1] for each in reply or ()]
        return [pending for each in entries for pending in _pending_entries(priority, each)]

    async def _wait(self, wait: timedelta) -> None:
        """Wait at most `wait` for a new entry in any stream; whose it is, the next `take` decides."""
        streams = [f"{keys.WEBHOOKS}{priority}" for priority in _ORDER]
        with self._server.guard():
            await self._client.execute_command(
                "XREAD", "COUNT", 1, "BLOCK", wait // _MILLISECOND, "STREAMS", *streams, *["$"] * len(streams)
            )

    async def _grouped(self, priority: TopicPriority, *command: Any) -> Any:
        """Run a command of the group, which is created, at the beginning of its stream, where there is none.

        Only `enqueue` creates a stream, since it knows then that the ids of one that was lost are not queued. The
        reply is None if there is none.
        """
        with self._server.guard():
            try:
                return await self._client.execute_command(*command)
            except ResponseError as error:
                if "NOGROUP" not in str(error) and "no such key" not in str(error):
                    raise
            try:
                await self._server.redis.xgroup_create(f"{keys.WEBHOOKS}{priority}", GROUP, id="0")
            except ResponseError as error:
                if "key to exist" in str(error):
                    return None
                if "BUSYGROUP" not in str(error):  # another consumer was first
                    raise
            return await self._client.execute_command(*command)


def _keys(priority: TopicPriority) -> dict[str, str]:
    """The keys of the scripts."""
    queued = f"{keys.QUEUED}{priority}"
    return {"stream": f"{keys.WEBHOOKS}{priority}", "queued": queued, "shops": f"{queued}:shops"}


def _pending_entries(priority: TopicPriority, entries: Iterable[Any]) -> list[PendingEntry]:
    """The entries in a reply; an entry that was deleted meanwhile has no fields."""
    taken = []
    for entry, fields in entries:
        if fields:
            values = dict(zip(fields[::2], fields[1::2], strict=True)) if isinstance(fields, list) else fields
            taken.append(PendingEntry(int(values[b"id"]), values[b"shop"].decode(), priority, entry))
    return taken
