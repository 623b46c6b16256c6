import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.support.aliases import Demo
from tests.support.job_processes import command, environment
from tests.support.waiting import block_until
from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.resources import Resources
from wishcraft.services.cleanup.expired import clean_table
from wishcraft.settings import Settings

pytestmark = pytest.mark.chaos
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BOUNDS = Bounds(10, datetime.max.replace(tzinfo=UTC))
ROWS = 100


@pytest.fixture
def cleaner(settings: Settings, demo: Demo) -> Iterator["subprocess.Popen[str]"]:
    """A process that deletes old audit logs; between batches it prints its count and waits for a line."""
    demo.execute("TRUNCATE audit_logs")
    demo.execute(
        """INSERT INTO audit_logs (actor, action, resource, resource_id, created_at)
           SELECT 'ops', 'registry.archived', 'registry', n, %s FROM generate_series(1, %s) n""",
        [LONG_AGO, ROWS],
    )
    process = subprocess.Popen(  # noqa: S603  the tests' own program
        command("delete_audit_logs"),
        env=environment(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def deleted(cleaner: "subprocess.Popen[str]") -> int:
    assert cleaner.stdout
    return int(cleaner.stdout.readline())


def go_on(cleaner: "subprocess.Popen[str]") -> None:
    assert cleaner.stdin
    cleaner.stdin.write("\n")
    cleaner.stdin.flush()


def left(demo: Demo) -> int:
    [(rows,)] = demo.execute("SELECT count(*) FROM audit_logs WHERE created_at = %s", [LONG_AGO]).fetchall()
    return int(rows)


def kill(cleaner: "subprocess.Popen[str]") -> None:
    os.kill(cleaner.pid, signal.SIGKILL)
    cleaner.wait()


async def test_a_cleanup_killed_between_batches_is_completed_by_the_next(
    cleaner: "subprocess.Popen[str]", resources: Resources, demo: Demo
) -> None:
    while deleted(cleaner) < 30:
        go_on(cleaner)
    kill(cleaner)
    assert left(demo) == ROWS - 30
    assert (await clean_table(resources, DataKind.AUDIT, datetime.now(UTC), BOUNDS))["deleted"] == ROWS - 30
    assert left(demo) == 0


async def test_a_cleanup_killed_within_a_batch_leaves_it_to_the_next(
    cleaner: "subprocess.Popen[str]", resources: Resources, demo: Demo
) -> None:
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%DELETE FROM audit%'"
        " AND pid <> pg_backend_pid()"
    )
    go_on(cleaner)
    while deleted(cleaner) < 10:
        pass
    with demo.transaction():
        demo.execute("LOCK TABLE audit_logs IN SHARE MODE")
        go_on(cleaner)
        # Not pg_stat_activity: a transaction sees one snapshot of it throughout.
        waiting = """SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                     WHERE d.datname = current_database() AND relation = 'audit_logs'::regclass AND NOT granted"""
        block_until(lambda: demo.execute(waiting).fetchone() == (1,), "the second batch did not start")
        kill(cleaner)
    block_until(lambda: demo.execute(busy).fetchone() == (0,), "PostgreSQL did not end the killed client's query")
    assert left(demo) == ROWS - 10
    assert (await clean_table(resources, DataKind.AUDIT, datetime.now(UTC), BOUNDS))["deleted"] == ROWS - 10
