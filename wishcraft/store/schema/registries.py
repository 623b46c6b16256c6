"""Tables of registries, their items and the purchases of these."""

from datetime import date, datetime
from decimal import Decimal
from typing import Final, TypedDict
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.domain.folding import APOSTROPHES, LETTERS, LIGATURES
from wishcraft.domain.inventory import InventoryPolicy
from wishcraft.domain.registries import (
    EventType,
    ItemStatus,
    Priority,
    PurchaseStatus,
    RegistryStatus,
    Visibility,
)
from wishcraft.store.schema.base import Base, Timestamps, choice

# Lower case without accents, so that `chloe` finds Chloé. Only immutable functions: it is a generated column.
_SHOWN_WORDS: Final = (
    "title || ' ' || customer_first_name || ' ' ||"
    " translate(jsonb_path_query_array(co_registrants, '$[*].first_name')::text, '[]\",\\', '     ')"
)
"""SQL of the words that guests see of a registry in a list. The characters of JSON are no part of a name."""


def _folded(text: str) -> str:
    """The SQL of `domain.folding.fold`."""
    folded = f"lower(regexp_replace(normalize({text}, NFKD), '[\u0300-\u036f]', '', 'g'))"
    letters, apostrophes = "".join(LETTERS), APOSTROPHES.replace("'", "''")
    folded = f"translate({folded}, '{letters}{apostrophes}', '{''.join(LETTERS.values())}')"
    for ligature, letters in LIGATURES.items():
        folded = f"replace({folded}, '{ligature}', '{letters}')"
    return folded


SEARCH_TEXT: Final = _folded(_SHOWN_WORDS)
EVENT_DAY: Final = "coalesce(event_date, 'infinity'::date)"
"""The SQL by which lists are sorted by event date: registries without one come last."""
NAME_LENGTH: Final = 60
"""Characters of a folded title that count when lists are sorted by name; a longer one may not fit into the index."""
NAME: Final = f"left({_folded('title')}, {NAME_LENGTH})"
"""The SQL by which lists are sorted by name."""
_LISTED: Final = "visibility = 'public' AND status = 'active'"


class CoRegistrant(TypedDict):
    """A further person named in a registry, who receives reminders."""

    first_name: str
    last_name: str
    email: str


