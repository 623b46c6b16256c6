"""Alembic's environment: one transaction for each run, with a lock timeout, while other runs wait."""

import time
from typing import Final, Literal

from alembic import context
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from wishcraft.store.schema import Base
from wishcraft.store.schema.base import Validated

_CREATE_VERSION: Final = """
DO $$
BEGIN
    CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);
EXCEPTION
    WHEN duplicate_table OR unique_violation THEN NULL;  -- created in another transaction meanwhile
END
$$
"""
# Concurrent upgrades wait for each other, and what has the turn may still change the version. An advisory lock could be
# taken by any role, such as the analysts'.
_TAKE_TURN: Final = "LOCK TABLE alembic_version IN SHARE UPDATE EXCLUSIVE MODE"


def _render(kind: str, item: object, _: object) -> str | Literal[False]:
    """Render a `Validated` column as JSONB, so that a migration does not depend on application code."""
    return "postgresql.JSONB()" if kind == "type" and isinstance(item, Validated) else False


def _take_turn(turn: Connection, seconds: float) -> None:
    """Wait until no other process migrates the database.

    It asks each second: the snapshot of a statement that waits would hold up an index that is built concurrently.

    Raises:
        OperationalError: Another process did not end within `seconds`.
    """
    deadline = time.monotonic() + seconds
    turn.execute(text("SET lock_timeout = '1s'"))
    turn.execute(text("SET idle_in_transaction_session_timeout = 0"))
    turn.execute(text(_CREATE_VERSION))
    turn.commit()
    while True:
        try:
            turn.execute(text(_TAKE_TURN))
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable) or time.monotonic() >= deadline:
                raise
            turn.rollback()
        else:
            return


def run() -> None:
    """Run the migrations online; offline SQL scripts are not supported."""
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    # The turn is a connection's own: `indexes.create_index` ends the transaction of its migration.
    with engine.connect() as turn, engine.connect() as connection:
        _take_turn(turn, context.config.attributes["turn_seconds"])
        # While a migration waits for its lock, all readers queue behind it: fail early, so that it can be retried.
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, render_item=_render)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
