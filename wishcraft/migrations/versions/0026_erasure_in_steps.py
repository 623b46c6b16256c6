"""When shops uninstalled the app, and how far a redaction has come in the payloads of the inbox.

Revision: 0026, after 0025
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_SEARCH = "ix_webhook_events_search_payloads"


def upgrade() -> None:
    op.add_column("webhook_events", sa.Column("searched_up_to", sa.BigInteger(), nullable=True))
    op.create_index(
        _SEARCH, "webhook_events", ["shop_domain", "id"], postgresql_where=sa.text("payload IS NOT NULL")
    )
    # Last: it locks the shops until the migration commits, and the index takes long.
    op.add_column("shops", sa.Column("uninstalled_at", postgresql.TIMESTAMP(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_index(_SEARCH, "webhook_events")
    op.drop_column("webhook_events", "searched_up_to")
    op.drop_column("shops", "uninstalled_at")
