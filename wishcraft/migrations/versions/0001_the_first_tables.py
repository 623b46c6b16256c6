"""The first tables.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shops",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("active", "uninstalled", name="shopstatus", native_enum=False, create_constraint=True, length=32),
            server_default="active",
            nullable=False,
        ),
        sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("access_token_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("refresh_token_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("token_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shops")),
        sa.UniqueConstraint("domain", name=op.f("uq_shops_domain")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("ip_allow_list", postgresql.ARRAY(postgresql.CIDR()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_api_keys_shop_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index(op.f("ix_api_keys_shop_id"), "api_keys", ["shop_id"], unique=False)
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("ip", postgresql.INET(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_audit_logs_shop_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
    )
    op.create_index("ix_audit_logs_find_old", "audit_logs", ["created_at"], unique=False)
    op.create_index(
        "ix_audit_logs_of_resource", "audit_logs", ["shop_id", "resource", "resource_id", "created_at"], unique=False
    )
    op.create_table(
        "email_suppressions",
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                "bounce",
                "complaint",
                "unsubscribe",
                name="suppressionreason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name=op.f("fk_email_suppressions_shop_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("shop_id", "address_hash", name=op.f("pk_email_suppressions")),
    )
    op.create_table(
        "registries",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "event_type",
            sa.Enum(
                "wedding",
                "baby",
                "birthday",
                "graduation",
                "anniversary",
                "holiday",
                "housewarming",
                "general",
                name="eventtype",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("event_date", sa.Date(), nullable=True),
        sa.Column("event_location", sa.Text(), nullable=True),
        sa.Column(
            "visibility",
            sa.Enum(
                "public",
                "unlisted",
                "password",
                "private",
                name="visibility",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("access_code_hash", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.BigInteger(), nullable=True),
        sa.Column("customer_email", sa.Text(), nullable=False),
        sa.Column("customer_first_name", sa.Text(), nullable=False),
        sa.Column("customer_last_name", sa.Text(), nullable=False),
        sa.Column(
            "co_registrants", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "paused",
                "completed",
                "archived",
                name="registrystatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="active",
            nullable=False,
        ),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_registries_shop_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
        sa.UniqueConstraint("shop_id", "id", name=op.f("uq_registries_shop_id_id")),
        sa.UniqueConstraint("shop_id", "slug", name=op.f("uq_registries_shop_id_slug")),
    )
    op.create_index(
        "ix_registries_find_due",
        "registries",
        ["shop_id", "event_date"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_index(
        "ix_registries_list_active",
        "registries",
        ["shop_id", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_index(
        "ix_registries_list_public",
        "registries",
        ["shop_id", "id"],
        unique=False,
        postgresql_where=sa.text("visibility = 'public' AND status = 'active'"),
    )
    op.create_index("ix_registries_of_customer", "registries", ["shop_id", "customer_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "guest_grant", "admin_online", name="sessionkind", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_sessions_shop_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_find_expired", "sessions", ["expires_at"], unique=False)
    op.create_index(op.f("ix_sessions_shop_id"), "sessions", ["shop_id"], unique=False)
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("triggered_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("handled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            sa.Enum(
                "applied",
                "ignored",
                "failed",
                name="webhookoutcome",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_webhook_events_shop_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sa.UniqueConstraint("shop_id", "webhook_id", name=op.f("uq_webhook_events_shop_id_webhook_id")),
    )
    op.create_index("ix_webhook_events_find_handled", "webhook_events", ["handled_at"], unique=False)
    op.create_table(
        "analytics_events",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "type",
            sa.Enum(
                "registry_viewed",
                "item_clicked",
                "added_to_cart",
                "purchased",
                name="analyticstype",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("visitor_id", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id", "registry_id"],
            ["registries.shop_id", "registries.id"],
            name=op.f("fk_analytics_events_shop_id_registry_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_events")),
    )
    op.create_index(
        "ix_analytics_events_count_views",
        "analytics_events",
        ["shop_id", "type", "occurred_at", "registry_id"],
        unique=False,
    )
    op.create_index(
        "ix_analytics_events_find_old", "analytics_events", ["occurred_at"], unique=False, postgresql_using="brin"
    )
    op.create_index("ix_analytics_events_of_registry", "analytics_events", ["registry_id"], unique=False)
    op.create_table(
        "registry_items",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_id", sa.BigInteger(), nullable=False),
        sa.Column("inventory_item_id", sa.BigInteger(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("product_title", sa.Text(), nullable=False),
        sa.Column("variant_title", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("quantity_wanted", sa.BigInteger(), nullable=False),
        sa.Column("quantity_purchased", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "priority",
            sa.Enum("high", "medium", "low", name="priority", native_enum=False, create_constraint=True, length=32),
            server_default="medium",
            nullable=False,
        ),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("compare_at_price", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tracked", sa.Boolean(), nullable=False),
        sa.Column("inventory_quantity", sa.BigInteger(), nullable=False),
        sa.Column(
            "inventory_policy",
            sa.Enum("deny", "continue", name="inventorypolicy", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "out_of_stock",
                "discontinued",
                "hidden",
                name="itemstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="active",
            nullable=False,
        ),
        sa.Column("display_order", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("inventory_observed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("quantity_purchased >= 0", name=op.f("ck_registry_items_purchased_some_or_none")),
        sa.CheckConstraint("quantity_wanted > 0", name=op.f("ck_registry_items_wants_some")),
        sa.ForeignKeyConstraint(
            ["shop_id", "registry_id"],
            ["registries.shop_id", "registries.id"],
            name=op.f("fk_registry_items_shop_id_registry_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_items")),
        sa.UniqueConstraint("registry_id", "variant_id", name=op.f("uq_registry_items_registry_id_variant_id")),
        sa.UniqueConstraint("shop_id", "registry_id", "id", name=op.f("uq_registry_items_shop_id_registry_id_id")),
    )
    op.create_index(
        "ix_registry_items_of_inventory_item", "registry_items", ["shop_id", "inventory_item_id"], unique=False
    )
    op.create_index(
        "ix_registry_items_of_variant", "registry_items", ["shop_id", "variant_id", "registry_id"], unique=False
    )
    op.create_table(
        "reminders",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event_date", sa.Date(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "sending",
                "sent",
                "failed",
                "suppressed",
                name="reminderstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id", "registry_id"],
            ["registries.shop_id", "registries.id"],
            name=op.f("fk_reminders_shop_id_registry_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminders")),
        sa.UniqueConstraint(
            "registry_id",
            "kind",
            "event_date",
            "recipient",
            name=op.f("uq_reminders_registry_id_kind_event_date_recipient"),
        ),
    )
    op.create_index(
        "ix_reminders_claim_due",
        "reminders",
        ["shop_id", "event_date"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "purchases",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("line_item_id", sa.BigInteger(), nullable=False),
        sa.Column("order_name", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("purchaser_name", sa.Text(), nullable=True),
        sa.Column("purchaser_email", sa.Text(), nullable=True),
        sa.Column("anonymous", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("gift_message", sa.Text(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "confirmed",
                "cancelled",
                "refunded",
                name="purchasestatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_purchases_buys_some")),
        sa.ForeignKeyConstraint(
            ["shop_id", "registry_id", "item_id"],
            ["registry_items.shop_id", "registry_items.registry_id", "registry_items.id"],
            name=op.f("fk_purchases_shop_id_registry_id_item_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchases")),
        sa.UniqueConstraint("shop_id", "line_item_id", name=op.f("uq_purchases_shop_id_line_item_id")),
    )
    op.create_index("ix_purchases_of_item", "purchases", ["item_id"], unique=False)
    op.create_index("ix_purchases_of_order", "purchases", ["shop_id", "order_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_purchases_of_order", table_name="purchases")
    op.drop_index("ix_purchases_of_item", table_name="purchases")
    op.drop_table("purchases")
    op.drop_index("ix_reminders_claim_due", table_name="reminders", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("reminders")
    op.drop_index("ix_registry_items_of_variant", table_name="registry_items")
    op.drop_index("ix_registry_items_of_inventory_item", table_name="registry_items")
    op.drop_table("registry_items")
    op.drop_index("ix_analytics_events_of_registry", table_name="analytics_events")
    op.drop_index("ix_analytics_events_find_old", table_name="analytics_events", postgresql_using="brin")
    op.drop_index("ix_analytics_events_count_views", table_name="analytics_events")
    op.drop_table("analytics_events")
    op.drop_index("ix_webhook_events_find_handled", table_name="webhook_events")
    op.drop_table("webhook_events")
    op.drop_index(op.f("ix_sessions_shop_id"), table_name="sessions")
    op.drop_index("ix_sessions_find_expired", table_name="sessions")
    op.drop_table("sessions")
    op.drop_index("ix_registries_of_customer", table_name="registries")
    op.drop_index(
        "ix_registries_list_public",
        table_name="registries",
        postgresql_where=sa.text("visibility = 'public' AND status = 'active'"),
    )
    op.drop_index("ix_registries_list_active", table_name="registries", postgresql_where=sa.text("status = 'active'"))
    op.drop_index("ix_registries_find_due", table_name="registries", postgresql_where=sa.text("status = 'active'"))
    op.drop_table("registries")
    op.drop_table("email_suppressions")
    op.drop_index("ix_audit_logs_of_resource", table_name="audit_logs")
    op.drop_index("ix_audit_logs_find_old", table_name="audit_logs")
    op.drop_table("audit_logs")
    op.drop_index(op.f("ix_api_keys_shop_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("shops")
