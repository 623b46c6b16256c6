"""Stores which API key replaced another.

Revision: 0032, after 0031

The audit log has the successors of keys that were rotated before. They are needed of those that are still valid, which
end within the longest grace, 30 days.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_FILL = """
UPDATE api_keys k SET successor = (
    SELECT a.metadata ->> 'successor' FROM audit_logs a
    WHERE a.shop_id = k.shop_id AND a.resource = 'api_key' AND a.resource_id = k.prefix AND a.action = 'key.rotated'
    ORDER BY a.created_at DESC, a.id DESC LIMIT 1
)
WHERE k.revoked_at IS NULL AND k.expires_at BETWEEN now() AND now() + interval '30 days'
"""


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("successor", sa.Text()))  # waits for rotations that are under way
    op.execute(_FILL)


def downgrade() -> None:
    op.drop_column("api_keys", "successor")
