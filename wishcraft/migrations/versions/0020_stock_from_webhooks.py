"""Webhooks of products and stock: when they were true, which levels are known, and since when all variants were read.

Revision: 0020, after 0019

Items remember whether their product is sold, which their status does not say of hidden ones.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column(
        "registry_items", sa.Column("product_active", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
    op.execute(
        "UPDATE registry_items SET product_active = false WHERE status = 'discontinued' OR (NOT available"
        " AND (NOT tracked OR inventory_quantity > 0 OR inventory_policy = 'continue'))"
    )
    op.create_index("ix_registry_items_of_product", "registry_items", ["shop_id", "product_id"])
    op.add_column("shops", sa.Column("variants_read_at", _TIME, nullable=True))
    op.add_column("inventory_levels", sa.Column("triggered_at", _TIME, nullable=False))  # nothing has written it yet
    op.create_table(
        "product_versions",
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("triggered_at", _TIME, nullable=False),
        sa.Column("fingerprint", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name=op.f("fk_product_versions_shop_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("shop_id", "product_id", name=op.f("pk_product_versions")),
    )
    op.create_table(
        "inventory_items",
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("inventory_item_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.Column("triggered_at", _TIME, nullable=True),
        sa.Column("tracked", sa.Boolean(), nullable=True),
        sa.Column("levels_read_at", _TIME, nullable=True),
        sa.Column("stock_observed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_inventory_items_shop_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("shop_id", "inventory_item_id", name=op.f("pk_inventory_items")),
    )


def downgrade() -> None:
    op.drop_table("inventory_items")
    op.drop_table("product_versions")
    op.drop_column("inventory_levels", "triggered_at")
    op.drop_column("shops", "variants_read_at")
    op.drop_index("ix_registry_items_of_product", "registry_items")
    op.drop_column("registry_items", "product_active")
