"""No setting and no index that nothing reads.

Revision: 0014, after 0013

`gift_messages` was a setting of a shop that had no effect. Nothing looks for the audit log of a resource; the deletion of
a shop looks for the audit log of the shop.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE shops SET settings = settings - 'gift_messages' WHERE jsonb_exists(settings, 'gift_messages')")
    op.create_index("ix_audit_logs_shop_id", "audit_logs", ["shop_id"])
    op.drop_index("ix_audit_logs_of_resource", "audit_logs")


def downgrade() -> None:
    """The older release has a default for the setting."""
    op.create_index("ix_audit_logs_of_resource", "audit_logs", ["shop_id", "resource", "resource_id", "created_at"])
    op.drop_index("ix_audit_logs_shop_id", "audit_logs")
