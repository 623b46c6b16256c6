"""The results of a task that is tried again, or stopped, have the changes of all its tries."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from prefect import State, flow

from tasks.runtime.retries import task
from tasks.runtime.work_items import ItemWork, WorkState, work_on_items
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import DatabaseUnavailable, NotFound, RunStopped
from wishcraft.services.checkpoint import Changes, Checkpoint

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment")


class Script:
    """Work whose tries of an item each send one mail, and then do its next step: raise, or return the counts."""

    def __init__(self, **steps: list[Exception | Mapping[str, int]]) -> None:
        self.steps = steps
        self.done: list[str] = []

    async def work(self, item: str, _checkpoint: Checkpoint, changes: Changes) -> Mapping[str, int]:
        self.done.append(item)
        changes.update(sent=1)
        step = self.steps[item].pop(0)
        if isinstance(step, Exception):
            raise step
        return step


async def run(work: ItemWork[str], *items: str) -> list[tuple[str, Mapping[str, int], str, bool, int]]:
    """Name, counts, problem, stop and tries of each item, of a task that is tried again at once."""

    @task("work")
    async def work_on_all() -> WorkState:
        return await work_on_items({each: each for each in items}, work)

    @flow
    async def calling() -> list[WorkResult]:
        calling_task: Any = work_on_all.with_options(retry_delay_seconds=0)(return_state=True)
        state: State[Any] = await calling_task
        found: Any = await state.aresult(raise_on_failure=False)
        assert state.is_failed() == any(each.problem for each in found)
        return list(found)

    found: Any = await calling()
    return [(each.name, each.counts, each.problem, each.stopped, each.tries) for each in found]


async def test_failed_item_is_tried_again_and_has_the_changes_of_all_tries() -> None:
    script = Script(a=[{"sent": 7, "held": 1}], b=[DatabaseUnavailable("no answer"), NotFound("gone")], c=[{"sent": 2}])
    assert await run(script.work, "a", "b", "c") == [
        ("a", {"sent": 7, "held": 1}, "", False, 1),
        ("b", {"sent": 2}, "Not found: gone", False, 2),
        ("c", {"sent": 2}, "", False, 1),
    ]
    assert script.done == ["a", "b", "c", "b"]


async def test_seconds_of_an_item_are_those_of_all_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 10)
    monkeypatch.setattr("tasks.runtime.work_items.time.perf_counter", lambda: next(ticks))
    earlier = WorkResult("a", seconds=13, problem="no answer")
    monkeypatch.setattr("tasks.runtime.work_items._earlier_tries", {"None": {"a": earlier}})
    script = Script(a=[{"sent": 1}])
    [result] = await (await work_on_items({"a": "a"}, script.work)).aresult()
    assert result.seconds == 23


async def test_item_that_succeeds_at_its_last_try_has_the_changes_of_all_tries() -> None:
    script = Script(a=[*[DatabaseUnavailable("no answer")] * 3, {"sent": 5, "due": 5}])
    assert await run(script.work, "a") == [("a", {"sent": 8, "due": 5}, "", False, 4)]


async def test_item_that_fails_at_every_try_has_the_changes_of_all_tries() -> None:
    script = Script(a=[DatabaseUnavailable("no answer")] * 4, b=[{"sent": 1}])
    assert await run(script.work, "a", "b") == [
        ("a", {"sent": 4}, "Database unavailable: no answer", False, 4),
        ("b", {"sent": 1}, "", False, 1),
    ]


async def test_results_are_not_in_the_log_of_the_last_try(caplog: pytest.LogCaptureFixture) -> None:
    await run(Script(a=[DatabaseUnavailable("no answer")] * 4, b=[{"sent": 1}]).work, "a", "b")
    last = [each.getMessage() for each in caplog.records if "exhausted" in each.getMessage()]
    assert len(last) == 1
    assert "2 results" in last[0]
    assert not any("WorkResult" in each.getMessage() for each in caplog.records)


async def test_stopped_items_have_the_changes_of_all_tries() -> None:
    script = Script(
        a=[DatabaseUnavailable("no answer"), RunStopped()], b=[DatabaseUnavailable("no answer")], c=[{"sent": 1}]
    )
    assert await run(script.work, "a", "b", "c") == [
        ("a", {"sent": 2}, "", True, 1),
        ("b", {"sent": 1}, "", True, 1),
        ("c", {"sent": 1}, "", False, 1),
    ]
