"""Indexes of tables that are in use: built while other transactions write to the table."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

_LIMITS: Final = {"lock_timeout": "0", "statement_timeout": "1h"}
"""It waits for all transactions that use the table, and holds up none of them."""


def create_index(name: str, table: str, columns: Sequence[str | sa.TextClause], **options: Any) -> None:
    """As `op.create_index`, which lets no transaction write to the table meanwhile.

    It commits what the migration has done before: let the migration do nothing else, so that it can be repeated. An
    index that an interrupted one has left, which PostgreSQL does not use, is replaced.
    """
    with op.get_context().autocommit_block():
        usual = {limit: op.get_bind().scalar(sa.text(f"SHOW {limit}")) for limit in _LIMITS}
        _set(_LIMITS)
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        _set(usual)


def _set(limits: dict[str, Any]) -> None:
    for limit, value in limits.items():
        op.execute(f"SET {limit} = '{value}'")
