"""The cache never goes back in time: random interleavings of single steps against a real Valkey and PostgreSQL.

Two processes with a cache each, one writer at a time (the row lock ensures that) and slow readers take their steps in
any order, while entries are evicted, leases and floors expire, the data is flushed by hand, and Valkey is killed and
restored from an old snapshot. A transaction that outlives the write limit is rolled back, as by PostgreSQL.

Excluded: a Valkey that evicts or loses a floor and keeps its era (`allkeys-*`, a deletion by hand), and two servers
that both act as the primary.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.coherence_world import PROCESSES, World
from tests.support.hypothesis_profiles import examples
from tests.support.valkey import OwnValkey
from wishcraft.cache import entries, keys, scripts
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import Entry, make_entry
from wishcraft.cache.registries import RegistryCache
from wishcraft.domain.cached_registry import CachedRegistry

SHOP: Final = 7
SLUG: Final = "smith"
READERS: Final = 3
UNTIL_FOUND: Final = settings(max_examples=1000, derandomize=True, database=None)
HOLD_SECONDS: Final = 100_000  # only the rule `the_hold_ends` ends it

Interleaving = Generator[None, None, None]
"""One step up to each `yield`."""


class Coherence(RuleBasedStateMachine):
    """`known` is the newest version that was committed or answered: every reader that starts later must see it."""

    world: ClassVar[World]
    make_cache: ClassVar[Callable[[Server], RegistryCache]]

    @initialize()
    def start(self) -> None:
        self.world.reset()
        self.caches = [type(self).make_cache(server) for server in self.world.servers]
        self.readers: list[Interleaving] = []
        self.writer: Interleaving | None = None
        self.writer_is_of_an_older_era = False
        self.known = 1

    def read(self, cache: RegistryCache) -> Interleaving:
        must_see = self.known
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
            self.world.run(cache.invalidate(SHOP, {SLUG: row[0]}))
            yield
        self.known = max(self.known, row[0])
        self.readers.append(self.load_and_fill(cache, self.known))

    def answer(self, version: int, must_see: int) -> None:
        assert version >= must_see, f"version {version} is older than {must_see}"
        self.known = max(self.known, version)

    def end_writer(self) -> None:
        """Roll back what the writer has not committed, as its death or the write limit does."""
        if self.writer:
            self.writer.close()
        self.writer = None

    @rule(process=st.integers(0, PROCESSES - 1))
    @precondition(lambda self: len(self.readers) < READERS)
    def a_reader_starts(self, process: int) -> None:
        self.readers.append(self.read(self.caches[process]))
        self.a_reader_takes_a_step(len(self.readers) - 1)

    @rule(process=st.integers(0, PROCESSES - 1))
    def a_reader_reads_at_once(self, process: int) -> None:
        async def load() -> CachedRegistry:
            return self.world.load()

        result = self.world.run(self.caches[process].read(SHOP, SLUG, load))
        assert result.entry
        self.answer(result.entry.header.version, self.known)

    @rule(number=st.integers(0, READERS - 1))
    @precondition(lambda self: self.readers)
    def a_reader_takes_a_step(self, number: int) -> None:
        reader = self.readers[number % len(self.readers)]
        try:
            next(reader)
        except StopIteration:
            self.readers.remove(reader)

    @rule(process=st.integers(0, PROCESSES - 1))
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

    @rule(process=st.integers(0, PROCESSES - 1))
    @precondition(lambda self: self.writer is None)
    def a_writer_writes_at_once(self, process: int) -> None:
        for _ in self.write(self.caches[process]):
            pass

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
        for cache in self.caches:
            entry = self.world.run(cache.get(SHOP, SLUG))
            self.answer(entry.header.version if entry else self.known, self.known)

    def teardown(self) -> None:
        self.end_writer()


class CoherenceWithFrequentRestarts(Coherence):
    """The same, with a Valkey that loses its data far more often."""

    @rule()
    def a_snapshot_is_saved_again(self) -> None:
        self.a_snapshot_is_saved()

    @rule()
    def valkey_is_killed_again(self) -> None:
        self.valkey_is_killed_and_restored_from_the_snapshot()


class CoherenceWithSlowReaders(Coherence):
    """The same, with readers that take minutes while others write."""

    @rule()
    def a_minute_passes_again(self) -> None:
        self.a_minute_passes()

    @rule()
    @precondition(lambda self: self.writer is None)
    def a_writer_writes_at_once_again(self) -> None:
        self.a_writer_writes_at_once(0)


class WithoutInvalidation(RegistryCache):
    async def invalidate(self, shop_id: int, versions: Mapping[str, int]) -> None:
        """Do nothing."""


class WithoutEras(RegistryCache):
    def valid(self, raw: bytes | None) -> Entry | None:
        return entries.unpack(raw) if raw else None


def complete(server: Server) -> RegistryCache:
    return RegistryCache(server, hold_seconds=HOLD_SECONDS)


def without_hold(server: Server) -> RegistryCache:
    return RegistryCache(server, hold_seconds=0)


def without_invalidation(server: Server) -> RegistryCache:
    return WithoutInvalidation(server, hold_seconds=HOLD_SECONDS)


def without_eras(server: Server) -> RegistryCache:
    return WithoutEras(server, hold_seconds=HOLD_SECONDS)


def without_lease_check(server: Server) -> RegistryCache:
    return _without_lines(
        server, "    if redis.call('GET', lease) ~= token then\n        return 'lease_gone'\n    end\n"
    )


def without_floor_check(server: Server) -> RegistryCache:
    condition = "version < tonumber(redis.call('HGET', floors, slug) or 0)"
    return _without_lines(server, f"    if {condition} then\n        return 'under_floor'\n    end\n")


def _without_lines(server: Server, lines: str) -> RegistryCache:
    fill = scripts.FILL
    assert fill.body.count(lines) == 1
    cache = complete(server)
    weakened = replace(fill, body=fill.body.replace(lines, ""))
    cache._registered[fill.name] = server.redis.register_script(weakened.batch_source)
    return cache


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[World]:
    valkey = OwnValkey(tmp_path_factory.mktemp("coherence"))
    world = World(valkey, database_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "wishcraft.cache.registries.WAIT_FOR_FILL_SECONDS", 0
        )  # no other process runs while one reader waits
        yield world
    world.close()
    valkey.kill()


def run_machine(
    world: World, machine: type[Coherence], make_cache: Callable[[Server], RegistryCache], search: settings
) -> None:
    machine.world = world
    machine.make_cache = staticmethod(make_cache)
    run_state_machine_as_test(
        machine,
        settings=settings(
            search, stateful_step_count=30, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.hypothesis
@pytest.mark.parametrize("machine", [Coherence, CoherenceWithFrequentRestarts, CoherenceWithSlowReaders])
def test_no_reader_gets_a_version_older_than_one_already_known(world: World, machine: type[Coherence]) -> None:
    run_machine(world, machine, complete, settings(max_examples=examples(quick=12, deep=200)))


@pytest.mark.deep
@pytest.mark.parametrize(
    ("machine", "make_cache"),
    [
        (Coherence, without_invalidation),
        (Coherence, without_floor_check),
        (CoherenceWithSlowReaders, without_lease_check),
    ],
)
def test_search_finds_the_error_when_a_check_is_missing(
    world: World, machine: type[Coherence], make_cache: Callable[[Server], RegistryCache]
) -> None:
    with pytest.raises(AssertionError, match="is older than"):
        run_machine(world, machine, make_cache, UNTIL_FOUND)


def restart_with_an_older_snapshot(machine: Coherence) -> None:
    machine.a_reader_reads_at_once(0)
    machine.a_snapshot_is_saved()
    machine.a_writer_writes_at_once(1)
    machine.valkey_is_killed_and_restored_from_the_snapshot()


def flush_between_an_invalidation_and_its_commit(machine: Coherence) -> None:
    machine.a_writer_begins(0)
    machine.the_writer_takes_a_step()
    machine.the_data_is_flushed_by_hand()
    machine.a_reader_reads_at_once(1)
    machine.the_writer_takes_a_step()


@pytest.mark.parametrize(
    ("steps", "weakened"),
    [
        (restart_with_an_older_snapshot, without_eras),
        (flush_between_an_invalidation_and_its_commit, without_hold),
    ],
)
def test_rare_orders_of_steps_need_the_era_and_the_hold(
    world: World, steps: Callable[[Coherence], None], weakened: Callable[[Server], RegistryCache]
) -> None:
    Coherence.world = world
    refused = pytest.raises(AssertionError, match="is older than")
    outcomes: list[tuple[Callable[[Server], RegistryCache], AbstractContextManager[object]]]
    outcomes = [(complete, nullcontext()), (weakened, refused)]
    for make_cache, expectation in outcomes:
        Coherence.make_cache = staticmethod(make_cache)
        machine = Coherence()
        machine.start()
        with expectation:
            steps(machine)
            machine.no_process_answers_an_older_version()
        machine.teardown()
