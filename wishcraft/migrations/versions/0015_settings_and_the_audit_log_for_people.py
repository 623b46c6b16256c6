"""Settings have a version, and people read the audit log.

Revision: 0015, after 0014

A change of the settings leaves `outdated_stock` until the cache entries that it concerns are replaced. The indexes of
`audit_logs` serve its list: all of a shop, of one actor, of one resource; the first also the deletion of a shop.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shops", sa.Column("settings_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False))
    op.add_column("shops", sa.Column("outdated_stock", postgresql.INT8RANGE(), nullable=True))
    op.create_index("ix_audit_logs_of_shop", "audit_logs", ["shop_id", "created_at", "id"])
    op.create_index("ix_audit_logs_of_actor", "audit_logs", ["shop_id", "actor", "created_at", "id"])
    op.create_index(
        "ix_audit_logs_of_resource", "audit_logs", ["shop_id", "resource", "resource_id", "created_at", "id"]
    )
    op.drop_index("ix_audit_logs_shop_id", "audit_logs")


def downgrade() -> None:
    op.create_index("ix_audit_logs_shop_id", "audit_logs", ["shop_id"])
    op.drop_index("ix_audit_logs_of_resource", "audit_logs")
    op.drop_index("ix_audit_logs_of_actor", "audit_logs")
    op.drop_index("ix_audit_logs_of_shop", "audit_logs")
    op.drop_column("shops", "outdated_stock")
    op.drop_column("shops", "settings_version")
