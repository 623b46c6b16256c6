"""The single steps of the coherence protocol, each for one shop: get, mark, lease, fill, release.

Every method raises CacheUnavailable when Redis does not answer. In which order to take the steps is not said here.
"""

import random
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from redis.commands.core import AsyncScript
from redis.typing import EncodableT

from wishcraft.cache import entries, keys, scripts
from wishcraft.cache.client import Server
from wishcraft.cache.entries import Entry, Header
from wishcraft.cache.scripts import Outcome
from wishcraft.domain.batches import batches
from wishcraft.domain.cached_registry import UNCOUNTED, AccessLevel, CachedRegistry, Quota
from wishcraft.domain.view_score import weight

Call = tuple[Sequence[str], Sequence[EncodableT]]

_ENTRIES_PER_CALL: Final = 50
"""Redis serves nobody else during a call: this many fills take it less than a millisecond."""


class Lease(NamedTuple):
    """The right to fill one entry, good for `keys.LEASE_TTL_MS` within the era it was given in."""

    token: bytes
    era: bytes


class CoherenceCommands:
    """`hold_seconds` may be less than its default only where no transaction is under way when Redis restarts."""

    def __init__(self, server: Server, *, hold_seconds: float = keys.HOLD_SECONDS) -> None:
        self._server = server
        self._redis = server.redis
        self._hold_seconds = hold_seconds
        self._header = self._redis.register_script(scripts.many(scripts.HEADER))
        self._mark = self._redis.register_script(scripts.many(scripts.MARK, flags="allow-oom"))
        self._lease = self._redis.register_script(scripts.many(scripts.LEASE))
        self._fill = self._redis.register_script(scripts.many(scripts.FILL))
        self._release = self._redis.register_script(scripts.many(scripts.RELEASE))

    async def get(self, shop_id: int, slug: str) -> Entry | None:
        """The entry if there is a valid one, be it past its soft expiry."""
        return self.valid(await self._server.reads.get(keys.entry_key(shop_id, slug)))

    def valid(self, raw: bytes | None) -> Entry | None:
        """What was just read under `keys.entry_key`, as an entry; None if it is of another era or format."""
        entry = entries.unpack(raw) if raw else None
        return entry if entry and entry.header.era == self._server.era else None

    async def headers(self, shop_id: int, slugs: Iterable[str]) -> dict[str, Header]:
        """The headers of those slugs that have a valid entry; the bodies stay where they are."""
        slugs = list(slugs)
        calls: list[Call] = [([keys.entry_key(shop_id, slug)], [entries.HEADER_SIZE - 1]) for slug in slugs]
        raws = await self._run(self._header, calls)
        found = {slug: entries.unpack_header(raw) for slug, raw in zip(slugs, raws, strict=True)}
        return {slug: header for slug, header in found.items() if header and header.era == self._server.era}

    async def mark(self, shop_id: int, versions: Mapping[str, int]) -> None:
        """Drop the entries of these slugs, and refuse fills under the given versions from now on.

        A writer calls it after it raised the versions and before it commits, in one transaction of at most
        `keys.WRITE_LIMIT_SECONDS`; if it raises, the writer must not commit unless it writes down that it could not.
        A removal is a change like any other.
        """
        marks = keys.marks_key(shop_id)
        calls: list[Call] = [
            ([keys.entry_key(shop_id, slug), keys.lease_key(shop_id, slug), marks], [slug, version, keys.MARK_TTL_MS])
            for slug, version in versions.items()
        ]
        await self._run(self._mark, calls)

    async def lease(self, shop_id: int, slugs: Iterable[str]) -> dict[str, Lease | Outcome]:
        """A lease for each slug, or why there is none: HELD or ON_HOLD. It must be taken before the load begins."""
        tokens = {slug: secrets.token_bytes(8) for slug in slugs}
        leases, replies = await self._ask_leases(shop_id, tokens)
        if scripts.OTHER_ERA in replies:  # this process's first question, or the data was flushed
            await self._server.learn()
            leases, replies = await self._ask_leases(shop_id, tokens)
        refusals = {scripts.HELD: Outcome.HELD, scripts.ON_HOLD: Outcome.ON_HOLD, scripts.OTHER_ERA: Outcome.ON_HOLD}
        return {slug: refusals.get(reply, lease) for (slug, lease), reply in zip(leases.items(), replies, strict=True)}

    async def fill(
        self, shop_id: int, loaded: Mapping[str, tuple[Lease, Entry]], quota: Quota = UNCOUNTED
    ) -> dict[str, Outcome]:
        """Store what was loaded under each lease, unless that is outdated; the leases end either way.

        A shop that is over its quota thereby gives up its least viewed entries, maybe one that was to be filled. That
        a registry is absent takes none of the quota.
        """
        of_shop = [keys.marks_key(shop_id), keys.index_key(shop_id), keys.sizes_key(shop_id), keys.usage_key(shop_id)]
        lives = (keys.INDEX_TTL_MS, keys.USAGE_TTL_SECONDS)
        prefix, view = keys.entry_prefix(shop_id), weight(datetime.now(UTC))
        calls: list[Call] = []
        for slug, (lease, entry) in loaded.items():
            is_absent = entry.header.access_level is AccessLevel.ABSENT
            time_to_live = keys.ABSENT_TTL_MS if is_absent else keys.spread(keys.HARD_TTL_MS, _fraction())
            counted: list[EncodableT] = [
                view,
                *(UNCOUNTED if is_absent else quota),
                prefix,
                *lives,
            ]
            calls.append((
                [keys.entry_key(shop_id, slug), keys.lease_key(shop_id, slug), *of_shop],
                [lease.token, slug, entries.pack(entry), time_to_live, *counted],
            ))  # fmt: skip
        replies = await self._run(self._fill, calls)
        return {slug: Outcome(reply.decode()) for slug, reply in zip(loaded, replies, strict=True)}

    async def release(self, shop_id: int, leases: Mapping[str, Lease]) -> None:
        """Give leases back without a fill."""
        await self._run(self._release, [([keys.lease_key(shop_id, slug)], [own.token]) for slug, own in leases.items()])

    async def _ask_leases(self, shop_id: int, tokens: Mapping[str, bytes]) -> tuple[dict[str, Lease], list[bytes]]:
        era = self._server.era
        hold_ms = int(self._hold_seconds * 1000)
        calls: list[Call] = [
            ([keys.lease_key(shop_id, slug), keys.ERA], [token, keys.LEASE_TTL_MS, era, hold_ms])
            for slug, token in tokens.items()
        ]
        return {slug: Lease(token, era) for slug, token in tokens.items()}, await self._run(self._lease, calls)

    async def _run(self, script: AsyncScript, calls: Sequence[Call]) -> list[bytes]:
        replies: list[list[bytes]] = []
        if calls:
            with self._server.answering():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for batch in batches(calls, _ENTRIES_PER_CALL):
                        key_names = [key for call_keys, _ in batch for key in call_keys]
                        arguments = [argument for _, call_arguments in batch for argument in call_arguments]
                        await script(key_names, [len(batch), *arguments], client=pipe)
                    replies = await pipe.execute()
        return [reply for batch_replies in replies for reply in batch_replies]


def make_entry(document: CachedRegistry | None, era: bytes) -> Entry:
    """An entry of `era` that wants its refresh about `keys.SOFT_TTL_MS` from now; None says that nothing is there."""
    if document is None:
        return entries.absent(era, now_ms() + keys.ABSENT_TTL_MS)
    return entries.compose(document, era, now_ms() + keys.spread(keys.SOFT_TTL_MS, _fraction()))


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def _fraction() -> float:
    return random.random()  # noqa: S311  it spreads expiries
