"""The state machine of the cache's coherence: single steps in any order against a real Valkey and PostgreSQL.

`Coherence` has two processes with a cache each, one writer at a time (the row lock ensures that) and slow readers,
while entries are evicted, leases and floors expire, the data is flushed by hand, and Valkey is killed and restored from
an old snapshot. A transaction that outlives the write limit is rolled back, as by PostgreSQL. `CoherenceWithOutages`
adds that each process loses Redis and PostgreSQL by itself.

Excluded: a Valkey that evicts or loses a floor and keeps its era (`allkeys-*`, a deletion by hand), and two servers
that both act as the primary.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.coherence_world import PROCESSES, World
from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import make_entry
from wishcraft.cache.read_permit import PERMIT_SECONDS, Pending, ReadPermit, Trust
from wishcraft.cache.registries import CacheState, RegistryCache
from wishcraft.domain.cached_registry import CachedRegistry
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable

SHOP: Final = 7
SLUG: Final = "smith"
READERS: Final = 3
STEP_SECONDS: Final = 0.4
PROCESS: Final = st.integers(0, PROCESSES - 1)

Interleaving = Generator[None, None, None]
"""One step up to each `yield`."""


class Coherence(RuleBasedStateMachine):
    """`known` is the newest version that was committed or answered: every reader that starts later must see it."""

    world: ClassVar[World]
    make_cache: ClassVar[Callable[[Server], RegistryCache]]

    @initialize()
    def start(self) -> None:
        self.world.reset()
        for link in self.world.links:
            link.is_cut = False
        self.caches = [type(self).make_cache(server) for server in self.world.servers]
        for cache in self.caches:
            cache.wait_for_fill_seconds = 0  # no other process runs while one reader waits
        self.readers: list[Interleaving] = []
        self.writer: Interleaving | None = None
        self.writer_is_of_an_older_era = False
        self.known = 1

    def read(self, process: int) -> Interleaving:
        cache, must_see = self.caches[process], self.known
        entry = self.world.run(cache.get(SHOP, SLUG))
        if entry:
            self.answer(entry.header.version, must_see)
        else:
            yield
            yield from self.load_and_fill(cache, must_see)

    def load_and_fill(self, cache: RegistryCache, must_see: int) -> Interleaving:
        lease = self.world.run(cache.lease(SHOP, [SLUG]))[SLUG]
        yield
        registry = self.world.load()
        yield
        if isinstance(lease, Lease):
            self.world.run(cache.fill(SHOP, {SLUG: (lease, make_entry(registry, lease.era, now_ms()))}))
        self.answer(registry.version, must_see)

    def write(self, cache: RegistryCache) -> Interleaving:
        with self.world.writing.transaction():
            row = self.world.writing.execute("UPDATE coherence SET version = version + 1 RETURNING version").fetchone()
            assert row
            yield
            yield from self.invalidate(cache, row[0])
            yield
        self.known = max(self.known, row[0])
        self.readers.append(self.load_and_fill(cache, self.known))

    def invalidate(self, cache: RegistryCache, version: int) -> Interleaving:
        self.world.run(cache.invalidate(SHOP, {SLUG: version}))
        yield from ()

    def trust(self, _process: int) -> Trust:
        return Trust.CURRENT

    def answer(self, version: int, must_see: int) -> None:
        assert version >= must_see, f"version {version} is older than {must_see}"
        self.known = max(self.known, version)

    def end_writer(self) -> None:
        """Roll back what the writer has not committed, as its death or the write limit does."""
        if self.writer:
            self.writer.close()
        self.writer = None

    @rule(process=PROCESS)
    @precondition(lambda self: len(self.readers) < READERS)
    def a_reader_starts(self, process: int) -> None:
        self.readers.append(self.read(process))
        self.a_reader_takes_a_step(len(self.readers) - 1)

    @rule(process=PROCESS)
    def a_reader_reads_at_once(self, process: int) -> None:
        async def load() -> CachedRegistry:
            return self.world.load()

        result = self.world.run(self.caches[process].read(SHOP, SLUG, load))
        if result.state is not CacheState.STALE:
            self.answer(result.entry.header.version, self.known)

    @rule(number=st.integers(0, READERS - 1))
    @precondition(lambda self: self.readers)
    def a_reader_takes_a_step(self, number: int) -> None:
        reader = self.readers[number % len(self.readers)]
        try:
            next(reader)
        except StopIteration:
            self.readers.remove(reader)

    @rule(process=PROCESS)
    @precondition(lambda self: self.writer is None)
    def a_writer_begins(self, process: int) -> None:
        self.writer_is_of_an_older_era = False
        self.writer = self.write(self.caches[process])
        next(self.writer)

    @rule()
    @precondition(lambda self: self.writer)
    def the_writer_takes_a_step(self) -> None:
        assert self.writer
        try:
            next(self.writer)
        except StopIteration:
            self.writer = None

    @rule(process=PROCESS)
    @precondition(lambda self: self.writer is None)
    def a_writer_writes_at_once(self, process: int) -> None:
        self.a_writer_begins(process)
        while self.writer and not self.world.links[process].is_cut:
            self.the_writer_takes_a_step()

    @rule()
    def the_hold_ends(self) -> None:
        if self.writer_is_of_an_older_era:
            self.end_writer()
        self.world.end_hold()

    def a_minute_passes(self) -> None:
        self.end_writer()
        self.the_lease_expires()
        self.world.run(self.world.servers[0].redis.delete(keys.of_shop(SHOP).floors))
        self.world.end_hold()

    def a_snapshot_is_saved(self) -> None:
        self.world.run(self.world.servers[0].redis.save())

    def the_data_is_flushed_by_hand(self) -> None:
        self.world.run(self.world.servers[0].redis.flushall())
        self.writer_is_of_an_older_era = True

    def a_reader_dies(self) -> None:
        if self.readers:
            self.readers.pop().close()

    def the_writer_dies(self) -> None:
        self.end_writer()

    def the_entry_is_evicted(self) -> None:
        self.world.run(self.world.servers[0].redis.delete(keys.entry_key(SHOP, SLUG)))

    def the_lease_expires(self) -> None:
        self.world.run(self.world.servers[0].redis.delete(keys.of_shop(SHOP).lease_prefix + SLUG))

    def valkey_is_killed_and_restored_from_the_snapshot(self) -> None:
        self.world.restart_valkey()
        self.writer_is_of_an_older_era = True

    @rule(
        event=st.sampled_from(
            [
                a_minute_passes,
                a_snapshot_is_saved,
                valkey_is_killed_and_restored_from_the_snapshot,
                the_data_is_flushed_by_hand,
                the_entry_is_evicted,
                the_lease_expires,
                a_reader_dies,
                the_writer_dies,
            ]
        )
    )
    def an_event_happens(self, event: Callable[["Coherence"], None]) -> None:
        event(self)

    @invariant()
    def no_process_answers_an_older_version(self) -> None:
        for process, cache in enumerate(self.caches):
            if self.trust(process) is not Trust.CURRENT or self.world.links[process].is_cut:
                continue
            entry = self.world.run(cache.get(SHOP, SLUG))
            self.answer(entry.header.version if entry else self.known, self.known)

    def teardown(self) -> None:
        self.end_writer()


class CoherenceWithOutages(Coherence):
    """The same, while each process by itself loses Redis, PostgreSQL or both, and what it asks may be answered late.

    A stale answer, which says that it is, may be old.
    """

    waits: ClassVar[bool] = True
    """Whether a writer without Redis waits for permits to expire."""
    announces_first: ClassVar[bool] = True
    """Whether it announces in a transaction of its own, before its own commit."""
    has_permits: ClassVar[bool] = True

    @initialize()
    def start(self) -> None:
        super().start()
        self.clock = 0.0
        self.is_silent = [False] * PROCESSES
        self.permits = [self.make_permit(process) for process in range(PROCESSES)]
        for cache, permit in zip(self.caches, self.permits, strict=True):
            cache.permit = permit if self.has_permits else None

    def make_permit(self, process: int) -> ReadPermit:
        async def find_pending() -> Pending:
            if self.is_silent[process]:
                raise DatabaseUnavailable("cut off")
            return self.world.find_pending()

        return ReadPermit(find_pending, clock=lambda: self.clock)

    def trust(self, process: int) -> Trust:
        return self.permits[process].trust(SHOP, SLUG) if self.has_permits else Trust.CURRENT

    def read(self, process: int) -> Interleaving:
        if self.trust(process) is Trust.CURRENT:
            with suppress(CacheUnavailable):
                yield from super().read(process)

    def load_and_fill(self, cache: RegistryCache, must_see: int) -> Interleaving:
        with suppress(CacheUnavailable):
            yield from super().load_and_fill(cache, must_see)

    def invalidate(self, cache: RegistryCache, version: int) -> Interleaving:
        try:
            yield from super().invalidate(cache, version)
        except CacheUnavailable:
            self.world.announce(SHOP, SLUG, version, first=self.announces_first)
            expired = self.clock + PERMIT_SECONDS
            while self.waits and self.clock <= expired:
                yield

    def ask(self, process: int) -> Interleaving:
        """Renew the permit; the answer may arrive late, after that to a later question."""
        asked_at = self.clock
        pending = None if self.is_silent[process] else self.world.find_pending()
        yield
        if pending is None:
            self.permits[process].note_silence("a test")
        else:
            self.permits[process].renew_from(asked_at, pending)

    def replay(self, process: int) -> Interleaving:
        for version in self.world.find_versions():
            yield
            with suppress(CacheUnavailable):
                self.world.run(self.caches[process].invalidate(SHOP, {SLUG: version}))
                yield
                self.world.forget(SHOP, SLUG, version)

    def a_minute_passes(self) -> None:
        super().a_minute_passes()
        self.clock += 60

    @rule(processes=st.sets(PROCESS))
    def a_moment_passes(self, processes: set[int]) -> None:
        """In which some processes renew their permits, and the others are too busy."""
        self.clock += STEP_SECONDS
        for process in processes:
            self.a_permit_is_renewed(process)

    @rule()
    @precondition(lambda self: self.writer is None)
    def a_writer_without_redis_writes(self) -> None:
        self.world.links[0].is_cut = True
        self.a_writer_begins(0)
        while self.writer:
            self.a_moment_passes(set(range(PROCESSES)))
            self.the_writer_takes_a_step()

    @rule(process=PROCESS)
    def redis_is_lost_or_found(self, process: int) -> None:
        self.world.links[process].is_cut ^= True

    @rule(process=PROCESS)
    def postgresql_is_lost_or_found(self, process: int) -> None:
        self.is_silent[process] ^= True

    @rule(process=PROCESS)
    def a_permit_is_renewed(self, process: int) -> None:
        for _ in self.ask(process):
            pass

    @rule(process=PROCESS, start=st.sampled_from([ask, replay]))
    @precondition(lambda self: len(self.readers) < READERS)
    def a_question_or_replay_starts(
        self, process: int, start: "Callable[[CoherenceWithOutages, int], Interleaving]"
    ) -> None:
        self.readers.append(start(self, process))
        self.a_reader_takes_a_step(len(self.readers) - 1)

    @rule(process=PROCESS)
    def a_replay_happens(self, process: int) -> None:
        for _ in self.replay(process):
            pass
