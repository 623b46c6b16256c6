"""The search finds what guests see: the title and the registrants' first names.

Revision: 0012, after 0011

PostgreSQL rewrites registries.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SHOWN = (
    "replace(replace(replace(replace(translate(lower(regexp_replace(normali"
    "ze(title || ' ' || customer_first_name || ' ' || "
    "translate(jsonb_path_query_array(co_registrants, "
    "'$[*].first_name')::text, '[]\",\\', '     '), NFKD), '[\u0300-\u036f]', '', "
    "'g')), '\u03c2\xf8\u0142\u0111\u0127\u0167\u0131\xf0''\u2019\u2018\u02bc`\u02b9', '\u03c3oldhtid'), '\xdf', 'ss'), '\xe6', 'ae'), '\u0153', "
    "'oe'), '\xfe', 'th')"
)
_WITH_LAST_NAMES = (
    "lower(regexp_replace(normalize(title || ' ' || customer_first_name || ' ' || customer_last_name || ' ' ||"
    " jsonb_path_query_array(co_registrants, '$[*].first_name')::text || ' ' ||"
    " jsonb_path_query_array(co_registrants, '$[*].last_name')::text, NFKD), '[\u0300-\u036f]', '', 'g'))"
)


def upgrade() -> None:
    _change(_SHOWN)


def downgrade() -> None:
    _change(_WITH_LAST_NAMES)


def _change(search_text: str) -> None:
    op.drop_column("registries", "search_text")
    op.add_column(
        "registries", sa.Column("search_text", sa.Text(), sa.Computed(search_text, persisted=True), nullable=False)
    )
    op.create_index(
        "ix_registries_search",
        "registries",
        ["search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
        postgresql_where=sa.text("visibility = 'public' AND status = 'active'"),
    )
