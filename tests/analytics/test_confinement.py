"""Attacks on the application and its server by questions of an analyst."""

import json
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deployments.sandbox.postgres import confine_analysts
from deployments.sandbox.processes import ROOT
from tests.support.aliases import Demo
from wishcraft.analytics.confinement import HARMLESS
from wishcraft.analytics.database import MAX_ROW_MB, AnalystsDatabase
from wishcraft.errors import ConfigurationError, QueryRefused
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store import locks, registries

Server = Demo
ATTACKS = {
    "pg_advisory_lock": "hashtextextended('create:1:7100000000001', 0)",
    "pg_advisory_xact_lock": "hashtextextended('sync:1', 0)",
    "pg_try_advisory_lock_shared": "7157142004",
    "set_config": "'default_transaction_read_only', 'off', false",
    "lo_from_bytea": "0, 'planted'",
    "lo_creat": "-1",
    "pg_notify": "'channel', 'planted'",
    "pg_logical_emit_message": "false, 'planted', 'planted'",
    "pg_export_snapshot": "",
    "pg_current_xact_id": "",
    "txid_current": "",
    "pg_terminate_backend": "pg_backend_pid()",
    "pg_cancel_backend": "pg_backend_pid()",
    "pg_lock_status": "",
    "query_to_xml": "'SELECT 1', true, true, ''",
}
PEAK = """
import json, sys
from pathlib import Path
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.errors import QueryRefused

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

db = AnalystsDatabase(sys.argv[1])
db.query("SELECT 1", 1, 5)
before, refusals = peak(), []
for question in sys.argv[2:]:
    try:
        db.query(question, 100, 60)
    except QueryRefused as refused:
        refusals.append(str(refused))
print(json.dumps([peak() - before, refusals]))
"""
LARGE_VALUES = {
    "SELECT repeat('x', 50000000)": f"a row is larger than {MAX_ROW_MB} MB: select shorter texts",
    "SELECT array_agg(repeat('x', 1000000)) FROM generate_series(1, 50)": "a row is larger than",
    # An error quotes the value: when the query is planned, and when it runs.
    "SELECT repeat('x', 50000000)::int": 'invalid input syntax for type integer: "xxx',
    "SELECT repeat('x', 50000000 + n)::int FROM generate_series(1, 1) AS n": "invalid input syntax for type",
    "SELECT n, CASE WHEN n > 50 THEN repeat('x', 50000000)::date END FROM generate_series(1, 99) n": "invalid",
}
"""Questions whose answer or error has one, and how their refusal begins."""


@pytest.fixture
def administrator(administrator_url: str) -> Iterator[Server]:
    """A superuser's connection; the script is applied again after the test."""
    with psycopg.connect(administrator_url, autocommit=True) as connection:
        yield connection
    confine_analysts(administrator_url)


@pytest.mark.parametrize("function", ATTACKS)
def test_question_may_not_execute_a_function_with_a_side_effect(db: AnalystsDatabase, function: str) -> None:
    with pytest.raises(QueryRefused, match=f"permission denied for function {function}"):
        db.query(f"SELECT {function}({ATTACKS[function]})::text", 10, 5)


def test_application_role_is_no_superuser_and_keeps_the_functions(demo: Server, administrator: Server) -> None:
    assert demo.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
    [lost] = demo.execute("""SELECT array_agg(oid::regprocedure::text) FROM pg_proc
        WHERE provolatile = 'v' AND NOT has_function_privilege(oid, 'EXECUTE')""")
    [never_had] = administrator.execute("""SELECT array_agg(p.oid::regprocedure::text)
        FROM pg_proc p JOIN pg_init_privs i ON i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass
        WHERE provolatile = 'v' AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) WHERE grantee = 0)""")
    assert set(lost[0]) <= set(never_had[0])


def test_script_gives_the_functions_to_a_later_owner_of_the_database(administrator: Server) -> None:
    may = "SELECT has_function_privilege('later_owner', %s, 'EXECUTE')"
    functions = ("set_config(text, text, boolean)", "pg_notify(text, text)", "pg_ls_tmpdir()")
    with administrator.transaction(force_rollback=True):
        administrator.execute("CREATE ROLE later_owner")
        assert [administrator.execute(may, [each]).fetchone() for each in functions] == [(False,)] * 3
        administrator.execute(
            SQL("ALTER DATABASE {} OWNER TO later_owner").format(Identifier(administrator.info.dbname))
        )
        administrator.execute((ROOT / "deployments/container/analysts.sql").read_bytes())
        assert [administrator.execute(may, [each]).fetchone() for each in functions] == [(True,), (True,), (False,)]


