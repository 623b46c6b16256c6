"""Tables of API keys, sessions, idempotency keys and locks."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, CIDR
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.store.schema.base import Base, choice


class SessionKind(StrEnum):
    """Kind of session."""

    GUEST_GRANT = "guest_grant"


class ApiKey(Base):
    """A server's key for one shop. The prefix finds the row; the SHA-256 of the whole key verifies it."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[bytes]
    scopes: Mapped[list[str]]
    ip_allow_list: Mapped[list[str]] = mapped_column(ARRAY(CIDR), server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    successor: Mapped[str | None]
    """The prefix of the key that replaced it; NULL if none has."""


class Session(Base):
    """A session that expires: a guest's grant."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_find_expired", "expires_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), index=True)
    kind: Mapped[SessionKind] = mapped_column(choice(SessionKind))
    subject: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]


class IdempotencyKey(Base):
    """The result of a creation with an `Idempotency-Key`, for repeated requests."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        UniqueConstraint("shop_id", "caller", "key"),
        Index("ix_idempotency_keys_find_expired", "expires_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    caller: Mapped[str]
    key: Mapped[str]
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created: Mapped[str]
    """The slug of the created registry, or the id of the created item; empty once the registry was deleted."""
    expires_at: Mapped[datetime]


class Lock(Base):
    """A lock of `store.locks`, held by a connection; or one that a transaction holds until it ends."""

    __tablename__ = "locks"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012  as SQLAlchemy defines it

    name: Mapped[str] = mapped_column(primary_key=True)
    pid: Mapped[int | None] = mapped_column(Integer)
    """The server's process of the connection; NULL if a transaction holds the lock."""
    started: Mapped[datetime | None]