class Registry(Timestamps, Base):
    """A list of gifts for one event. `version` grows with every change that a guest can see."""

    __tablename__ = "registries"
    __table_args__ = (
        UniqueConstraint("shop_id", "slug"),
        UniqueConstraint("shop_id", "id"),  # target of the composite foreign keys that keep children in the same shop
        Index("ix_registries_list_public", "shop_id", "id", postgresql_where=text(_LISTED)),
        Index("ix_registries_list_by_type", "shop_id", "event_type", "id", postgresql_where=text(_LISTED)),
        Index("ix_registries_list_by_event", "shop_id", text(EVENT_DAY), "id", postgresql_where=text(_LISTED)),
        Index("ix_registries_list_by_name", "shop_id", text(NAME), "id", postgresql_where=text(_LISTED)),
        CheckConstraint("slug !~ '^[0-9]+$'", name="slug_is_no_id"),
        Index("ix_registries_search", "search_text", postgresql_using="gin",
              postgresql_ops={"search_text": "gin_trgm_ops"},
              postgresql_where=text(_LISTED)),
        Index("ix_registries_of_customer", "shop_id", "customer_id", "id"),
        Index("ix_registries_list_active", "shop_id", "id", postgresql_where=text("status = 'active'")),
        Index("ix_registries_find_due", "shop_id", "event_date", postgresql_where=text("status = 'active'")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    slug: Mapped[str]
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    event_type: Mapped[EventType] = mapped_column(choice(EventType))
    event_date: Mapped[date | None]
    event_location: Mapped[str | None]
    visibility: Mapped[Visibility] = mapped_column(choice(Visibility))
    access_code_hash: Mapped[str | None]
    customer_id: Mapped[int | None]
    customer_email: Mapped[str]
    customer_first_name: Mapped[str]
    customer_last_name: Mapped[str]
    co_registrants: Mapped[list[CoRegistrant]] = mapped_column(JSONB, server_default=text("'[]'"))
    status: Mapped[RegistryStatus] = mapped_column(choice(RegistryStatus), server_default=RegistryStatus.ACTIVE)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    search_text: Mapped[str] = mapped_column(Computed(SEARCH_TEXT, persisted=True))


class RegistryItem(Timestamps, Base):
    """A wished-for variant, with Shopify's last reading, made at `inventory_observed_at`."""

    __tablename__ = "registry_items"
    __table_args__ = (
        UniqueConstraint("shop_id", "registry_id", "id"),
        UniqueConstraint("registry_id", "variant_id"),
        UniqueConstraint("attribution"),
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        CheckConstraint("quantity_wanted > 0", name="wants_some"),
        CheckConstraint("quantity_purchased >= 0", name="purchased_some_or_none"),
        Index("ix_registry_items_of_variant", "shop_id", "variant_id", "registry_id"),
        Index("ix_registry_items_of_inventory_item", "shop_id", "inventory_item_id"),
        Index("ix_registry_items_of_product", "shop_id", "product_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    registry_id: Mapped[int]
    product_id: Mapped[int]
    variant_id: Mapped[int]
    inventory_item_id: Mapped[int]
    handle: Mapped[str]
    product_title: Mapped[str]
    variant_title: Mapped[str]
    image: Mapped[str | None]
    quantity_wanted: Mapped[int]
    quantity_purchased: Mapped[int] = mapped_column(server_default=text("0"))
    priority: Mapped[Priority] = mapped_column(choice(Priority), server_default=Priority.MEDIUM)
    notes: Mapped[str] = mapped_column(server_default="")
    price: Mapped[Decimal]
    compare_at_price: Mapped[Decimal | None]
    currency: Mapped[str]
    tracked: Mapped[bool]
    inventory_quantity: Mapped[int]
    inventory_policy: Mapped[InventoryPolicy] = mapped_column(choice(InventoryPolicy))
    product_active: Mapped[bool] = mapped_column(server_default=text("true"))
    """False for a draft or archived product, and for a variant that Shopify has deleted."""
    available: Mapped[bool]
    status: Mapped[ItemStatus] = mapped_column(choice(ItemStatus), server_default=ItemStatus.ACTIVE)
    display_order: Mapped[int] = mapped_column(server_default=text("0"))
    inventory_observed_at: Mapped[datetime | None]
    attribution: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    """The value of the line-item property `_registry_item`, by which an order is known to be for this item."""


class Purchase(Timestamps, Base):
    """A guest's purchase of an item. A line item of an order counts once, however often Shopify reports it.

    It outlives its registry, without names: `item_id` is NULL then, and `registry_id` refers to nothing.
    """

    __tablename__ = "purchases"
    __table_args__ = (
        UniqueConstraint("shop_id", "line_item_id"),
        ForeignKeyConstraint(
            ["shop_id", "registry_id", "item_id"],
            ["registry_items.shop_id", "registry_items.registry_id", "registry_items.id"],
            ondelete="SET NULL (item_id)",
        ),
        CheckConstraint("quantity > 0", name="buys_some"),
        Index("ix_purchases_of_item", "item_id"),
        Index("ix_purchases_of_registry", "shop_id", "registry_id"),
        Index("ix_purchases_of_order", "shop_id", "order_id"),
        Index(
            "ix_purchases_of_purchaser", "shop_id", "purchaser_id", postgresql_where=text("purchaser_id IS NOT NULL")
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    registry_id: Mapped[int]
    item_id: Mapped[int | None]
    order_id: Mapped[int]
    line_item_id: Mapped[int]
    order_name: Mapped[str]
    ordered: Mapped[int | None]
    """NULL in rows of older releases: as `quantity`."""
    quantity: Mapped[int]
    """The pieces that are left after refunds and edits; all that were ordered if none is."""
    unit_price: Mapped[Decimal]
    purchaser_id: Mapped[int | None]
    """Shopify's id of the customer."""
    purchaser_name: Mapped[str | None]
    purchaser_email: Mapped[str | None]
    anonymous: Mapped[bool] = mapped_column(server_default=text("false"))
    gift_message: Mapped[str | None]
    status: Mapped[PurchaseStatus] = mapped_column(choice(PurchaseStatus))


PURCHASER_COLUMNS: Final = ("purchaser_id", "purchaser_name", "purchaser_email", "gift_message")
"""Columns that name a person, in `purchases` and in `unmatched_lines`: a purchase without a name has NULL in each."""


class PendingInvalidation(Base):
    """A committed version that Redis has not been informed of. No foreign key: it outlives its registry and shop."""

    __tablename__ = "pending_invalidations"

    shop_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slug: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    grants: Mapped[list[str] | None]
    """The grants that ended with a deleted registry, to delete from Redis with it; NULL if it lives."""
    since: Mapped[datetime] = mapped_column(server_default=text("now()"))