def test_every_harmless_function_exists_and_is_volatile(demo: Server) -> None:
    found = demo.execute("SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v'").fetchall()
    assert set(HARMLESS) <= {name for (name,) in found}


async def test_no_lock_of_the_application_is_one_that_another_role_can_take(
    resources: Resources, administrator: Server
) -> None:
    for name in ("create:1:7", "sync:1", "reminders:1", "token:1"):
        administrator.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    for name in ("sync", "reminders", "token"):
        async with locks.try_acquire(resources.db, name, 1) as acquired:
            assert acquired
    async with resources.db.write(registries.lock_customer(1, 7)) as transaction:
        assert registries.read_customer(transaction.first[-1]).registered == 0


@pytest.mark.parametrize(
    ("undo", "message"),
    [
        ("GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO wishcraft_analyst", "pg_notify"),
        ("GRANT EXECUTE ON FUNCTION txid_current() TO PUBLIC", "txid_current"),
        ("ALTER ROLE wishcraft_analyst IN DATABASE {} RESET temp_file_limit", "temp_file_limit"),
    ],
)
def test_question_is_refused_while_the_script_of_the_administrator_is_missing(
    db: AnalystsDatabase, administrator: Server, administrator_url: str, undo: str, message: str
) -> None:
    administrator.execute(undo.format(administrator.info.dbname))
    with pytest.raises(ConfigurationError, match=rf"{message}.*run deployments/container/analysts\.sql"):
        db.query("SELECT 1", 1, 5)
    confine_analysts(administrator_url)
    assert len(db.query("SELECT 1", 1, 5)) == 1


def test_revocation_by_the_owner_of_the_database_does_nothing_and_is_noticed(
    db: AnalystsDatabase, administrator: Server, demo: Server
) -> None:
    administrator.execute("GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC")
    demo.execute("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC")  # only a warning
    with pytest.raises(ConfigurationError, match="pg_notify"):
        db.query("SELECT 1", 1, 5)


def test_function_of_the_application_that_analysts_may_execute_is_noticed(db: AnalystsDatabase, demo: Server) -> None:
    demo.execute("CREATE FUNCTION planted() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    try:
        with pytest.raises(ConfigurationError, match="planted"):
            db.query("SELECT 1", 1, 5)
    finally:
        demo.execute("DROP FUNCTION planted()")


def test_each_question_has_a_connection_of_its_own_and_a_read_only_transaction(db: AnalystsDatabase) -> None:
    sql = "SELECT pg_backend_pid() AS pid, current_setting('transaction_read_only') AS read_only"
    first, second = (db.query(sql, 1, 5).iloc[0] for _ in range(2))
    assert first["pid"] != second["pid"]
    assert (first["read_only"], second["read_only"]) == ("on", "on")


def test_large_values_are_refused_before_they_are_in_memory(settings: Settings, demo: Server) -> None:
    command = [sys.executable, "-c", PEAK, str(settings.database_replica_url), *LARGE_VALUES]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  ours
    kilobytes, refusals = json.loads(ended.stdout)
    assert kilobytes < 20_000
    for refusal, reason in zip(refusals, LARGE_VALUES.values(), strict=True):
        assert refusal.startswith(reason)
        assert len(refusal) < 400


def test_value_that_changes_when_it_is_computed_again_is_computed_once(db: AnalystsDatabase) -> None:
    sql = (
        "SELECT n, CASE WHEN random() < 0.5 THEN 'a' ELSE 'b' END AS v FROM generate_series(1, 200) AS n ORDER BY v, n"
    )
    values = db.query(sql, 1000, 5)["v"].tolist()
    assert values == sorted(values)
    assert set(values) == {"a", "b"}


def test_large_temporary_files_are_refused(db: AnalystsDatabase, administrator: Server) -> None:
    name = Identifier(administrator.info.dbname)
    limit = "ALTER ROLE wishcraft_analyst IN DATABASE {} SET temp_file_limit = '1MB'"
    administrator.execute(SQL(limit).format(name))
    with pytest.raises(QueryRefused, match="too much space"):
        db.query("SELECT random() AS n FROM generate_series(1, 1000000) ORDER BY 1", 1, 30)
