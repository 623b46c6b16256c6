"""Orders that were read from Shopify: up to when, and of which changes no webhook has come.

Revision: 0022, after 0019
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0019"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)
_OVERDUE = "ix_orders_find_overdue"


def upgrade() -> None:
    op.add_column("shops", sa.Column("orders_read_until", _TIME, nullable=True))
    op.execute("UPDATE shops SET orders_read_until = now()")  # before this release, no order named an item
    op.add_column("orders", sa.Column("awaited_since", _TIME, nullable=True))
    op.create_index(
        _OVERDUE, "orders", ["shop_id", "awaited_since"], postgresql_where=sa.text("awaited_since IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index(_OVERDUE, "orders")
    op.drop_column("orders", "awaited_since")
    op.drop_column("shops", "orders_read_until")
