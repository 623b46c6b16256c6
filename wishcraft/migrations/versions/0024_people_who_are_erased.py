"""The customers' ids of purchasers, and which customers were merged.

Revision: 0024, after 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("purchases", sa.Column("purchaser_id", sa.BigInteger()))
    op.add_column("unmatched_lines", sa.Column("purchaser_id", sa.BigInteger()))
    op.create_table(
        "merged_customers",
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("deleted_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kept_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name="fk_merged_customers_shop_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("shop_id", "deleted_id", name="pk_merged_customers"),
    )
    op.create_index("ix_merged_customers_into", "merged_customers", ["shop_id", "kept_id"])


def downgrade() -> None:
    op.drop_table("merged_customers")
    op.drop_column("unmatched_lines", "purchaser_id")
    op.drop_column("purchases", "purchaser_id")
