"""A registry's share link as SQL: the shop's own template, or a page of the app proxy at the shop's domain."""

from typing import Final

from sqlalchemy import Text, literal_column, select

from wishcraft.domain.share_links import MAX_LENGTH, TEMPLATE
from wishcraft.store.schema import Registry, Shop


def share_url_sql(shop: str, registry: str) -> str:
    """The expression, of a shop and a registry by the names that they have in the query."""
    own, default = f"{shop}.settings ->> 'share_url'", f"'https://' || {shop}.domain || '/apps/registry/r/{{slug}}'"
    is_template = f"jsonb_typeof({shop}.settings -> 'share_url') = 'string' AND length({own}) <= {MAX_LENGTH}"
    is_template += f" AND {own} ~ '{TEMPLATE.pattern}'"  # any other counts as the default, as `load_valid` reads it
    return f"replace(CASE WHEN {is_template} THEN {own} ELSE {default} END, '{{slug}}', {registry}.slug)"


SHARE_URL: Final = (
    select(literal_column(share_url_sql("shops", "registries"), Text))
    .where(Shop.id == Registry.shop_id)
    .correlate(Registry)
    .scalar_subquery()
)
"""A column of any query of registries."""
