"""Whether a login can do nothing but read the analysts' views: what `ask` requires before it runs a question.

See docs/decisions/0020-confinement.md; an administrator's script, deployments/container/analysts.sql, achieves it.
"""

from typing import Any, Final

from psycopg import Connection

from wishcraft.errors import ConfigurationError

ROLE: Final = "wishcraft_analyst"
HARMLESS: Final = (
    *("array_sample", "array_shuffle", "clock_timestamp", "gen_random_uuid", "pg_is_in_recovery", "pg_sleep"),
    *("pg_sleep_for", "pg_sleep_until", "random", "random_normal", "set_limit", "timeofday", "uuidv4", "uuidv7"),
)
"""Volatile functions without a side effect on anything but their own query."""
_WITH_SIDE_EFFECT: Final = ("pg_current_xact_id", "txid_current")
"""Functions that are called stable, and assign a transaction id."""
_SCRIPT: Final = "run deployments/container/analysts.sql in this database, as a superuser"
# A superuser or a member of another role could leave this role with SET ROLE within the query.
_IS_THE_ROLE: Final = """
SELECT session_user = %(role)s AND NOT rolsuper AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = oid)
FROM pg_roles WHERE rolname = session_user
"""
# On a standby nothing can be written, announced or locked. What takes `internal` cannot be called by a query.
_FORBIDDEN: Final = """
SELECT DISTINCT proname FROM pg_proc
WHERE NOT pg_is_in_recovery()
    AND (provolatile = 'v' AND proname <> ALL (%(harmless)s) OR proname = ANY (%(effects)s))
    AND 'internal'::regtype <> ALL (proargtypes)
    AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'language_handler'::regtype)
    AND has_function_privilege(oid, 'EXECUTE')
ORDER BY 1 LIMIT 4
"""
_TEMP_FILE_LIMIT: Final = "SELECT current_setting('temp_file_limit') <> '-1'"


def require_confinement(connection: Connection[tuple[Any, ...]]) -> None:
    """Check the login, the functions that it may execute, and the limit of its temporary files.

    Raises:
        ConfigurationError: It can do more; the message says what to do.
    """
    if connection.execute(_IS_THE_ROLE, {"role": ROLE}).fetchone() != (True,):
        raise ConfigurationError(f"queries run only as {ROLE}: set DATABASE_REPLICA_URL to a URL with that login")
    values = {"harmless": list(HARMLESS), "effects": list(_WITH_SIDE_EFFECT)}
    if forbidden := [name for (name,) in connection.execute(_FORBIDDEN, values)]:
        raise ConfigurationError(f"{ROLE} may execute functions such as {', '.join(forbidden)}: {_SCRIPT}")
    if connection.execute(_TEMP_FILE_LIMIT).fetchone() != (True,):
        raise ConfigurationError(f"{ROLE} has no temp_file_limit: {_SCRIPT}")
