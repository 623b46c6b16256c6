"""Stores what became of a mail after it was sent.

Revision: 0028, after 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_OUTCOMES = "'deferred', 'delivered', 'rejected', 'soft_bounced', 'bounced', 'unsubscribed', 'complained'"


def upgrade() -> None:
    for table in ("reminders", "invitations"):
        op.add_column(table, sa.Column("outcome", sa.String(32)))
        op.add_column(table, sa.Column("outcome_at", sa.DateTime(timezone=True)))
        op.create_check_constraint(op.f(f"ck_{table}_mailoutcome"), table, f"outcome IN ({_OUTCOMES})")
        soft = sa.text("outcome = 'soft_bounced'")
        op.create_index(f"ix_{table}_find_soft_bounces", table, ["shop_id", "recipient"], postgresql_where=soft)
        told = sa.text("outcome IS NOT NULL")
        op.create_index(f"ix_{table}_count_outcomes", table, ["outcome_at"], postgresql_where=told)


def downgrade() -> None:
    for table in ("reminders", "invitations"):
        op.drop_index(f"ix_{table}_count_outcomes", table)
        op.drop_index(f"ix_{table}_find_soft_bounces", table)
        op.drop_constraint(op.f(f"ck_{table}_mailoutcome"), table)
        op.drop_column(table, "outcome_at")
        op.drop_column(table, "outcome")
