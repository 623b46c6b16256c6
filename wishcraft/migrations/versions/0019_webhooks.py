"""Webhooks: the inbox with payloads and retries, orders, unmatched line items, stock by location; attribution of items.

Revision: 0019, after 0018

The new column of `registry_items` has a random value in each row, so the table is rewritten, under a lock.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)
_NOW = sa.text("now()")
_OUTCOME = "ck_webhook_events_webhookoutcome"


def upgrade() -> None:
    _upgrade_inbox()
    op.add_column("shops", sa.Column("installed_at", _TIME, server_default=_NOW, nullable=False))
    op.execute("UPDATE shops SET installed_at = created_at")
    op.add_column(
        "registry_items",
        sa.Column("attribution", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
    )
    op.create_unique_constraint(op.f("uq_registry_items_attribution"), "registry_items", ["attribution"])
    op.add_column("purchases", sa.Column("ordered", sa.BigInteger(), nullable=True))
    op.create_table(
        "orders",
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.Column("triggered_at", _TIME, nullable=True),
        sa.Column("adjustments", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("seen_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_orders_shop_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("shop_id", "order_id", name=op.f("pk_orders")),
    )
    op.create_index("ix_orders_find_old", "orders", ["seen_at"])
    _create_unmatched_lines()
    op.create_table(
        "inventory_levels",
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("inventory_item_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("location_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name=op.f("fk_inventory_levels_shop_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("shop_id", "inventory_item_id", "location_id", name=op.f("pk_inventory_levels")),
    )


def downgrade() -> None:
    """The older release has no place for payloads, nor for webhooks of unknown shops, nor for what never ended."""
    op.drop_table("inventory_levels")
    op.drop_table("unmatched_lines")
    op.drop_table("orders")
    op.drop_column("purchases", "ordered")
    op.drop_column("registry_items", "attribution")
    op.drop_column("shops", "installed_at")
    _downgrade_inbox()


def _upgrade_inbox() -> None:
    op.add_column("webhook_events", sa.Column("shop_domain", sa.Text(), nullable=True))
    op.execute("UPDATE webhook_events w SET shop_domain = s.domain FROM shops s WHERE s.id = w.shop_id")
    op.alter_column("webhook_events", "shop_domain", nullable=False)
    op.drop_column("webhook_events", "shop_id")  # with its constraints
    op.alter_column("webhook_events", "triggered_at", nullable=True)
    op.add_column("webhook_events", sa.Column("api_version", sa.Text(), nullable=True))
    op.add_column("webhook_events", sa.Column("payload", sa.LargeBinary(), nullable=True))
    op.add_column("webhook_events", sa.Column("due_at", _TIME, server_default=_NOW, nullable=False))
    op.add_column("webhook_events", sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "webhook_events", sa.Column("failures", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False)
    )
    op.drop_constraint(op.f(_OUTCOME), "webhook_events", type_="check")
    op.execute(
        "UPDATE webhook_events SET outcome = CASE outcome WHEN 'failed' THEN 'discarded' ELSE coalesce(outcome, 'ignored') END,"
        " handled_at = coalesce(handled_at, now())"  # without a payload, nothing can be done with them
    )
    _check_outcome("applied", "ignored", "dead", "discarded")
    op.create_unique_constraint(
        op.f("uq_webhook_events_shop_domain_webhook_id"), "webhook_events", ["shop_domain", "webhook_id"]
    )
    op.create_index(
        "uq_webhook_events_event", "webhook_events", ["shop_domain", "topic", "event_id"], unique=True
    )
    for name, columns, condition in (
        ("ix_webhook_events_find_due", ["due_at", "id"], "handled_at IS NULL"),
        ("ix_webhook_events_find_dead", ["shop_domain", "id"], "outcome = 'dead'"),
        ("ix_webhook_events_find_payloads", ["handled_at"], "payload IS NOT NULL"),
    ):
        op.create_index(name, "webhook_events", columns, postgresql_where=sa.text(condition))


def _downgrade_inbox() -> None:
    for name in ("find_payloads", "find_dead", "find_due"):
        op.drop_index(f"ix_webhook_events_{name}", "webhook_events")
    op.drop_index("uq_webhook_events_event", "webhook_events")
    op.drop_constraint(op.f("uq_webhook_events_shop_domain_webhook_id"), "webhook_events", type_="unique")
    op.drop_constraint(op.f(_OUTCOME), "webhook_events", type_="check")
    op.execute("UPDATE webhook_events SET outcome = 'failed' WHERE outcome IN ('dead', 'discarded')")
    _check_outcome("applied", "ignored", "failed")
    for column in ("failures", "attempts", "due_at", "payload", "api_version"):
        op.drop_column("webhook_events", column)
    op.execute("UPDATE webhook_events SET triggered_at = received_at WHERE triggered_at IS NULL")
    op.alter_column("webhook_events", "triggered_at", nullable=False)
    op.add_column("webhook_events", sa.Column("shop_id", sa.BigInteger(), nullable=True))
    op.execute("UPDATE webhook_events w SET shop_id = s.id FROM shops s WHERE s.domain = w.shop_domain")
    op.execute("DELETE FROM webhook_events WHERE shop_id IS NULL")
    op.alter_column("webhook_events", "shop_id", nullable=False)
    op.drop_column("webhook_events", "shop_domain")
    op.create_foreign_key(
        op.f("fk_webhook_events_shop_id"), "webhook_events", "shops", ["shop_id"], ["id"], ondelete="CASCADE"
    )
    op.create_unique_constraint(
        op.f("uq_webhook_events_shop_id_webhook_id"), "webhook_events", ["shop_id", "webhook_id"]
    )


def _check_outcome(*outcomes: str) -> None:
    listed = ", ".join(f"'{each}'" for each in outcomes)
    op.create_check_constraint(op.f(_OUTCOME), "webhook_events", f"outcome IN ({listed})")


def _create_unmatched_lines() -> None:
    op.create_table(
        "unmatched_lines",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("line_item_id", sa.BigInteger(), nullable=False),
        sa.Column("order_name", sa.Text(), nullable=False),
        sa.Column("variant_id", sa.BigInteger(), nullable=True),
        sa.Column("product_title", sa.Text(), nullable=False),
        sa.Column("ordered", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("unit_price", sa.Numeric(15, 4), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("purchaser_name", sa.Text(), nullable=True),
        sa.Column("purchaser_email", sa.Text(), nullable=True),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        sa.Column("gift_message", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("dismissed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name=op.f("fk_unmatched_lines_shop_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmatched_lines")),
        sa.UniqueConstraint("shop_id", "line_item_id", name=op.f("uq_unmatched_lines_shop_id_line_item_id")),
    )
    op.create_index("ix_unmatched_lines_of_order", "unmatched_lines", ["shop_id", "order_id"])
    op.create_index(
        "ix_unmatched_lines_list", "unmatched_lines", ["shop_id", "id"], postgresql_where=sa.text("dismissed_at IS NULL")
    )
