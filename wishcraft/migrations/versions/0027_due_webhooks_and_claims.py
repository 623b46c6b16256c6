"""Finds the due webhooks of each shop, however many others have, and forgets claims that name no registry.

Revision: 0027, after 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_FIND = "ix_webhook_events_find_due_of_shop"
_FORGET = """
UPDATE unmatched_lines u SET claim = ''
WHERE claim !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
    AND NOT EXISTS (SELECT FROM registries r WHERE r.shop_id = u.shop_id AND r.slug = u.claim)
"""


def upgrade() -> None:
    op.execute(_FORGET)
    columns = ["shop_domain", "due_at", "id"]
    op.create_index(_FIND, "webhook_events", columns, postgresql_where=sa.text("handled_at IS NULL"))


def downgrade() -> None:
    op.drop_index(_FIND, "webhook_events")
