"""How the worker tells an outage of Prefect from an error, and what it logs."""

import json
import logging
from types import SimpleNamespace

import httpx
import pytest

from deployments import worker
from deployments.worker import MAX_BACKOFF_SECONDS, Outage, is_outage, outage_ignored

REQUEST = httpx.Request("POST", "http://127.0.0.1/api/work_pools/wishcraft/get_scheduled_flow_runs")


def status(code: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("refused", request=REQUEST, response=httpx.Response(code))


@pytest.mark.parametrize(
    "error",
    [
        *map(status, (429, 500, 502, 503, 504)),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError("closed"),
        json.JSONDecodeError("a page of a proxy", "<html>", 0),
    ],
    ids=repr,
)
def test_outage_does_not_end_the_worker(error: Exception) -> None:
    assert is_outage(error)
    with outage_ignored():
        raise error


@pytest.mark.parametrize("error", [*map(status, (401, 403, 404, 422)), RuntimeError("a bug")], ids=repr)
def test_wrong_password_or_bug_ends_the_worker(error: Exception) -> None:
    assert not is_outage(error)
    with pytest.raises(type(error)), outage_ignored():
        raise error


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which take no time."""
    found: list[float] = []

    async def pause(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(worker, "asyncio", SimpleNamespace(sleep=pause))  # other tasks sleep, too
    return found


async def test_outage_is_logged_at_its_begin_and_its_end_and_the_tries_become_rarer(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "_log", logging.getLogger("outages"))
    outage = Outage(1)
    outage.end()
    for _ in range(2):
        for _ in range(5):
            await outage.wait(status(500))
        outage.end()
        outage.end()
    assert pauses == [1, 2, 4, MAX_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS] * 2
    begin, end = caplog.messages[:2]
    assert begin.endswith("Runbook: worker-idle. Status 500 of " + str(REQUEST.url))
    assert end.startswith("Prefect answers again, after ")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"] * 2


async def test_tries_never_become_more_frequent_than_the_polls(pauses: list[float]) -> None:
    outage = Outage(2 * MAX_BACKOFF_SECONDS)
    for _ in range(3):
        await outage.wait(status(500))
    assert pauses == [2 * MAX_BACKOFF_SECONDS] * 3
