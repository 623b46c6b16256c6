"""Response schemas of a shop's administrator, for OpenAPI."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas.responses import Currency, NextCursor, Schema
from wishcraft.domain.callers import Scope
from wishcraft.store.schema import ShopSettings


class KeyShown(Schema):
    """An API key, without the key itself."""

    name: str = Field(examples=["our web shop"], description="What the key is for.")
    prefix: str = Field(examples=["0123456789ab"], description="The key begins with `wc_` and this prefix.")
    scopes: list[Scope] = Field(description="What the key permits.")
    ip_allow_list: list[str] = Field(
        examples=[["203.0.113.0/24"]], description="Addresses and networks that may use the key; empty: all."
    )
    created_at: datetime = Field(description="Time of its creation.")
    expires_at: datetime | None = Field(description="From when it is refused; null if it never expires.")
    last_used_at: datetime | None = Field(description="Time of the last use, to the minute.")
    revoked_at: datetime | None = Field(description="From when it is refused because it was revoked or replaced.")


class KeyList(Schema):
    """The shop's API keys, newest first."""

    keys: list[KeyShown] = Field(description="All keys, revoked ones included.")


class KeyIssued(KeyShown):
    """A new API key. `key` is shown only in this response."""

    key: str = Field(examples=["wc_0123456789ab_…"], description="The key itself, for `X-API-Key`.")


class AuditEntryShown(Schema):
    """An entry of the audit log: who did what to which resource, and from where."""

    id: int = Field(examples=[81], description="The entry's id.")
    created_at: datetime = Field(description="When it was done.")
    actor: str = Field(
        examples=["key:0123456789ab"],
        description="`key:` and its prefix, `customer:` and `admin:` with the shop's and the person's ids, or a job.",
    )
    action: str = Field(examples=["registry.changed"], description="What was done.")
    resource: str = Field(examples=["registry"], description="The kind of what it was done to.")
    resource_id: str = Field(examples=["100000001"], description="The id of what it was done to.")
    details: dict[str, Any] = Field(description="What belongs to the action, such as the settings before and after.")
    ip: str | None = Field(description="The address of the request; null for a job.")
    user_agent: str | None = Field(examples=["curl/8.5.0"], description="The program that sent the request.")


class AuditTrail(Schema):
    """A page of the audit log, newest first."""

    entries: list[AuditEntryShown] = Field(description="Those of this page.")
    next_cursor: NextCursor


class SettingsAnswer(ShopSettings):
    """The shop's settings."""

    effective_share_url: str = Field(
        examples=["https://maple-and-pine.myshopify.com/apps/registry/r/{slug}"],
        description="The template of share links that is in use: `share_url`, or the default if that is null.",
    )


class InstallationAnswer(Schema):
    """The shop in which the app is installed, as Shopify describes it."""

    domain: str = Field(examples=["maple-and-pine.myshopify.com"], description="Its `*.myshopify.com` domain.")
    name: str = Field(examples=["Maple & Pine"], description="Its name.")
    currency: Currency
    timezone: str = Field(examples=["America/New_York"], description="In which the shop's days begin.")
    plan: str = Field(examples=["Basic"], description="The name of its plan.")
    installed_at: datetime = Field(description="When the app got its access last.")
    synced_at: datetime = Field(description="When its last inventory sync finished, or when the app was installed.")


class UsageAnswer(Schema):
    """Usage of the shop: counters since their start (they expire after a month without a read), and current sizes."""

    hits: int = Field(description="Reads answered from Redis.")
    stale: int = Field(
        description="Reads answered from Redis with an entry past its soft expiry, which is then revalidated."
    )
    misses: int = Field(description="Reads answered from PostgreSQL, which filled Redis.")
    bypassed: int = Field(
        description="Reads answered from PostgreSQL without filling Redis, for example while Redis is unavailable."
    )
    bytes_sent: int = Field(description="Bytes of registries sent.")
    evictions: int = Field(description="Registries evicted because the shop exceeded its quota.")
    entries: int = Field(description="Registries in Redis now.")
    products: int = Field(description="Variants in Redis now. They count towards `quota_entries` too.")
    bytes_held: int = Field(description="Bytes of both.")
    quota_entries: int = Field(description="The most registries and variants that the shop can have in Redis.")
    quota_bytes: int = Field(description="The most bytes that they can use.")
