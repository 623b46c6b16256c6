"""Pending invalidations in a table of their own, so that they outlive a registry or a shop that is deleted.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pending_invalidations",
        sa.Column("shop_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "slug", name=op.f("pk_pending_invalidations")),
    )
    op.execute(
        "INSERT INTO pending_invalidations (shop_id, slug, version, since)"
        " SELECT shop_id, slug, version, updated_at FROM registries WHERE unmarked"
    )
    op.drop_index("ix_registries_find_unmarked", table_name="registries")
    op.drop_column("registries", "unmarked")


def downgrade() -> None:
    op.add_column("registries", sa.Column("unmarked", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_registries_find_unmarked", "registries", ["id"], postgresql_where=sa.text("unmarked"))
    op.execute(
        "UPDATE registries r SET unmarked = true FROM pending_invalidations p"
        " WHERE p.shop_id = r.shop_id AND p.slug = r.slug"
    )
    op.drop_table("pending_invalidations")
