"""Alembic's environment: one transaction for each run, with a lock timeout."""

from typing import Literal

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from wishcraft.store.schema import Base
from wishcraft.store.schema.base import Validated


def _render(kind: str, item: object, _: object) -> str | Literal[False]:
    """Render a `Validated` column as JSONB, so that a migration does not depend on application code."""
    return "postgresql.JSONB()" if kind == "type" and isinstance(item, Validated) else False


def run() -> None:
    """Run the migrations online; offline SQL scripts are not supported."""
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with engine.connect() as connection:
        # While a migration waits for its lock, all readers queue behind it: fail early, so that it can be retried.
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, render_item=_render)
        with context.begin_transaction():
            # Serializes concurrent upgrades; the number is an arbitrary name of the lock.
            connection.execute(text("SELECT pg_advisory_xact_lock(7157142004)"))
            context.run_migrations()
    engine.dispose()


run()
