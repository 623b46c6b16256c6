"""Tables of reminders and of suppressed e-mail addresses."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.store.schema.base import Base, Timestamps, choice


class ReminderState(StrEnum):
    """State of a reminder."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


class Reminder(Timestamps, Base):
    """One mail to one recipient for one event date; the unique key prevents a second."""

    __tablename__ = "reminders"
    __table_args__ = (
        UniqueConstraint("registry_id", "kind", "event_date", "recipient"),
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        Index(
            "ix_reminders_find_unfinished",
            "shop_id",
            "event_date",
            postgresql_where=text("state IN ('pending', 'sending')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    registry_id: Mapped[int]
    kind: Mapped[str]
    event_date: Mapped[date]
    recipient: Mapped[str]
    state: Mapped[ReminderState] = mapped_column(choice(ReminderState), server_default=ReminderState.PENDING)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]
    message_id: Mapped[str | None]


class EmailSuppression(Base):
    """The hash of an address that a shop must not write to."""

    __tablename__ = "email_suppressions"

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    address_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    reason: Mapped[SuppressionReason] = mapped_column(choice(SuppressionReason))
    since: Mapped[datetime] = mapped_column(server_default=text("now()"))
