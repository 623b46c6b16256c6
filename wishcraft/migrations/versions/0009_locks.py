"""Locks as rows of a table, because every role of the database can take advisory locks.

Revision: 0009, after 0008

The table is unlogged: after a crash of the server no lock is held, so nothing has to survive it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "locks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("started", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locks")),
        prefixes=["UNLOGGED"],
    )


def downgrade() -> None:
    op.drop_table("locks")
