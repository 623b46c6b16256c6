"""What the storefront writes.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SEARCH_TEXT = (
    "lower(regexp_replace(normalize(title || ' ' || customer_first_name || ' ' || customer_last_name || ' ' ||"
    " jsonb_path_query_array(co_registrants, '$[*].first_name')::text || ' ' ||"
    " jsonb_path_query_array(co_registrants, '$[*].last_name')::text, NFKD), '[\u0300-\u036f]', '', 'g'))"
)
_PUBLIC = sa.text("visibility = 'public' AND status = 'active'")


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.add_column("registries", sa.Column("unmarked", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column(
        "registries", sa.Column("search_text", sa.Text(), sa.Computed(_SEARCH_TEXT, persisted=True), nullable=False)
    )
    op.create_check_constraint("slug_is_no_id", "registries", "slug !~ '^[0-9]+$'")
    op.create_index("ix_registries_find_unmarked", "registries", ["id"], postgresql_where=sa.text("unmarked"))
    op.create_index(
        "ix_registries_search",
        "registries",
        ["search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
        postgresql_where=_PUBLIC,
    )
    op.drop_index("ix_registries_of_customer", table_name="registries")
    op.create_index("ix_registries_of_customer", "registries", ["shop_id", "customer_id", "id"])
    op.create_table(
        "registry_views",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("views", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id", "registry_id"],
            ["registries.shop_id", "registries.id"],
            name=op.f("fk_registry_views_shop_id_registry_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_views")),
        sa.UniqueConstraint("shop_id", "registry_id", "day", name=op.f("uq_registry_views_shop_id_registry_id_day")),
    )
    op.create_index("ix_registry_views_find_old", "registry_views", ["day"])
    op.create_index("ix_registry_views_most_viewed", "registry_views", ["shop_id", "day", "registry_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id"], ["shops.id"], name=op.f("fk_idempotency_keys_shop_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("shop_id", "caller", "key", name=op.f("uq_idempotency_keys_shop_id_caller_key")),
    )
    op.create_index("ix_idempotency_keys_find_expired", "idempotency_keys", ["expires_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("registry_views")
    op.drop_index("ix_registries_of_customer", table_name="registries")
    op.create_index("ix_registries_of_customer", "registries", ["shop_id", "customer_id"])
    op.drop_index("ix_registries_search", table_name="registries")
    op.drop_index("ix_registries_find_unmarked", table_name="registries")
    op.drop_constraint(op.f("ck_registries_slug_is_no_id"), "registries")
    op.drop_column("registries", "search_text")
    op.drop_column("registries", "unmarked")
