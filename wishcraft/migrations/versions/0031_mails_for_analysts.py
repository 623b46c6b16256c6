"""Stores the provider of a mail, and adds a view of what became of mails for analysts.

Revision: 0031, after 0030

The view counts mails by shop, day, kind, provider and outcome: it has no row of a single recipient.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_TABLES = {"reminders": "reminder", "invitations": "invitation"}
# Mails that still wait are left out, unless their provider has told what became of them. A refused address is suppressed
# with the error of its mail; without one, it had been suppressed before, and nothing was sent.
_MAILS = """
    SELECT shop_id, (coalesce(claimed_at, updated_at) AT TIME ZONE 'UTC')::date AS day, '{kind}' AS kind,
        coalesce(provider, 'not known') AS provider,
        CASE
            WHEN outcome IS NOT NULL THEN outcome
            WHEN state = 'suppressed' AND last_error IS NOT NULL THEN 'refused'
            ELSE state
        END AS outcome
    FROM public.{table} WHERE outcome IS NOT NULL OR state IN ('sent', 'failed', 'suppressed')
"""


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("provider", sa.Text()))
    mails = " UNION ALL ".join(_MAILS.format(table=table, kind=kind) for table, kind in _TABLES.items())
    op.execute(f"""
        CREATE VIEW analytics.mails AS
        SELECT shop_id, day, kind, provider, outcome, count(*) AS mails FROM ({mails}) AS of_all GROUP BY 1, 2, 3, 4, 5
    """)
    op.execute("GRANT SELECT ON analytics.mails TO wishcraft_analyst")


def downgrade() -> None:
    op.execute("DROP VIEW analytics.mails")
    for table in _TABLES:
        op.drop_column(table, "provider")
