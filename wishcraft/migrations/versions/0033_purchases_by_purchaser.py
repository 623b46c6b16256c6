"""Finds the purchases of a customer: a merge, and an erasure, read all purchases of the shop.

Revision: 0033, after 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_purchases_of_purchaser",
        "purchases",
        ["shop_id", "purchaser_id"],
        postgresql_where=sa.text("purchaser_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_purchases_of_purchaser", table_name="purchases")
