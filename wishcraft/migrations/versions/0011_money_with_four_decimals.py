"""Money with four decimals: ISO 4217 has currencies with three and four.

Revision: 0011, after 0010

PostgreSQL rewrites registry_items and purchases. Views cannot be kept while the type of their columns changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = {"registry_items": ("price", "compare_at_price"), "purchases": ("unit_price",)}
_VIEWS = ("items", "purchases")


def upgrade() -> None:
    _change_types("numeric(15, 4)")


def downgrade() -> None:
    _change_types("numeric(12, 2)")


def _change_types(kind: str) -> None:
    connection = op.get_bind()
    definitions = {
        view: connection.scalar(sa.text(f"SELECT pg_get_viewdef('analytics.{view}'::regclass)")) for view in _VIEWS
    }
    for view in _VIEWS:
        op.execute(f"DROP VIEW analytics.{view}")
    for table, columns in _COLUMNS.items():
        op.execute(f"ALTER TABLE {table} " + ", ".join(f"ALTER COLUMN {column} TYPE {kind}" for column in columns))
    for view, definition in definitions.items():
        connection.exec_driver_sql(f"CREATE VIEW analytics.{view} AS {definition}")
        op.execute(f"GRANT SELECT ON analytics.{view} TO wishcraft_analyst")
