"""What outlives a deleted registry: purchases without names, and invitations that still count for the limits.

Revision: 0016, after 0015

`pending_invalidations.grants` is NULL in rows of older releases, whose processes never delete a registry. Purchases and
items are locked from the new foreign keys on, which check each purchase.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_OF_ITEM = "fk_purchases_shop_id_registry_id_item_id"
_OF_SHOP = "fk_purchases_shop_id"
_KEY = ["shop_id", "registry_id"]


def upgrade() -> None:
    op.create_table(
        "counted_invitations",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=True),
        sa.Column("mailbox_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name=op.f("fk_counted_invitations_shop_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_counted_invitations")),
    )
    op.create_index("ix_counted_invitations_of_shop", "counted_invitations", ["shop_id", "expires_at"])
    op.create_index("ix_counted_invitations_find_expired", "counted_invitations", ["expires_at"])
    op.add_column("pending_invalidations", sa.Column("grants", postgresql.ARRAY(sa.Text()), nullable=True))
    op.alter_column("purchases", "item_id", nullable=True)
    op.drop_constraint(_OF_ITEM, "purchases", type_="foreignkey")
    _refer_to_items("SET NULL (item_id)")
    op.create_foreign_key(_OF_SHOP, "purchases", "shops", ["shop_id"], ["id"], ondelete="CASCADE")


def downgrade() -> None:
    """The older release has no place for purchases without an item, and replays a deletion as any invalidation."""
    op.execute("DELETE FROM purchases WHERE item_id IS NULL")
    op.drop_constraint(_OF_SHOP, "purchases", type_="foreignkey")
    op.drop_constraint(_OF_ITEM, "purchases", type_="foreignkey")
    _refer_to_items("CASCADE")
    op.alter_column("purchases", "item_id", nullable=False)
    op.drop_column("pending_invalidations", "grants")
    op.drop_table("counted_invitations")


def _refer_to_items(ondelete: str) -> None:
    op.create_foreign_key(
        _OF_ITEM, "purchases", "registry_items", [*_KEY, "item_id"], [*_KEY, "id"], ondelete=ondelete
    )
