"""The cache never goes back in time: random orders of steps, and the checks that each order needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.support.coherence_machine import Coherence, CoherenceWithOutages
from tests.support.coherence_world import World
from tests.support.hypothesis_profiles import examples
from tests.support.valkey import OwnValkey
from wishcraft.cache import entries, scripts
from wishcraft.cache.client import Server
from wishcraft.cache.entries import Entry
from wishcraft.cache.keys import entry_key
from wishcraft.cache.lua import Call, Script
from wishcraft.cache.registries import RegistryCache

UNTIL_FOUND: Final = settings(max_examples=1000, derandomize=True, database=None)
HOLD_SECONDS: Final = 100_000  # only the rule `the_hold_ends` ends it


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


class WithoutPermits(CoherenceWithOutages):
    has_permits = False


class WithoutWaiting(CoherenceWithOutages):
    waits = False


class WithAnnouncementsInTheWrite(CoherenceWithOutages):
    announces_first = False


class WithoutInvalidation(RegistryCache):
    async def invalidate(self, shop_id: int, versions: Mapping[str, int]) -> None:
        """Do nothing."""


class WithoutEras(RegistryCache):
    async def get(self, shop_id: int, slug: str) -> Entry | None:
        """The entry, also one of another era."""
        raw = await self._server.batched_reader.get(entry_key(shop_id, slug))
        return entries.unpack(raw) if raw else None


class WithScript:
    """A server that runs this script in place of the one with its name, for one cache alone."""

    def __init__(self, server: Server, script: Script) -> None:
        self._server = server
        self._script = script

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def run(self, script: Script, calls: Sequence[Call]) -> list[bytes]:
        return await self._server.run(self._script if script.name == self._script.name else script, calls)


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
    weakened = replace(fill, body=fill.body.replace(lines, ""))
    return complete(cast("Server", WithScript(server, weakened)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[World]:
    valkey = OwnValkey(tmp_path_factory.mktemp("coherence"))
    world = World(valkey, database_url)
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
@pytest.mark.long
@pytest.mark.parametrize(
    "machine", [Coherence, CoherenceWithFrequentRestarts, CoherenceWithSlowReaders, CoherenceWithOutages]
)
def test_no_reader_gets_a_version_older_than_one_already_known(world: World, machine: type[Coherence]) -> None:
    run_machine(world, machine, complete, settings(max_examples=examples(quick=12, deep=200)))


@pytest.mark.deep
@pytest.mark.parametrize(
    ("machine", "make_cache"),
    [
        (Coherence, without_invalidation),
        (Coherence, without_floor_check),
        (CoherenceWithSlowReaders, without_lease_check),
        (WithoutPermits, complete),
        (WithoutWaiting, complete),
        (WithAnnouncementsInTheWrite, complete),
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
