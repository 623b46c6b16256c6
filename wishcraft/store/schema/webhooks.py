"""Tables of what Shopify and mail providers send: the inbox, orders, line items without an item, stock by location."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.store.schema.base import Base, choice

LAST_SAID: Final = "COALESCE(GREATEST(updated_at, levels_read_at, stock_observed_at), '-infinity'::timestamptz)"
"""When Shopify said something of an inventory item last."""


class WebhookEvent(Base):
    """The inbox: a webhook as it was received, and what became of it.

    It has the shop's domain and no foreign key: webhooks of shops that are unknown or gone are kept too. Shopify
    repeats a webhook with the same webhook id, and reports one event twice with the same event id. One event may have
    several payloads, about different things.
    """

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("shop_domain", "webhook_id"),
        Index("uq_webhook_events_event", "shop_domain", "topic", "event_id", "signature", unique=True),
        Index("ix_webhook_events_find_due", "due_at", "id", postgresql_where=text("handled_at IS NULL")),
        Index(
            "ix_webhook_events_find_due_of_shop",
            *("shop_domain", "due_at", "id"),
            postgresql_where=text("handled_at IS NULL"),
        ),
        Index("ix_webhook_events_find_handled", "handled_at"),
        Index("ix_webhook_events_find_dead", "shop_domain", "id", postgresql_where=text("outcome = 'dead'")),
        Index("ix_webhook_events_find_payloads", "handled_at", postgresql_where=text("payload IS NOT NULL")),
        Index("ix_webhook_events_search_payloads", "shop_domain", "id", postgresql_where=text("payload IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_domain: Mapped[str]
    webhook_id: Mapped[str]
    event_id: Mapped[str | None]
    signature: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The first bytes of the payload's signature: they distinguish payloads, and say nothing without the secret."""
    topic: Mapped[str]
    api_version: Mapped[str | None]
    triggered_at: Mapped[datetime | None]
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The body as received; NULL once its retention ended, or after it was redacted."""
    handled_at: Mapped[datetime | None]
    outcome: Mapped[WebhookOutcome | None] = mapped_column(choice(WebhookOutcome))
    """NULL until it is handled."""
    due_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    """Not to be handled before this time: the delay before the next try."""
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """Tries that failed."""
    failures: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    """The last failures, oldest first: `at` and `reason`, which has no personal data."""
    searched_up_to: Mapped[int | None]
    """Of a redaction that waits: it has erased what payloads have of the person, up to the webhook with this id."""


class Order(Base):
    """The newest state of an order that was applied; it keeps an older webhook from undoing a newer one.

    `cleanup-logs` deletes it months after the last webhook: Shopify repeats one for four hours, and gives an app
    the orders of the last 60 days. Purchases do not need it, and a later refund makes it again.
    """

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_find_old", "seen_at"),
        Index("ix_orders_find_overdue", "shop_id", "awaited_since", postgresql_where=text("awaited_since IS NOT NULL")),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    order_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    updated_at: Mapped[datetime | None]
    """Of the newest snapshot by Shopify's clock, which counts seconds; NULL while only adjustments came."""
    triggered_at: Mapped[datetime | None]
    """Of the webhook with that snapshot: decides between two of the same second."""
    adjustments: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """Refunds and edits that came on their own: by name such as `refund/7`, the change of pieces by line item."""
    awaited_since: Mapped[datetime | None]
    """Time of the oldest change that was read from Shopify and that no webhook has brought; NULL if there is none."""
    ordered_at: Mapped[datetime | None]
    """When it was made; NULL if no snapshot has it."""
    asked_at: Mapped[datetime | None]
    """When Shopify was asked last whether it still exists."""
    judged: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"))
    """Line items for which a claim of the whole order was judged: what a registrant adds later changes nothing."""
    seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class UnmatchedLine(Base):
    """A line item that claims to be bought for a registry, without a known item: for people to match."""

    __tablename__ = "unmatched_lines"
    __table_args__ = (
        UniqueConstraint("shop_id", "line_item_id"),
        Index("ix_unmatched_lines_of_order", "shop_id", "order_id"),
        Index("ix_unmatched_lines_list", "shop_id", "id", postgresql_where=text("dismissed_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    order_id: Mapped[int]
    line_item_id: Mapped[int]
    order_name: Mapped[str]
    variant_id: Mapped[int | None]
    product_title: Mapped[str]
    ordered: Mapped[int]
    quantity: Mapped[int]
    unit_price: Mapped[Decimal]
    status: Mapped[str]
    """As that of a purchase."""
    claim: Mapped[str]
    """The claim of the line or the order: an item's attribution, or a registry's slug; empty if no registry has it."""
    reason: Mapped[str]
    purchaser_id: Mapped[int | None]
    purchaser_name: Mapped[str | None]
    purchaser_email: Mapped[str | None]
    anonymous: Mapped[bool]
    gift_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    dismissed_at: Mapped[datetime | None]
    """When a person decided that it belongs to no item."""


class MergedCustomer(Base):
    """A customer whom Shopify merged into another: later webhooks may still name the id that is gone."""

    __tablename__ = "merged_customers"
    __table_args__ = (Index("ix_merged_customers_into", "shop_id", "kept_id"),)

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    deleted_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kept_id: Mapped[int]
    """Never itself a `deleted_id`: of a customer who was merged again, the last."""


class ProductVersion(Base):
    """The newest webhook of a wished-for product that was applied; it keeps older ones and readings from undoing it."""

    __tablename__ = "product_versions"
    __table_args__ = (Index("ix_product_versions_find_old", "updated_at"),)

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    product_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    updated_at: Mapped[datetime]
    triggered_at: Mapped[datetime]
    """Of the webhook: decides between two of the same second."""
    fingerprint: Mapped[int]
    """Of what it says: decides between two of the same moment."""


class InventoryItem(Base):
    """Tracking and stock of a wished-for variant from webhooks, besides its levels."""

    __tablename__ = "inventory_items"
    __table_args__ = (Index("ix_inventory_items_find_old", text(LAST_SAID)),)

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    inventory_item_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    updated_at: Mapped[datetime | None]
    """Of the newest `inventory_items/update` that was applied, as are `triggered_at` and `tracked`."""
    triggered_at: Mapped[datetime | None]
    tracked: Mapped[bool | None]
    levels_read_at: Mapped[datetime | None]
    """When all its levels were read from Shopify; NULL while some may be unknown or outdated."""
    stock_observed_at: Mapped[datetime | None]
    """A reading of the variant made at this time or later is newer than the levels that its stock was added up from."""


class InventoryLevel(Base):
    """The pieces of a wished-for variant that a location has, as Shopify last reported; they add up to its stock."""

    __tablename__ = "inventory_levels"

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    inventory_item_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    location_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    available: Mapped[int]
    """0 if the location does not stock it."""
    updated_at: Mapped[datetime]
    triggered_at: Mapped[datetime]
    """Of the webhook, or when Shopify was asked: decides between two of the same second."""
