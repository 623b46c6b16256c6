"""Alembic's environment: one transaction per run, and no waiting behind long queries while holding up others."""

from typing import Literal

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from wishcraft.store.schema import Base
from wishcraft.store.schema.base import Validated


def _render(kind: str, item: object, _: object) -> str | Literal[False]:
    """Write a validated column down as the JSONB that it is: a migration must not depend on the code of its day."""
    return "postgresql.JSONB()" if kind == "type" and isinstance(item, Validated) else False


def run() -> None:
    """Run the migrations online; offline SQL scripts are not supported."""
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with engine.connect() as connection:
        # A migration that cannot have its lock soon would queue every reader behind it: better to fail and be retried.
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, render_item=_render)
        with context.begin_transaction():
            # Two that start together take turns; the number is this lock's name.
            connection.execute(text("SELECT pg_advisory_xact_lock(7157142004)"))
            context.run_migrations()
    engine.dispose()


run()
