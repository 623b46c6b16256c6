"""Stores which domain a shop may send mail from.

Revision: 0029, after 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shops", sa.Column("verified_mail_domain", sa.Text()))


def downgrade() -> None:
    op.drop_column("shops", "verified_mail_domain")
