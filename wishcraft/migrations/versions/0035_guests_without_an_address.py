"""Numbers guests without an e-mail address by their customer in the analysts' view `purchases`.

Revision: 0035, after 0034

A guest who orders with a phone number only has no address: each of their orders counted as another guest. Replacing the
view keeps what others have built on it.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_VIEW = """
    CREATE OR REPLACE VIEW analytics.purchases AS
    SELECT registry_id, shop_id, item_id,
        dense_rank() OVER (PARTITION BY shop_id, registry_id ORDER BY lower({guest})) AS guest,
        dense_rank() OVER (PARTITION BY shop_id, registry_id ORDER BY order_id) AS gift,
        quantity, unit_price, status, created_at
    FROM public.purchases
"""


def upgrade() -> None:
    op.execute(_VIEW.format(guest="coalesce(purchaser_email, 'customer ' || purchaser_id, 'order ' || order_id)"))


def downgrade() -> None:
    op.execute(_VIEW.format(guest="coalesce(purchaser_email, 'order ' || order_id)"))
