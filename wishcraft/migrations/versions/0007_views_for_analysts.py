"""Views for analysts.

Revision: 0007, after 0006

The views contain no personal data: no address, name, note, customer or order. The numbers of guests and visitors are
unique within a registry only. The role `wishcraft_analyst` may read the views and nothing else.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Roles belong to the server: a migration of another database may create the role at the same time. If the application's
# login may not create roles, create it by hand, as deployments/container/postgres.sql does.
_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'wishcraft_analyst') THEN
        BEGIN
            CREATE ROLE wishcraft_analyst;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role wishcraft_analyst is missing, and this login may not make it'
                    USING HINT = 'As a superuser: CREATE ROLE wishcraft_analyst; '
                        || format('GRANT wishcraft_analyst TO %I;', current_user);
        END;
    END IF;
    IF NOT pg_has_role('wishcraft_analyst', 'SET') THEN
        EXECUTE format('GRANT wishcraft_analyst TO %I', current_user);
    END IF;
END
$$
"""

_VIEWS = {
    "shops": "SELECT id AS shop_id, domain, currency, timezone, plan, status, created_at FROM public.shops",
    "registries": """
        SELECT id AS registry_id, shop_id, event_type, event_date, visibility, status, created_at
        FROM public.registries
    """,
    "items": """
        SELECT id AS item_id, registry_id, shop_id, product_id, variant_id, product_title, variant_title,
            quantity_wanted, quantity_purchased, priority, price, compare_at_price, currency, tracked,
            inventory_quantity, inventory_policy, available, status, created_at
        FROM public.registry_items
    """,
    # Guests and orders are numbered within their registry.
    "purchases": """
        SELECT registry_id, shop_id, item_id,
            dense_rank() OVER (
                PARTITION BY shop_id, registry_id ORDER BY lower(coalesce(purchaser_email, 'order ' || order_id))
            ) AS guest,
            dense_rank() OVER (PARTITION BY shop_id, registry_id ORDER BY order_id) AS gift,
            quantity, unit_price, status, created_at
        FROM public.purchases
    """,
    # Hashed with the registry, so that a visitor of two registries has two numbers.
    "events": """
        SELECT id AS event_id, registry_id, shop_id, type, occurred_at,
            hashtextextended(visitor_id, registry_id) AS visitor,
            CASE WHEN jsonb_typeof(data -> 'item_id') = 'number' THEN (data ->> 'item_id')::bigint END AS item_id
        FROM public.analytics_events
    """,
    "reminders": """
        SELECT id AS reminder_id, registry_id, shop_id, kind, event_date, state, updated_at AS changed_at
        FROM public.reminders
    """,
    "views": "SELECT registry_id, shop_id, day, views FROM public.registry_views",
}


def upgrade() -> None:
    op.create_index("ix_purchases_of_registry", "purchases", ["shop_id", "registry_id"])
    op.execute(_ROLE)
    op.execute("CREATE SCHEMA analytics")
    for name, query in _VIEWS.items():
        op.execute(f"CREATE VIEW analytics.{name} AS {query}")
    op.execute("GRANT USAGE ON SCHEMA analytics TO wishcraft_analyst")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO wishcraft_analyst")


def downgrade() -> None:
    op.execute("DROP VIEW " + ", ".join(f"analytics.{name}" for name in _VIEWS))  # CASCADE would drop analysts' own ones
    op.execute("DROP SCHEMA analytics")
    op.drop_index("ix_purchases_of_registry", "purchases")
