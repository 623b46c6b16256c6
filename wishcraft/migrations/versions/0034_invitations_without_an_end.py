"""Takes the end off invitations that were not sent to a suppressed address.

Revision: 0034, after 0033

So they are sent once the suppression is lifted, however late. Those that a registry no longer names keep their end, at
which they are deleted. Nothing is to be undone for the release before, which sends those without an end, too.
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_UPDATE = """
UPDATE invitations SET expires_at = NULL
WHERE state = 'suppressed' AND attempts = 0 AND answer IS NULL AND removed_at IS NULL AND expires_at IS NOT NULL
"""


def upgrade() -> None:
    op.execute(_UPDATE)


def downgrade() -> None:
    pass
