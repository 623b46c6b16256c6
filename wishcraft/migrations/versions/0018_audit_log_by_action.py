"""Index for the audit log by action.

Revision: 0018, after 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_logs_of_action", "audit_logs", ["shop_id", "action", "created_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_audit_logs_of_action", "audit_logs")
