"""Stores which API key replaced another.

Revision: 0032, after 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("successor", sa.Text()))


def downgrade() -> None:
    op.drop_column("api_keys", "successor")
