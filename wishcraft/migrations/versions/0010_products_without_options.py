"""Items of products without options have no variant title.

Revision: 0010, after 0009

Shopify names the only variant of such a product "Default Title". The next sync corrects the items of active registries;
this corrects the others, which no sync reads.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        WITH corrected AS (
            UPDATE registry_items i SET variant_title = '', updated_at = now()
            FROM registries r
            WHERE r.id = i.registry_id AND r.status <> 'active' AND i.variant_title = 'Default Title'
            RETURNING i.registry_id
        )
        UPDATE registries SET version = version + 1, updated_at = now()
        WHERE id IN (SELECT registry_id FROM corrected)
    """)


def downgrade() -> None:
    """The next sync restores the titles of the older release."""
