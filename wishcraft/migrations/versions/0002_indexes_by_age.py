"""Indexes by age.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_IS_COMPLIANCE = (
    "starts_with(action, 'compliance.')"
    " OR action IN ('customers/data_request', 'customers/redact', 'shop/redact')"
)


def upgrade() -> None:
    op.drop_index("ix_audit_logs_find_old", table_name="audit_logs")
    op.create_index(
        "ix_audit_logs_find_old_ordinary",
        "audit_logs",
        ["created_at"],
        postgresql_where=sa.text(f"NOT ({_IS_COMPLIANCE})"),
    )
    op.create_index(
        "ix_audit_logs_find_old_compliance", "audit_logs", ["created_at"], postgresql_where=sa.text(_IS_COMPLIANCE)
    )
    op.drop_index("ix_analytics_events_find_old", table_name="analytics_events", postgresql_using="brin")
    op.create_index("ix_analytics_events_find_old", "analytics_events", ["occurred_at"])


def downgrade() -> None:
    op.drop_index("ix_analytics_events_find_old", table_name="analytics_events")
    op.create_index(
        "ix_analytics_events_find_old", "analytics_events", ["occurred_at"], postgresql_using="brin"
    )
    op.drop_index("ix_audit_logs_find_old_compliance", table_name="audit_logs")
    op.drop_index("ix_audit_logs_find_old_ordinary", table_name="audit_logs")
    op.create_index("ix_audit_logs_find_old", "audit_logs", ["created_at"])
