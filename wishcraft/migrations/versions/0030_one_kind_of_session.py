"""Removes a kind of session that was never used.

Revision: 0030, after 0029
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_NAME = "ck_sessions_sessionkind"


def upgrade() -> None:
    _permit("'guest_grant'")


def downgrade() -> None:
    _permit("'guest_grant', 'admin_online'")


def _permit(kinds: str) -> None:
    op.drop_constraint(op.f(_NAME), "sessions")
    op.create_check_constraint(op.f(_NAME), "sessions", sa.text(f"kind IN ({kinds})"))
