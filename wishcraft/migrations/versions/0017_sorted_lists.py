"""Indexes for lists of registries by event type, sorted by event date and sorted by name.

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NAME = (
    "left(replace(replace(replace(replace(translate(lower(regexp_replace(normali"
    "ze(title, NFKD), '[\u0300-\u036f]', '', "
    "'g')), '\u03c2\xf8\u0142\u0111\u0127\u0167\u0131\xf0''\u2019\u2018\u02bc`\u02b9', '\u03c3oldhtid'), '\xdf', 'ss'), '\xe6', 'ae'), '\u0153', "
    "'oe'), '\xfe', 'th'), 60)"
)
_LISTED = sa.text("visibility = 'public' AND status = 'active'")
_INDEXES = {
    "ix_registries_list_by_type": "event_type",
    "ix_registries_list_by_event": "coalesce(event_date, 'infinity'::date)",
    "ix_registries_list_by_name": _NAME,
}


def upgrade() -> None:
    for name, key in _INDEXES.items():
        op.create_index(name, "registries", ["shop_id", sa.text(key), "id"], postgresql_where=_LISTED)


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(name, "registries")
