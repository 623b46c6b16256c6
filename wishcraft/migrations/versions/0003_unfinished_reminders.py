"""Unfinished reminders.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_reminders_find_unfinished",
        "reminders",
        ["shop_id", "event_date"],
        postgresql_where=sa.text("state IN ('pending', 'sending')"),
    )
    op.drop_index("ix_reminders_claim_due", table_name="reminders")


def downgrade() -> None:
    op.create_index(
        "ix_reminders_claim_due",
        "reminders",
        ["shop_id", "event_date"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index("ix_reminders_find_unfinished", table_name="reminders")
