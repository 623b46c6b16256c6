"""Orders: when they were made, which lines were judged, whether they still exist. Webhooks: their signatures.

Products and stock by age, for the cleanup.

Revision: 0025, after 0023
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)
_EVENT = "uq_webhook_events_event"
_SAID = "COALESCE(GREATEST(updated_at, levels_read_at, stock_observed_at), '-infinity'::timestamptz)"
_BY_EVENT = ["shop_domain", "topic", "event_id"]


def upgrade() -> None:
    op.add_column("orders", sa.Column("ordered_at", _TIME, nullable=True))
    op.add_column("orders", sa.Column("asked_at", _TIME, nullable=True))
    judged = postgresql.ARRAY(sa.BigInteger())
    op.add_column("orders", sa.Column("judged", judged, server_default=sa.text("'{}'"), nullable=False))
    op.add_column("webhook_events", sa.Column("signature", sa.LargeBinary(), nullable=True))
    op.drop_index(_EVENT, "webhook_events")
    op.create_index(_EVENT, "webhook_events", [*_BY_EVENT, "signature"], unique=True)
    op.create_index("ix_product_versions_find_old", "product_versions", ["updated_at"])
    op.create_index("ix_inventory_items_find_old", "inventory_items", [sa.text(_SAID)])


def downgrade() -> None:
    op.drop_index("ix_inventory_items_find_old", "inventory_items")
    op.drop_index("ix_product_versions_find_old", "product_versions")
    op.drop_index(_EVENT, "webhook_events")
    op.execute(
        "UPDATE webhook_events a SET event_id = NULL FROM webhook_events b WHERE a.shop_domain = b.shop_domain"
        " AND a.topic = b.topic AND a.event_id = b.event_id AND a.id > b.id"
    )
    op.create_index(_EVENT, "webhook_events", _BY_EVENT, unique=True)
    op.drop_column("webhook_events", "signature")
    for column in ("judged", "asked_at", "ordered_at"):
        op.drop_column("orders", column)
