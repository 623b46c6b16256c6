"""The part `replica` of /health says what the last check found, as the runbook needs it."""

from contextlib import suppress
from dataclasses import replace
from typing import Final

import pytest
from sqlalchemy import text

from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.health.monitor import HealthMonitor, Status
from wishcraft.settings import Settings
from wishcraft.store.engine import Database
from wishcraft.store.replica import Replica

NOWHERE: Final = "postgresql+psycopg://someone:secret@127.0.0.1:1/none"
ANSWERS: Final = {
    "another system": text("SELECT 0::bigint, 1::bigint"),
    "nothing replayed": text("SELECT 0::bigint, system_identifier FROM pg_control_system()"),
}
"""Answers of a replica, given by the server of the tests, which is not one."""


@pytest.mark.parametrize(
    ("primary", "other", "expected"),
    [
        ("here", "nowhere", "does not answer"),
        ("here", "here", "is not a streaming replica"),
        ("here", "another system", "is a replica of another system than DATABASE_URL"),
        ("here", "nothing replayed", "lags by a time that is not known yet"),
        ("nowhere", "here", "cannot be checked while DATABASE_URL does not answer"),
    ],
)
async def test_health_says_what_the_last_check_of_the_replica_found(
    resources: Resources, settings: Settings, monkeypatch: pytest.MonkeyPatch, primary: str, other: str, expected: str
) -> None:
    if other in ANSWERS:
        monkeypatch.setattr("wishcraft.store.replica._REPLAYED_POSITION", ANSWERS[other])
    database = Database(NOWHERE if primary == "nowhere" else settings.database_url)
    replica = Replica(NOWHERE if other == "nowhere" else settings.database_url, database, 5)
    monitor = HealthMonitor(replace(resources, replica=replica), settings)
    with suppress(DatabaseUnavailable):
        await replica.check()
    check = (await monitor.health()).checks["replica"]
    assert (check.status, check.detail) == (Status.DEGRADED, f"{expected}: lists are read from DATABASE_URL")
    await monitor.close()
    await replica.close()
    await database.close()


async def test_fault_of_a_replica_ends_with_a_check_that_finds_none(
    resources: Resources, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(settings.database_url, resources.db, 5)
    with pytest.raises(DatabaseUnavailable):
        await replica.check()
    assert replica.fault
    monkeypatch.setattr("wishcraft.store.replica._REPLAYED_POSITION", ANSWERS["nothing replayed"])
    await replica.check()
    assert replica.fault is None
    await replica.close()
